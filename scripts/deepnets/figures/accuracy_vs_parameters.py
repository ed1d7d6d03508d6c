"""Test accuracy against the number of trainable parameters."""

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup
from deepnets.figures.comparison import Comparison, draw_points, log_scale, name_points, new_figure
from deepnets.figures.style import applied

_DECADES: list[float] = [10**power for power in range(2, 11)]
_TICKS = [digit * decade for decade in _DECADES for digit in (1, 2, 5)]


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's size."""
    figure, (axes,) = new_figure(comparison, "Test accuracy against size", (5.4, 3.8))
    axes.set_xlabel("Trainable parameters (log scale)")
    draw_points(axes, comparison, _parameters)
    log_scale(figure, axes, _TICKS, _count, coarse_ticks=_DECADES)
    name_points(figure, axes, comparison, _parameters)
    return figure


def _parameters(group: SeedGroup) -> int:
    return group.first.metrics.model.trainable_parameters


def _count(value: float, _position: object = None) -> str:
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
