"""Test accuracy against the peak memory of training."""

from matplotlib.figure import Figure

from deepnets.figures.against_cost import draw_against
from deepnets.figures.comparison import Comparison, machine, titled_figure
from deepnets.figures.style import applied

_MEGABYTES = [float(digit * 10**power) for power in range(7) for digit in (1, 2, 5)]
_DECADES = [float(10**power) for power in range(7)]


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of the peak memory of its training; the axis names the machine."""
    if not all(group.peak_memory_mb for group in comparison.groups):
        # Snakemake needs the file, though the report leaves it out.
        figure = titled_figure(comparison, "The peak memory of some training runs is unknown", (5.0, 0.7))
        figure.subplots().set_axis_off()  # without axes, the layout warns
        return figure
    return draw_against(
        comparison,
        "Test accuracy against memory",
        f"Peak memory of training (log scale), {machine(comparison.groups)}",
        lambda group: group.peak_memory_mb or 0,
        _MEGABYTES,
        _label,
        _DECADES,
    )


def _label(megabytes: float, _position: object = None) -> str:
    return f"{megabytes / 1000:g} GB" if megabytes >= 1000 else f"{megabytes:g} MB"
