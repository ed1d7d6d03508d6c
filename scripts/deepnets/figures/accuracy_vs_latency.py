"""Test accuracy against the time of one prediction."""

from collections.abc import Callable

from matplotlib.figure import Figure

from deepnets.evaluation.measurements import Latency, read_latency
from deepnets.figures.against_cost import draw_against
from deepnets.figures.comparison import Comparison
from deepnets.figures.names import short_names
from deepnets.figures.style import applied

_DECADES: list[float] = [10.0**power for power in range(-3, 5)]  # milliseconds
_TICKS = [digit * decade for decade in _DECADES for digit in (1, 2, 5)]


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group on a log scale of its network's latency; the axis names the machine."""
    return draw_measured(
        comparison,
        "Test accuracy against latency",
        "Time for one image (ms, log scale)",
        lambda measured: measured.latency.median_seconds,
    )


def draw_measured(comparison: Comparison, title: str, label: str, seconds: Callable[[Latency], float]) -> Figure:
    """Draw a point per group on a log scale of a time of its network's latency.json; arguments as of `draw_against`."""
    measured = {group.model: read_latency(group.first) for group in comparison.groups}
    machines = {f"{each.measured_on.name}, {each.measured_on.thread_count}" for each in measured.values()}
    [machine] = short_names([machines.pop() if len(machines) == 1 else "several machines"], 50)
    return draw_against(
        comparison,
        title,
        f"{label}, {machine}",
        lambda group: 1000 * seconds(measured[group.model]),
        _TICKS,
        _label,
        _DECADES,
    )


def _label(value: float, _position: object = None) -> str:
    return f"{value:g}"
