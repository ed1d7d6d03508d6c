"""Reliability diagrams: how often networks are right where they are this confident, before and after temperature."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation
from deepnets.comparison.intervals import share_interval
from deepnets.comparison.statistics_file import Behaviour, Bin
from deepnets.figures.comparison import Comparison, titled_figure
from deepnets.figures.names import short_names
from deepnets.figures.style import GRID, MUTED, ModelStyle, applied

_PANELS = 16  # of more networks, those that are best on validation
_COLUMNS = 4
_NARROW = 2  # columns at most: what is explained is wider than the figure, if it is in one line
_STEP = 10  # percent, at which the axes begin


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a panel for each model, the best on validation first: its chosen recipe, the first seed or all folds."""
    groups = by_validation(best_by_model(comparison.groups).values())
    shown = groups[:_PANELS]
    columns, lines = min(_COLUMNS, len(shown)), math.ceil(len(shown) / _COLUMNS)
    left_out = f", {len(shown)} of {len(groups)} networks" if len(shown) < len(groups) else ""
    size = max(4.6, 2.3 * columns), 2.4 * lines + 0.75
    figure = titled_figure(comparison, f"Reliability{left_out}", size)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten().tolist()
    names = short_names([group.display_name for group in shown], 26)
    drawn = [_network(group) for group in shown]
    for axes, group, name, (network, which) in zip(panels, shown, names, drawn, strict=False):
        _draw_panel(axes, f"{name}{which}", network, comparison.styles[group.model])
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    least = min(min(axes.dataLim.x0, axes.dataLim.y0) for axes in panels[: len(shown)])
    panels[0].set_xlim(_STEP * math.floor(least / _STEP), 101)
    panels[0].set_ylim(panels[0].get_xlim())
    explained = _explained([network for network, _ in drawn], in_lines=columns <= _NARROW)
    figure.supxlabel(f"Mean confidence of a bin (%)\n{explained}", fontsize=8)
    figure.supylabel("Accuracy (%)", fontsize=9)
    return figure


def _network(group: SeedGroup) -> tuple[Behaviour, str]:
    """Return the numbers of a panel, and which network of the group they are of, in words."""
    assert group.candidate is not None
    of_folds = group.candidate.pooled is not None
    return group.candidate.passes[0], "" if of_folds else f", seed {group.candidate.networks[0].seed}"


def _draw_panel(axes: Axes, name: str, network: Behaviour, style: ModelStyle) -> None:
    axes.axline((100, 100), slope=1, color=GRID, linewidth=1)
    errors = f"error {100 * network.ece:.1f} %"
    if network.temperature != 1:
        after = network.with_temperature
        confidence, accuracy = _points(after.reliability)
        axes.plot(confidence, accuracy, color=MUTED, marker="x", markersize=3, linewidth=0.8, linestyle="--")
        errors += f", {100 * after.ece:.1f} % after T = {network.temperature:.2f}"
    confidence, accuracy = _points(network.reliability)
    ends = [share_interval(each.accuracy, each.n) for each in network.reliability]
    below = [value - 100 * low for value, (low, _) in zip(accuracy, ends, strict=True)]
    above = [100 * high - value for value, (_, high) in zip(accuracy, ends, strict=True)]
    look: dict[str, Any] = {"color": style.color, "marker": style.marker, "markersize": 3.5}
    axes.errorbar(confidence, accuracy, yerr=[below, above], linewidth=1, elinewidth=0.7, **look)
    axes.set_title(f"{name}\n{errors}", fontsize=7.5, fontweight="normal")
    axes.text(0.97, 0.03, "below the line: too sure", ha="right", fontsize=6.5, color=MUTED, transform=axes.transAxes)
    axes.set_aspect("equal")


def _points(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    """Return confidence and accuracy of each bin in percent."""
    return [100 * each.confidence for each in bins], [100 * each.accuracy for each in bins]


def _explained(networks: Sequence[Behaviour], in_lines: bool) -> str:
    """Return what readers must know of bins, bars and lines, on demand in two lines."""
    sizes = [each.n for network in networks for each in network.reliability]
    number = " to ".join(f"{size:,}" for size in dict.fromkeys((min(sizes), max(sizes))))
    end = "\n" if in_lines else " "
    dashed = "; dashed: after temperature" * any(network.temperature != 1 for network in networks)
    return f"{number} images per bin; error: calibration error;{end}bars: 95 % intervals (Wilson){dashed}"
