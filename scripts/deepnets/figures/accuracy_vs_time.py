"""Test accuracy against the wall time of training."""

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import mean_wall_seconds
from deepnets.figures.against_cost import draw_against
from deepnets.figures.comparison import SECOND_TICKS, Comparison, duration, machine
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its training time; the axis names the machine."""
    return draw_against(
        comparison,
        "Test accuracy against training time",
        f"Wall time of training (log scale), {machine(comparison.groups)}",
        mean_wall_seconds,
        SECOND_TICKS,
        duration,
    )
