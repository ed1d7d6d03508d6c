"""Test accuracy by model, the best on validation first."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation, several_recipes
from deepnets.figures.comparison import (
    LABELLED_MODELS,
    PALE,
    Comparison,
    draw_point,
    group_names,
    new_figure,
    percent,
)
from deepnets.figures.style import MUTED, ModelStyle, applied

_ROWS = 80  # more rows fit on no page: the best are shown, and the title gives their number
_HOLLOW_MARKERS = {"published": "o", "best": "D"}  # by the first word of their names


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a row per group: its mean and interval, single seeds as ticks, published values as hollow markers.

    Rows of recipes that validation did not choose for their network are pale.
    """
    chosen = {id(group) for group in best_by_model(comparison.groups).values()}
    shown = by_validation(comparison.groups)[:_ROWS]
    many, total = len(shown) > LABELLED_MODELS, len(comparison.groups)
    title = "Test accuracy" if len(shown) == total else f"Test accuracy, the best {len(shown)} of {total}"
    size = 6.4, 1.6 + (0.17 if many else 0.36) * len(shown)
    notes = ["best on validation first"] * (total > 1) + ["pale: not chosen by it"] * (len(chosen) < total)
    figure, (axes,) = new_figure(comparison, title, size, note=", ".join(notes))
    axes.set_xlabel("Test accuracy (%)")
    for row, group in enumerate(shown):
        _draw_row(axes, row, group, comparison.styles[group.model], 1 if id(group) in chosen else PALE)
        axes.annotate(
            "{:.2f}  [{:.2f}, {:.2f}]".format(*percent(group)),
            (1.02, row),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=6.5 if many else 8.5,
            annotation_clip=False,
        )
    _draw_published(figure, axes, shown, comparison.published)
    with_recipe = comparison.styles if several_recipes(comparison.groups) else ()
    names = group_names(comparison, shown, with_recipe)
    axes.set_yticks(range(len(shown)), names, fontsize=6.5 if many else 9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return figure


def _draw_row(axes: Axes, row: int, group: SeedGroup, style: ModelStyle, alpha: float) -> None:
    value, low, high = percent(group)
    draw_point(axes, value, row, style, alpha, xerr=[[value - low], [high - value]])
    if len(group.results) > 1:
        seeds = [100 * result.metrics.test.accuracy for result in group.results]
        heights = [row + 0.22 + 0.1 * seeds[:place].count(seed) for place, seed in enumerate(seeds)]  # equal ones, too
        axes.plot(seeds, heights, "|", color=style.color, markersize=4, alpha=alpha)


def _draw_published(
    figure: Figure, axes: Axes, groups: list[SeedGroup], published: dict[str, dict[str, float]]
) -> None:
    points: dict[str, list[tuple[float, int]]] = {}  # (accuracy, row) by kind
    for row, group in enumerate(groups):
        for kind, accuracy in published.get(group.model, {}).items():
            points.setdefault(kind, []).append((accuracy, row))
    for kind, of_kind in points.items():
        accuracies, rows = zip(*of_kind, strict=True)
        axes.plot(
            accuracies,
            rows,
            _HOLLOW_MARKERS[kind.split()[0]],
            markerfacecolor="none",
            color=MUTED,
            markersize=7,
            label=kind,
        )
    if points:
        figure.legend(loc="outside lower left", ncols=2)
