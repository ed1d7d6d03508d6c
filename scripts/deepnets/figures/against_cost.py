"""Test accuracy against a cost: what the figures of this kind share."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, pareto_front
from deepnets.figures.comparison import (
    Comparison,
    add_legend,
    draw_points,
    log_scale,
    name_points,
    new_figure,
    pale_note,
    percent,
    point_names,
)
from deepnets.figures.style import MUTED

NAMED_POINTS = 8  # of more points, only the recipes that validation chose are named and have intervals
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

    Recipes that it did not choose are pale; where there are few, they have their names, too.

    Args:
        comparison: what is compared.
        title: of the figure, as in "Test accuracy against size".
        label: of the horizontal axis.
        cost: of a group, above 0.
        ticks, text, coarse_ticks: as of `log_scale`.
    """
    chosen = list(best_by_model(comparison.groups).values())
    front = pareto_front(chosen, cost)

    def drawn(named: Sequence[SeedGroup]) -> tuple[Figure, bool]:
        """The figure with names and intervals of these points, and whether the names have room."""
        figure, (axes,) = new_figure(comparison, title, (5.4, 3.8), note=pale_note(comparison))
        axes.set_xlabel(label)
        front_line = [cost(group) for group in front], [percent(group)[0] for group in front]
        axes.plot(*front_line, color=MUTED, linewidth=1, marker="", drawstyle="steps-post", zorder=1)
        draw_points(axes, comparison, cost, chosen, named)
        log_scale(figure, axes, ticks, text, coarse_ticks)
        return figure, name_points(figure, axes, comparison, cost, named)

    if len(chosen) < len(comparison.groups) <= NAMED_POINTS:
        figure, has_room = drawn(comparison.groups)
        if has_room:
            return figure
    figure, has_room = drawn(chosen)
    if not has_room:
        labels = [group.model for group in chosen], point_names(comparison, chosen)
        add_legend(figure, comparison, dict(zip(*labels, strict=True)))
    return figure


def count(value: float, _position: object = None) -> str:
    """The label of a tick of an axis of counts: "20 million"."""
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
