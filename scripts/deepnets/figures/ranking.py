"""Which networks can be distinguished: the outcome of each pair, and letters for the ties."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from deepnets.comparison.aggregate import several_recipes
from deepnets.comparison.statistics_file import Candidate, Pair
from deepnets.figures.comparison import Comparison, group_names, place_legend, titled_figure
from deepnets.figures.style import GRID, MUTED, TEXT_COLOR, applied

_ROWS = 30  # more are not readable; the title gives their number
_NUMBERS = 16  # up to this many rows, cells have their difference in points
_BETTER, _WORSE, _EQUIVALENT, _OPEN = "#8CB8DE", "#F2B77C", "#D5D5D5", "#FFFFFF"
_LEGEND = {
    "row better": _BETTER,
    "column better": _WORSE,
    "equivalent": _EQUIVALENT,
    "open: the test found nothing": _OPEN,
}


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a matrix: a row and a column per candidate, in their order, coloured by which of the two is better.

    The diagonal is hatched, as white stands for an open pair.
    """
    statistics = comparison.statistics
    shown = statistics.compared[:_ROWS]
    size = 0.6 if len(shown) <= _NUMBERS else 0.34
    left_out = len(statistics.candidates) - len(shown)
    best = f", {len(shown)} of {len(statistics.candidates)}" if left_out else ""
    inches = (3.2 if all(each.selected for each in shown) else 4.0) + size * len(shown), 1.7 + size * len(shown)
    figure = titled_figure(comparison, f"Which networks can be distinguished{best}", inches)
    axes = figure.subplots()
    for (row, column), pair in statistics.outcomes().items():
        if column < len(shown):
            _draw_pair(axes, row, column, pair, with_number=len(shown) <= _NUMBERS)
    for place in range(len(shown)):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, facecolor="white", edgecolor=GRID, hatch="////"))
    _draw_axes(axes, shown, _names(comparison, shown))
    handles = [Patch(facecolor=color, edgecolor=MUTED, linewidth=0.6, label=label) for label, color in _LEGEND.items()]
    numbers = "Difference in test accuracy, row minus column, percentage points.\n" * (len(shown) <= _NUMBERS)
    place_legend(figure, handles, f"{numbers}The same letter: not distinguished.")
    return figure


def _names(comparison: Comparison, shown: list[Candidate]) -> list[str]:
    group_of = {id(group.candidate): group for group in comparison.groups}
    with_recipe = comparison.styles if several_recipes(comparison.groups) else ()
    return group_names(comparison, [group_of[id(each)] for each in shown], with_recipe)


def _draw_pair(axes: Axes, row: int, column: int, pair: Pair, with_number: bool) -> None:
    """Draw the two cells of a pair; the second one is seen from the other side."""
    colors = {"a": (_BETTER, _WORSE), "b": (_WORSE, _BETTER), "equivalent": (_EQUIVALENT,) * 2, "open": (_OPEN,) * 2}
    for (x, y), color, sign in zip(((column, row), (row, column)), colors[pair.verdict], (1, -1), strict=True):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor=GRID))
        if with_number and pair.n:
            points = f"{round(100 * sign * pair.difference, 2) or 0:+.2f}".replace("-", "−").replace("+0.00", "0.00")
            axes.text(x, y, points, ha="center", va="center", fontsize=7.5, color=TEXT_COLOR)


def _draw_axes(axes: Axes, shown: list[Candidate], names: list[str]) -> None:
    """Name the rows, with their letters, and number the columns by the place of their candidate."""
    marked = [f"{name}{'' if each.selected else ', not chosen'}" for name, each in zip(names, shown, strict=True)]
    labels = [f"{name}  {each.group}  {place}" for place, (name, each) in enumerate(zip(marked, shown, strict=True), 1)]
    small = 9 if len(shown) <= _NUMBERS else 6.5
    axes.set_yticks(range(len(shown)), labels, fontsize=small)
    axes.set_xticks(range(len(shown)), [str(place) for place in range(1, len(shown) + 1)], fontsize=small)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_aspect("equal", anchor="W")  # the layout measures names from the left edge, so no gap may be there
    axes.grid(visible=False)
