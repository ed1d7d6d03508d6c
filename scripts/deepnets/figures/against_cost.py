"""Test accuracy against a cost: what the figures of this kind share."""

from collections.abc import Callable

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, pareto_front
from deepnets.figures.comparison import Comparison, draw_points, log_scale, name_points, new_figure, percent
from deepnets.figures.style import MUTED

DECADES: list[float] = [10**power for power in range(2, 14)]
COUNT_TICKS = [digit * decade for decade in DECADES for digit in (1, 2, 5)]


def draw_against(
    comparison: Comparison,
    title: str,
    label: str,
    cost: Callable[[SeedGroup], float],
    ticks: list[float],
    text: Callable[..., str],
    coarse_ticks: list[float] | None = None,
) -> Figure:
    """Draw a point per group on a log scale of its cost, and the Pareto front of the recipes that validation chose.

    Args:
        comparison: what is compared.
        title: of the figure, as in "Test accuracy against size".
        label: of the horizontal axis.
        cost: of a group, above 0.
        ticks, text, coarse_ticks: as of `log_scale`.
    """
    figure, (axes,) = new_figure(comparison, title, (5.4, 3.8))
    axes.set_xlabel(label)
    front = pareto_front(best_by_model(comparison.groups).values(), cost)
    front_line = [cost(group) for group in front], [percent(group)[0] for group in front]
    axes.plot(*front_line, color=MUTED, linewidth=1, marker="", drawstyle="steps-post", zorder=1)
    draw_points(axes, comparison, cost)
    log_scale(figure, axes, ticks, text, coarse_ticks)
    name_points(figure, axes, comparison, cost)
    return figure


def count(value: float, _position: object = None) -> str:
    """The label of a tick of an axis of counts: "20 million"."""
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
