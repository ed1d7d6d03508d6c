"""Reliability diagrams: how often networks are right where they are this confident, before and after temperature."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepnets.comparison.aggregate import best_by_model, ranked
from deepnets.comparison.statistics_file import Behaviour, Calibration
from deepnets.figures.comparison import Comparison, titled_figure
from deepnets.figures.names import short_names
from deepnets.figures.style import GRID, MUTED, ModelStyle, applied

_PANELS = 16  # of more networks, those with the highest test accuracy
_COLUMNS = 4


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a panel for each model, the best first: its recipe that validation chose, the first seed or all folds."""
    groups = ranked(best_by_model(comparison.groups).values())
    shown = groups[:_PANELS]
    columns, lines = min(_COLUMNS, len(shown)), math.ceil(len(shown) / _COLUMNS)
    left_out = f", {len(shown)} of {len(groups)} networks" if len(shown) < len(groups) else ""
    size = max(4.0, 2.3 * columns), 2.4 * lines + 0.6
    figure = titled_figure(comparison, f"Reliability{left_out}", size)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten().tolist()
    names = short_names([group.display_name for group in shown], 26)
    for axes, group, name in zip(panels, shown, names, strict=False):
        assert group.candidate is not None
        _draw_panel(axes, name, group.candidate.passes[0], comparison.styles[group.model])
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel("Mean confidence of a bin (%); dashed: after temperature", fontsize=9)
    figure.supylabel("Accuracy (%)", fontsize=9)
    return figure


def _draw_panel(axes: Axes, name: str, network: Behaviour, style: ModelStyle) -> None:
    axes.plot([0, 100], [0, 100], color=GRID, linewidth=1)
    after = _points(network.with_temperature)
    axes.plot(*after, color=MUTED, marker="x", markersize=3, linewidth=0.8, linestyle="--")
    axes.plot(*_points(network), color=style.color, marker=style.marker, markersize=3.5, linewidth=1)
    before, after_it = (f"{100 * each.ece:.1f} %" for each in (network, network.with_temperature))
    errors = f"error {before}, after T={network.temperature:.2f}: {after_it}"
    axes.set_title(f"{name}\n{errors}", fontsize=7.5, fontweight="normal")
    axes.set_xlim(-3, 103)
    axes.set_ylim(-3, 103)
    axes.set_aspect("equal")


def _points(calibration: Calibration) -> tuple[list[float], list[float]]:
    """Return confidence and accuracy of each bin in percent."""
    bins = calibration.reliability
    return [100 * each.confidence for each in bins], [100 * each.accuracy for each in bins]
