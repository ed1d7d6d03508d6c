"""Test accuracy against the time of one prediction."""

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup
from deepnets.evaluation.measurements import read_latency
from deepnets.figures.against_cost import draw_against
from deepnets.figures.comparison import Comparison
from deepnets.figures.names import short_names
from deepnets.figures.style import applied

_DECADES: list[float] = [10.0**power for power in range(-3, 5)]  # milliseconds
_TICKS = [digit * decade for decade in _DECADES for digit in (1, 2, 5)]


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's latency; the axis names the machine."""
    measured = {group.model: read_latency(group.first) for group in comparison.groups}
    machines = {f"{each.measured_on.name}, {each.measured_on.thread_count}" for each in measured.values()}
    [machine] = short_names([machines.pop() if len(machines) == 1 else "several machines"], 50)

    def milliseconds(group: SeedGroup) -> float:
        return 1000 * measured[group.model].latency.median_seconds

    return draw_against(
        comparison,
        "Test accuracy against latency",
        f"Time for one image (ms, log scale), {machine}",
        milliseconds,
        _TICKS,
        _label,
        _DECADES,
    )


def _label(value: float, _position: object = None) -> str:
    return f"{value:g}"
