"""Test accuracy against the multiply-adds for an image."""

from matplotlib.figure import Figure

from deepnets.figures.against_cost import COUNT_TICKS, DECADES, count, draw_against
from deepnets.figures.comparison import Comparison
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's work."""
    return draw_against(
        comparison,
        "Test accuracy against work",
        "Multiply-adds for an image (log scale)",
        lambda group: max(1, group.first.metrics.model.mult_adds),  # 0 if torchinfo knows none of the layers
        COUNT_TICKS,
        count,
        DECADES,
    )
