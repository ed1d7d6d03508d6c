"""Test accuracy against the wall time of training."""

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import mean_wall_seconds
from deepnets.figures.comparison import (
    SECOND_TICKS,
    Comparison,
    draw_points,
    duration,
    log_scale,
    machine,
    name_points,
    new_figure,
)
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its training time; the axis names the machine."""
    figure, (axes,) = new_figure(comparison, "Test accuracy against training time", (5.4, 3.8))
    axes.set_xlabel(f"Wall time of training (log scale), {machine(comparison.groups)}")
    draw_points(axes, comparison, mean_wall_seconds)
    log_scale(figure, axes, SECOND_TICKS, duration)
    name_points(figure, axes, comparison, mean_wall_seconds)
    return figure
