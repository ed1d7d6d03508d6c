"""Test accuracy against a cost: what the figures of this kind share."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, pareto_front
from deepnets.figures.comparison import (
    Comparison,
    add_legend,
    draw_points,
    log_scale,
    new_figure,
    pale_note,
    percent,
    place_legend,
    point_names,
)
from deepnets.figures.point_labels import FRONT_RING, name_points
from deepnets.figures.style import MUTED

NAMED_POINTS = 8  # of more points, only the recipes that validation chose are named and have intervals
_LEGEND_CHARACTERS = 72  # have room on a line below the figure
DECADES: list[float] = [10**power for power in range(2, 14)]
COUNT_TICKS = [digit * decade for decade in DECADES for digit in (1, 2, 5)]
# Rings show the points of the front where they are so close, or so few, that the line does not.
_FRONT: dict[str, Any] = {
    **{"color": MUTED, "linewidth": 1, "drawstyle": "steps-post", "zorder": 1},
    **{"marker": "o", "markersize": FRONT_RING, "markerfacecolor": "none", "markeredgewidth": 0.8},
}


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
        title: of the figure, as in "Test accuracy against parameters".
        label: of the horizontal axis.
        cost: of a group, above 0.
        ticks, text, coarse_ticks: as of `log_scale`.
    """
    chosen = list(best_by_model(comparison.groups).values())
    front = pareto_front(chosen, cost)
    whole_names = point_names(comparison, chosen, _LEGEND_CHARACTERS)
    of_chosen = " of the chosen recipes" * (len(chosen) < len(comparison.groups))

    def drawn(named: Sequence[SeedGroup], names_in_legend: bool = False) -> tuple[Figure, bool]:
        """The figure with names and intervals of these points, and whether the names have room."""
        figure, (axes,) = new_figure(comparison, title, (5.4, 3.8), note=pale_note(comparison))
        axes.set_xlabel(label)
        corners = [cost(group) for group in front], [percent(group)[0] for group in front]
        [front_line] = axes.plot(*corners, **_FRONT)
        draw_points(axes, comparison, cost, chosen, named)
        log_scale(figure, axes, ticks, text, coarse_ticks)
        if names_in_legend:
            front_line.set_label(f"Pareto front{of_chosen}")
            of_model = zip([group.model for group in named], whole_names, strict=True)
            add_legend(figure, comparison, dict(of_model), [front_line])
            return figure, True
        explained = of_chosen or ": no other one is as accurate at the same cost or less"
        front_line.set_label(f"Pareto front{explained}")
        place_legend(figure, [front_line])
        return figure, name_points(figure, axes, comparison, cost, named, front)

    if len(chosen) < len(comparison.groups) <= NAMED_POINTS:
        figure, has_room = drawn(comparison.groups)
        if has_room and not any("…" in name for name in point_names(comparison, comparison.groups)):
            return figure
    figure, has_room = drawn(chosen)
    if has_room and point_names(comparison, chosen) == whole_names:
        return figure
    return drawn(chosen, names_in_legend=True)[0]


def count(value: float, _position: object = None) -> str:
    """The label of a tick of an axis of counts: "20 million"."""
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
