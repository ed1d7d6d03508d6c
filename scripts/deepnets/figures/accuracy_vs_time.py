"""Test accuracy against the time of training."""

from matplotlib.figure import Figure

from deepnets.comparison.training_time import training_time
from deepnets.figures.against_cost import draw_against
from deepnets.figures.comparison import SECOND_TICKS, Comparison, time_label, time_tick
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its training time; the axis names the machine."""
    return draw_against(
        comparison,
        "Test accuracy against training time",
        time_label(comparison),
        training_time(comparison.groups).of,
        SECOND_TICKS,
        time_tick,
    )
