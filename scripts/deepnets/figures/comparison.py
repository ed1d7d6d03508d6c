"""The shared parts of the figures that compare the models of one dataset: points, names, legend and axes."""

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    by_validation,
    group_name,
    interval_caption,
    several_recipes,
)
from deepnets.comparison.statistics_file import Statistics
from deepnets.comparison.training_time import training_time
from deepnets.figures import names
from deepnets.figures.style import MUTED, ModelStyle, limit_percent

LABELLED_MODELS = 12  # more names crowd the points and move to a legend
COLOURED_MODELS = 24  # more styles look alike: the best few keep theirs, the others are grey
PALE = 0.35  # opacity of recipes that validation did not choose
_CAPTION_CHARACTERS = 80  # on a line above the axes of the narrowest figure
NAME_CHARACTERS = 34  # of a name next to a point or row
TICK_INCHES = 0.6  # room for "20 million"
_HANDLE_INCHES, _CHARACTER_INCHES = 0.5, 0.062  # of a column of a legend

SECOND_TICKS: list[float] = [
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60 * n for n in (1, 2, 5, 10, 20, 30)),
    *(3600 * n for n in (1, 2, 5, 10)),
    *(86400 * n for n in (1, 2, 5, 10, 20, 50)),
]
_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class _LineOptions(TypedDict):
    color: str
    alpha: float
    linewidth: float
    markersize: float


FAINT: _LineOptions = {"color": MUTED, "alpha": 0.3, "linewidth": 0.6, "markersize": 3}


@dataclass(frozen=True)
class Comparison:
    """The data of the comparison figures of one dataset.

    Attributes:
        styles: the style of each model, by the model's name.
        published: for some models, test accuracies in percent by their name in the legend (two kinds at most).
        statistics: what statistics.json says about the groups.
        stopped: folders of the experiments in which a search stopped a trial early.
    """

    dataset: str
    groups: list[SeedGroup]
    styles: dict[str, ModelStyle]
    statistics: Statistics
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    stopped: Collection[Path] = ()

    @cached_property
    def coloured(self) -> list[str]:
        """The models that are drawn in their own style, and named."""
        best = best_by_model(self.groups)
        if len(best) <= COLOURED_MODELS:
            return list(best)
        return [group.model for group in by_validation(best.values())[:LABELLED_MODELS]]


def titled_figure(comparison: Comparison, title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, which ends with the dataset; `size` is width and height in inches."""
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(names.title(f"{title}: {comparison.dataset}"), x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def new_figure(
    comparison: Comparison, title: str, size: tuple[float, float], columns: int = 1, note: str = ""
) -> tuple[Figure, list[Axes]]:
    """An empty figure with its title, and its axes side by side; `size` is width and height in inches.

    `note`: a line below what the intervals are.
    """
    figure = titled_figure(comparison, title, size)
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0].tolist()
    caption = textwrap.wrap(interval_caption(comparison.groups), _CAPTION_CHARACTERS)
    axes[0].set_title("\n".join([*caption, *([note] if note else [])]), fontsize=8, fontweight="normal", color=MUTED)
    return figure, axes


def pale_note(comparison: Comparison) -> str:
    """The note of a figure with a point per group: how many are pale; "" if none is."""
    pale = len(comparison.groups) - len(best_by_model(comparison.groups))
    return f"pale: {pale:,} recipe{'s' if pale > 1 else ''} that validation did not choose" if pale else ""


def percent(group: SeedGroup) -> tuple[float, float, float]:
    """Test accuracy, lower and upper bound of its interval, in percent."""
    estimate = group.accuracy
    return 100 * estimate.value, 100 * estimate.low, 100 * estimate.high


def draw_point(
    axes: Axes, x: float, y: float, style: ModelStyle, alpha: float = 1, **errors: list[list[float]]
) -> None:
    """Draw a model's marker with its interval: `xerr` or `yerr`, [[length below], [length above]]."""
    look: dict[str, Any] = {"color": style.color, "alpha": alpha, "marker": style.marker, **errors}
    axes.errorbar([x], [y], elinewidth=1.4, capsize=2.5, **look)


def draw_points(
    axes: Axes,
    comparison: Comparison,
    cost: Callable[[SeedGroup], float],
    in_full: Iterable[SeedGroup],
    pale: Iterable[SeedGroup] = (),
) -> None:
    """Draw the test accuracy of every group against its cost: some in full, some pale, the others small and pale."""
    axes.set_ylabel("Test accuracy (%)")
    axes.label_outer(remove_inner_ticks=False)
    strength = {id(group): PALE for group in pale} | {id(group): 1.0 for group in in_full}
    for group in comparison.groups:
        style = comparison.styles[group.model]
        value, low, high = percent(group)
        if group.model not in comparison.coloured:
            axes.plot([cost(group)], [value], ".", **FAINT)
        elif id(group) in strength:
            draw_point(axes, cost(group), value, style, strength[id(group)], yerr=[[value - low], [high - value]])
        else:
            axes.plot([cost(group)], [value], style.marker, color=style.color, alpha=PALE, markersize=3)
    limit_percent(axes)


def machine(groups: list[SeedGroup]) -> str:
    """Device and threads of the training runs, for the label of a time axis."""
    timings = [result.timing for group in groups for result in group.results]
    devices, threads = {timing.name for timing in timings}, {timing.thread_count for timing in timings}
    if len(devices) > 1:
        return "several machines"
    [device] = names.short_names([*devices], 40)
    return f"{device}, {threads.pop() if len(threads) == 1 else 'different numbers of threads'}"


def time_label(comparison: Comparison) -> str:
    """The label of an axis of training times: the kind of time that `training_time` chooses, and the machine."""
    where = machine(comparison.groups)
    if training_time(comparison.groups).is_cpu:
        return f"CPU time of training (log scale),\n{where}"
    return f"Wall time of training (log scale), {where}"


def time_tick(seconds: float, _position: object = None) -> str:
    """Return the label of a tick of a time axis: "20 min"."""
    for size, unit in _TIME_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def log_scale(
    figure: Figure,
    axes: Axes,
    ticks: list[float],
    label: Callable[[float], str],
    coarse_ticks: list[float] | None = None,
    inches: float = TICK_INCHES,
) -> None:
    """Make the x-axis logarithmic, widen it to at least two of `ticks` and show the ticks within.

    Where they have no room, `coarse_ticks` in their place; of these, as many from the left as have room. `inches`: of
    a tick.
    """
    low, high = axes.dataLim.intervalx
    low, high = low / 1.35, high * 1.35
    below = [tick for tick in ticks if tick <= low]
    above = [tick for tick in ticks if tick >= high]
    if sum(low < tick < high for tick in ticks) < 2 and below and above:
        low, high = below[-1] / 1.05, above[0] * 1.05
    apart = math.exp(inches * math.log(high / low) / (figure.get_figwidth() * axes.get_position().width))
    within = [tick for tick in ticks if low <= tick <= high]
    shown = _with_room(within, apart)
    if coarse_ticks and shown != within:
        shown = _with_room([tick for tick in coarse_ticks if low <= tick <= high], apart)
    axes.set_xlim(low, high)
    axes.set_xscale("log")  # only now: a log axis refuses to find limits for a single value
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(label))
    axes.xaxis.set_minor_locator(NullLocator())


def _with_room(ticks: list[float], apart: float) -> list[float]:
    """Those of `ticks` that are at least the factor `apart` from the one shown before, from the left."""
    shown: list[float] = []
    for tick in ticks:
        if not shown or tick >= apart * shown[-1]:
            shown.append(tick)
    return shown


def group_names(
    comparison: Comparison, groups: Sequence[SeedGroup], with_recipe: Collection[str], limit: int = NAME_CHARACTERS
) -> list[str]:
    """Return different names of groups: the model, followed by the recipe if `with_recipe` has the model.

    Where one is longer than NAME_CHARACTERS, all leave out what the recipes of the whole comparison have in common.

    Args:
        limit: characters to which a name that is still longer is cut.
    """
    shared = set.intersection(*(set(group.recipe_parts) for group in comparison.groups))
    whole = [group_name(group, group.model in with_recipe) for group in groups]
    if max(map(len, whole), default=0) > NAME_CHARACTERS:
        whole = [group_name(group, group.model in with_recipe, shared) for group in groups]
    return names.short_names(whole, limit)


def point_names(comparison: Comparison, named: Sequence[SeedGroup], limit: int = NAME_CHARACTERS) -> list[str]:
    """Return the names of points, with the recipe where the model has several; `limit`: as of `group_names`."""
    models = dict.fromkeys(group.model for group in named)
    of_model = {model: [group for group in comparison.groups if group.model == model] for model in models}
    with_recipe = [model for model, groups in of_model.items() if several_recipes(groups)]
    return group_names(comparison, named, with_recipe, limit)


def add_legend(
    figure: Figure, comparison: Comparison, labels: Mapping[str, str] | None = None, lines: Sequence[Line2D] = ()
) -> None:
    """Name the coloured models below the axes, and the number of the others; `labels`: other names, by model.

    `lines`: what else is named, after them.
    """
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle=style.linestyle, label=label)
        for model, style in ((model, comparison.styles[model]) for model in comparison.coloured)
        for label in [(labels or {}).get(model, style.label)]
    ]
    others = len({group.model for group in comparison.groups}) - len(handles)
    if others:
        handles.append(Line2D([], [], marker=".", label=f"{others} others", **FAINT))
    place_legend(figure, [*handles, *lines])


def place_legend(figure: Figure, handles: Sequence[Artist], note: str = "") -> None:
    """Write a legend below the axes, in as many columns as have room, below a grey `note`; make room for its lines."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(4, int(figure.get_figwidth() / (_HANDLE_INCHES + _CHARACTER_INCHES * longest))))
    width = int(figure.get_figwidth() / _CHARACTER_INCHES)
    lines = [line for paragraph in note.splitlines() for line in textwrap.wrap(paragraph, width)]
    figure.set_figheight(figure.get_figheight() + 0.17 * (math.ceil(len(handles) / columns) + len(lines)))
    look: dict[str, Any] = {"ncols": columns, "fontsize": 7, "title_fontsize": 7, "alignment": "left"}
    legend = figure.legend(handles=handles, loc="outside lower left", title="\n".join(lines) or None, **look)
    legend.get_title().set_color(MUTED)
