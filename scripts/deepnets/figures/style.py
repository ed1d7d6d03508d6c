"""One style for all figures: fonts and sizes, a colour, marker and line style per model, reproducible files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deepnets.config.experiment import recipe_title
from deepnets.figures import names
from deepnets.figures.looks import COLORS, LINESTYLES, MARKERS
from deepnets.figures.names import INSTALLED_FONTS
from deepnets.models import about, display_name
from deepnets.models._about import LineStyle
from deepnets.utils.files import atomic_path

Color = str | tuple[float, float, float]

TEXT_COLOR = "#222222"
MUTED = "#6b6b6b"
GRID = "#e3e3e3"

RC: dict[Any, Any] = {
    "font.family": INSTALLED_FONTS,
    "font.size": 9,
    "text.color": TEXT_COLOR,
    "text.parse_math": False,  # a class may be called "$5"
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "svg.hashsalt": "deepnets",  # else ids in an SVG differ from run to run
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": TEXT_COLOR,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT_COLOR,
    "ytick.labelcolor": TEXT_COLOR,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def applied():
    """The style, as a decorator of a function that draws or saves, or as a context."""
    return matplotlib.rc_context(RC)


@dataclass(frozen=True)
class ModelStyle:
    """The look of one model, the same in every figure."""

    label: str
    color: str
    marker: str
    linestyle: LineStyle

    @property
    def text_color(self) -> Color:
        """The colour, darkened until text in it reads well on white."""
        red, green, blue = to_rgb(self.color)
        return 0.62 * red, 0.62 * green, 0.62 * blue


_LABEL_CHARACTERS = 28  # next to a point, in a legend


def model_styles(models: Mapping[str, int], architectures: Mapping[str, str] | None = None) -> dict[str, ModelStyle]:
    """The styles of models that are compared, with labels that differ.

    Args:
        models: {model: its index, as for `model_style`}.
        architectures: of the models; a model that is not in it has the name of its architecture.
    """
    of = architectures or {}
    labels = names.short_names([display_name(model, of.get(model)) for model in models], _LABEL_CHARACTERS)
    styles = {model: model_style(model, index) for model, index in models.items()}
    return {model: replace(styles[model], label=label) for model, label in zip(models, labels, strict=True)}


def model_style(model: str, index: int, architecture: str | None = None) -> ModelStyle:
    """The style that a network declares in its module; `index`, of `look_indices`, chooses that of every other.

    `architecture`: of the model, if its name is not that of its architecture.
    """
    declared = about(model)
    [label] = names.short_names([display_name(model, architecture)], _LABEL_CHARACTERS)
    return ModelStyle(
        label,
        declared.color or COLORS[index % len(COLORS)],
        declared.marker or MARKERS[index % len(MARKERS)],
        declared.linestyle or LINESTYLES[index % len(LINESTYLES)],
    )


def recipe_styles(of_model: ModelStyle, count: int) -> list[ModelStyle]:
    """The styles of recipes of one model, where no other model is drawn: the first one has the model's."""
    colors = [color for color in COLORS if color != of_model.color]
    looks = [(colors[n % len(colors)], LINESTYLES[n // len(colors) % len(LINESTYLES)]) for n in range(count - 1)]
    return [of_model, *(replace(of_model, color=color, linestyle=linestyle) for color, linestyle in looks)]


def title(experiment: dict, result: str = "") -> str:
    """Title of a figure of one experiment, from its names (dataset, model, recipe, seed); the last line is `result`.

    `experiment` may also have the architecture of the model, as for `model_style`.
    """
    model, dataset, recipe, seed = (experiment[key] for key in ("model", "dataset", "recipe", "seed"))
    shown = display_name(model, experiment.get("architecture"))
    named = names.title(f"{shown} on {dataset}, recipe {recipe_title(recipe)}, seed {seed}")
    return f"{named}\n{result}" if result else named


@applied()
def save(figure: Figure, path: str | Path, settings_sha256: str | None = None) -> None:
    """Write a figure as PNG or SVG, by the suffix of `path`; the same figure gives the same bytes, without date.

    Args:
        figure: to write.
        path: of the file.
        settings_sha256: a PNG holds it under this key.
    """
    of_png = {"Software": None, "settings_sha256": settings_sha256}
    metadata = {"Date": None, "Creator": None} if Path(path).suffix == ".svg" else of_png
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata=metadata)


def limit_percent(axes: Axes) -> None:
    """Keep an accuracy axis from ending far above 100 % and from blowing up differences of a tenth of a point."""
    low, high = axes.get_ylim()
    middle, half = (low + high) / 2, max(high - low, 2) / 2
    axes.set_ylim(max(middle - half, -2), min(middle + half, 101))


def end_labels(axes: Axes, labels: list[tuple[float, str, Color]], gap: float = 0.075) -> None:
    """Write labels right of the axes, each at its value's height and at least `gap` axes heights from the next.

    Args:
        labels: (value on the y-axis, text, colour); a value that is not finite is written at the top.
    """
    axes.get_ylim()  # brings the limits up to date, which the transformation would not do
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((1, value))[1]) if math.isfinite(value) else 1.0 for value, _, _ in labels]
    ascending = sorted(range(len(labels)), key=heights.__getitem__)
    places = spread([heights[index] for index in ascending], gap)
    below_top = [min(height, 1 - gap * (len(places) - 1 - rank)) for rank, height in enumerate(places)]
    for index, height in zip(ascending, below_top, strict=True):
        _, text, color = labels[index]
        axes.annotate(
            text,
            (1, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontweight="bold",
            annotation_clip=False,
        )


def spread(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved to be at least `gap` apart: those too close are centred on their mean."""

    def bottom(cluster: list[float]) -> float:
        return sum(cluster) / len(cluster) - gap * (len(cluster) - 1) / 2

    clusters: list[list[float]] = []
    for height in heights:
        clusters.append([height])
        while len(clusters) > 1 and bottom(clusters[-2]) + gap * len(clusters[-2]) > bottom(clusters[-1]):
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    return [bottom(cluster) + gap * step for cluster in clusters for step in range(len(cluster))]
