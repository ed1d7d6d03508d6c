"""Test accuracy against the time of an image among many."""

from matplotlib.figure import Figure

from deepnets.figures.accuracy_vs_latency import draw_measured
from deepnets.figures.comparison import Comparison
from deepnets.figures.style import applied


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's time for an image in a batch; the axis names the machine.

    The inverse of images per second: so less is better, as of every cost.
    """
    return draw_measured(
        comparison,
        "Test accuracy against time in a batch",
        "Time per image in a batch (ms, log scale)",
        lambda measured: 1 / measured.throughput.images_per_second,
    )
