"""Test accuracy against the number of trainable parameters."""

from matplotlib.figure import Figure

from deepnets.figures.against_cost import COUNT_TICKS, DECADES, count, draw_against
from deepnets.figures.comparison import Comparison
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's size."""
    return draw_against(
        comparison,
        "Test accuracy against parameters",
        "Trainable parameters (log scale)",
        lambda group: group.first.metrics.model.trainable_parameters,
        COUNT_TICKS,
        count,
        DECADES,
    )
