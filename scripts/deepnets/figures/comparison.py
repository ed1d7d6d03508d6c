"""The shared parts of the figures that compare the models of one dataset: points, names, legend and axes."""

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    group_name,
    interval_caption,
    ranked,
    several_recipes,
)
from deepnets.comparison.statistics_file import Statistics
from deepnets.comparison.training_time import training_time
from deepnets.figures import names
from deepnets.figures.style import MUTED, ModelStyle, limit_percent

LABELLED_MODELS = 12  # more names crowd the points and move to a legend
COLOURED_MODELS = 24  # more styles look alike: the best few keep theirs, the others are grey
PALE = 0.35  # opacity of recipes that validation did not choose
_CAPTION_CHARACTERS = 80  # on a line above the axes of the narrowest figure
FRONT_RING = 11  # points, around a marker of the Pareto front
_MARKER_INCHES = 0.07
_NEXT_TO = 0.1  # a name that touches another's point is as bad as one of which this share covers something
_NAME_CHARACTERS = 34  # of a name next to a point
TICK_INCHES = 0.6  # room for "20 million"
_HANDLE_INCHES, _CHARACTER_INCHES = 0.5, 0.062  # of a column of a legend

SECOND_TICKS: list[float] = [
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60 * n for n in (1, 2, 5, 10, 20, 30)),
    *(3600 * n for n in (1, 2, 5, 10)),
    *(86400 * n for n in (1, 2, 5, 10, 20, 50)),
]
_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class _LineOptions(TypedDict):
    color: str
    alpha: float
    linewidth: float
    markersize: float


FAINT: _LineOptions = {"color": MUTED, "alpha": 0.3, "linewidth": 0.6, "markersize": 3}


@dataclass(frozen=True)
class Comparison:
    """The data of the comparison figures of one dataset.

    Attributes:
        styles: the style of each model, by the model's name.
        published: for some models, test accuracies in percent by their name in the legend (two kinds at most).
        statistics: what statistics.json says about the groups.
        stopped: folders of the experiments in which a search stopped a trial early.
    """

    dataset: str
    groups: list[SeedGroup]
    styles: dict[str, ModelStyle]
    statistics: Statistics
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    stopped: Collection[Path] = ()

    @cached_property
    def coloured(self) -> list[str]:
        """The models that are drawn in their own style, and named."""
        best = best_by_model(self.groups)
        if len(best) <= COLOURED_MODELS:
            return list(best)
        return [group.model for group in ranked(best.values())[:LABELLED_MODELS]]


def titled_figure(comparison: Comparison, title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, which ends with the dataset; `size` is width and height in inches."""
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(names.title(f"{title}: {comparison.dataset}"), x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def new_figure(
    comparison: Comparison, title: str, size: tuple[float, float], columns: int = 1, note: str = ""
) -> tuple[Figure, list[Axes]]:
    """An empty figure with its title, and its axes side by side; `size` is width and height in inches.

    `note`: a line below what the intervals are.
    """
    figure = titled_figure(comparison, title, size)
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0].tolist()
    caption = textwrap.wrap(interval_caption(comparison.groups), _CAPTION_CHARACTERS)
    axes[0].set_title("\n".join([*caption, *([note] if note else [])]), fontsize=8, fontweight="normal", color=MUTED)
    return figure, axes


def pale_note(comparison: Comparison) -> str:
    """The note of a figure with a point per group: how many are pale; "" if none is."""
    pale = len(comparison.groups) - len(best_by_model(comparison.groups))
    return f"pale: {pale:,} recipe{'s' if pale > 1 else ''} that validation did not choose" if pale else ""


def percent(group: SeedGroup) -> tuple[float, float, float]:
    """Test accuracy, lower and upper bound of its interval, in percent."""
    estimate = group.accuracy
    return 100 * estimate.value, 100 * estimate.low, 100 * estimate.high


def draw_point(
    axes: Axes, x: float, y: float, style: ModelStyle, alpha: float = 1, **errors: list[list[float]]
) -> None:
    """Draw a model's marker with its interval: `xerr` or `yerr`, [[length below], [length above]]."""
    look: dict[str, Any] = {"color": style.color, "alpha": alpha, "marker": style.marker, **errors}
    axes.errorbar([x], [y], elinewidth=1.4, capsize=2.5, **look)


def draw_points(
    axes: Axes,
    comparison: Comparison,
    cost: Callable[[SeedGroup], float],
    in_full: Iterable[SeedGroup],
    pale: Iterable[SeedGroup] = (),
) -> None:
    """Draw the test accuracy of every group against its cost: some in full, some pale, the others small and pale."""
    axes.set_ylabel("Test accuracy (%)")
    axes.label_outer(remove_inner_ticks=False)
    strength = {id(group): PALE for group in pale} | {id(group): 1.0 for group in in_full}
    for group in comparison.groups:
        style = comparison.styles[group.model]
        value, low, high = percent(group)
        if group.model not in comparison.coloured:
            axes.plot([cost(group)], [value], ".", **FAINT)
        elif id(group) in strength:
            draw_point(axes, cost(group), value, style, strength[id(group)], yerr=[[value - low], [high - value]])
        else:
            axes.plot([cost(group)], [value], style.marker, color=style.color, alpha=PALE, markersize=3)
    limit_percent(axes)


def machine(groups: list[SeedGroup]) -> str:
    """Device and threads of the training runs, for the label of a time axis."""
    timings = [result.timing for group in groups for result in group.results]
    devices, threads = {timing.name for timing in timings}, {timing.thread_count for timing in timings}
    if len(devices) > 1:
        return "several machines"
    [device] = names.short_names([*devices], 40)
    return f"{device}, {threads.pop() if len(threads) == 1 else 'different numbers of threads'}"


def time_label(comparison: Comparison) -> str:
    """The label of an axis of training times: the kind of time that `training_time` chooses, and the machine."""
    where = machine(comparison.groups)
    if training_time(comparison.groups).is_cpu:
        return f"CPU time of training (log scale),\n{where}"
    return f"Wall time of training (log scale), {where}"


def time_tick(seconds: float, _position: object = None) -> str:
    """Return the label of a tick of a time axis: "20 min"."""
    for size, unit in _TIME_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def log_scale(
    figure: Figure,
    axes: Axes,
    ticks: list[float],
    label: Callable[[float], str],
    coarse_ticks: list[float] | None = None,
    inches: float = TICK_INCHES,
) -> None:
    """Make the x-axis logarithmic, widen it to at least two of `ticks` and show the ticks within.

    Where they have no room, `coarse_ticks` in their place; of these, as many from the left as have room. `inches`: of
    a tick.
    """
    low, high = axes.dataLim.intervalx
    low, high = low / 1.35, high * 1.35
    below = [tick for tick in ticks if tick <= low]
    above = [tick for tick in ticks if tick >= high]
    if sum(low < tick < high for tick in ticks) < 2 and below and above:
        low, high = below[-1] / 1.05, above[0] * 1.05
    apart = math.exp(inches * math.log(high / low) / (figure.get_figwidth() * axes.get_position().width))
    within = [tick for tick in ticks if low <= tick <= high]
    shown = _with_room(within, apart)
    if coarse_ticks and shown != within:
        shown = _with_room([tick for tick in coarse_ticks if low <= tick <= high], apart)
    axes.set_xlim(low, high)
    axes.set_xscale("log")  # only now: a log axis refuses to find limits for a single value
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(label))
    axes.xaxis.set_minor_locator(NullLocator())


def _with_room(ticks: list[float], apart: float) -> list[float]:
    """Those of `ticks` that are at least the factor `apart` from the one shown before, from the left."""
    shown: list[float] = []
    for tick in ticks:
        if not shown or tick >= apart * shown[-1]:
            shown.append(tick)
    return shown


def point_names(comparison: Comparison, named: Sequence[SeedGroup]) -> list[str]:
    """Return the names of points: the model, followed by the recipe where the model has several."""
    recipes = {
        model: several_recipes(group for group in comparison.groups if group.model == model)
        for model in dict.fromkeys(group.model for group in named)
    }
    return names.short_names([group_name(group, recipes[group.model]) for group in named], _NAME_CHARACTERS)


def name_points(
    figure: Figure,
    axes: Axes,
    comparison: Comparison,
    cost: Callable[[SeedGroup], float],
    named: Sequence[SeedGroup],
    front: Sequence[SeedGroup],
) -> bool:
    """Write names next to their points, each on the side where it covers least of points, names and Pareto front.

    Args:
        front: the points of the Pareto front, cheapest first; the other arguments are as of `draw_points`.

    Returns:
        False, and nothing is written, where there are too many, names would cover each other or leave the figure, or
        points of one model cover each other.
    """
    if len(named) > LABELLED_MODELS:
        return False
    spots = {id(group): axes.transData.transform((cost(group), percent(group)[0])) for group in named}
    alike = (pair for pair in combinations(named, 2) if pair[0].model == pair[1].model)
    if any(math.dist(spots[id(a)], spots[id(b)]) < _MARKER_INCHES * figure.dpi for a, b in alike):
        return False
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.12 * (high - low), high)  # room for names below the intervals; above, 100 % may be near
    figure.draw_without_rendering()  # positions are known only after the layout
    of_study = list(zip(named, point_names(comparison, named), strict=True))
    apart = {
        here: min((math.dist(spots[here], spots[there]) for there in spots if there != here), default=0)
        for here in spots
    }
    crowded_first = sorted(of_study, key=lambda each: apart[id(each[0])])  # a late name has few places left
    for labelled in (of_study, crowded_first):
        placed = _place_names(figure, axes, comparison, cost, labelled, front)
        boxes = [name.get_window_extent() for name in placed]
        is_crowded = any(_area(Bbox.intersection(*pair)) for pair in combinations(boxes, 2))
        if not is_crowded and all(_area(Bbox.intersection(box, figure.bbox)) >= 0.99 * _area(box) for box in boxes):
            return True
        for name in placed:
            name.remove()
    return False


def _place_names(
    figure: Figure,
    axes: Axes,
    comparison: Comparison,
    cost: Callable[[SeedGroup], float],
    labelled: Sequence[tuple[SeedGroup, str]],
    front: Sequence[SeedGroup],
) -> list[Annotation]:
    """Write the names of `labelled` in their order, each at the side where it covers least and is next to its point.

    The other arguments are as of `name_points`.
    """
    taken = _front_boxes(figure, axes, [(cost(group), percent(group)[0]) for group in front])
    bars = {id(group): _bar_box(axes, cost(group), group) for group in comparison.groups}
    taken += bars.values()
    placed = []
    for group, label in labelled:
        name = axes.annotate(
            label,
            (cost(group), percent(group)[0]),
            textcoords="offset points",
            xytext=(0, 0),
            color=comparison.styles[group.model].text_color,
            path_effects=[withStroke(linewidth=3, foreground="white")],  # a line may be behind it
        )
        name.set_in_layout(False)  # or it would move the points that it was placed by
        value, low, high = percent(group)
        heights = axes.transData.transform([(cost(group), each) for each in (value, low, high)])[:, 1]
        below, above = (heights[1:] - heights[0]) * 72 / figure.dpi  # from the point to the ends of its bar, in points
        sides = (*_SIDES, (0, above + 4, "center", "bottom"), (0, below - 4, "center", "top"))
        others = [bars[id(other)] for other, _ in labelled if other is not group]
        unfit = []
        for side in sides:
            _move(name, *side)
            unfit.append(_unfit(name.get_window_extent(), axes, taken, others))
        _move(name, *sides[unfit.index(min(unfit))])
        taken.append(name.get_window_extent())
        placed.append(name)
    return placed


def _bar_box(axes: Axes, cost: float, group: SeedGroup) -> Bbox:
    """Return what the marker and the interval of a point cover, in pixels."""
    _, low, high = percent(group)
    return Bbox(axes.transData.transform([(cost, low), (cost, high)])).padded(8)


def _unfit(name: Bbox, axes: Axes, taken: Iterable[Bbox], others: Iterable[Bbox]) -> float:
    """Return how bad a place of a name is: the share that is outside or covers something, and more next to others.

    Args:
        name: in pixels.
        taken: what it should not cover.
        others: the named points that it does not belong to.
    """
    covered = sum(_area(Bbox.intersection(name, other)) for other in taken) + _area(name)
    covered -= _area(Bbox.intersection(name, axes.bbox))
    gaps = [
        math.hypot(max(a.x0 - b.x1, b.x0 - a.x1, 0), max(a.y0 - b.y1, b.y0 - a.y1, 0))
        for a, b in ((name, other) for other in others)
    ]
    return covered / _area(name) + _NEXT_TO * max(0, 1 - min(gaps, default=math.inf) / (2 * name.height))


def _front_boxes(figure: Figure, axes: Axes, points: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Return what the Pareto front covers, in pixels: its steps, and the rings around its points."""
    radius, in_pixels = FRONT_RING / 2 * figure.dpi / 72, axes.transData.transform(points)
    rings = [Bbox([point, point]).padded(radius) for point in in_pixels]
    steps = []
    for (x, y), (next_x, next_y) in pairwise(in_pixels):
        steps += [Bbox([(x, y), (next_x, y)]).padded(3), Bbox([(next_x, y), (next_x, next_y)]).padded(3)]
    return [*rings, *steps]


_Horizontal = Literal["left", "center", "right"]
_Vertical = Literal["bottom", "center", "top"]
# Offsets in points from a point to its name, and the alignments that go with them; the first is the usual position.
_SIDES: tuple[tuple[float, float, _Horizontal, _Vertical], ...] = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (6, 7, "left", "bottom"),
    (6, -7, "left", "top"),
    (-6, 7, "right", "bottom"),
    (-6, -7, "right", "top"),
    (0, 14, "center", "bottom"),
    (0, -14, "center", "top"),
)


def _move(name: Annotation, x: float, y: float, horizontal: _Horizontal, vertical: _Vertical) -> None:
    name.set_position((x, y))
    name.set_horizontalalignment(horizontal)
    name.set_verticalalignment(vertical)


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height


def add_legend(
    figure: Figure, comparison: Comparison, labels: Mapping[str, str] | None = None, lines: Sequence[Line2D] = ()
) -> None:
    """Name the coloured models below the axes, and the number of the others; `labels`: other names, by model.

    `lines`: what else is named, after them.
    """
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle=style.linestyle, label=label)
        for model, style in ((model, comparison.styles[model]) for model in comparison.coloured)
        for label in [(labels or {}).get(model, style.label)]
    ]
    others = len({group.model for group in comparison.groups}) - len(handles)
    if others:
        handles.append(Line2D([], [], marker=".", label=f"{others} others", **FAINT))
    place_legend(figure, [*handles, *lines])


def place_legend(figure: Figure, handles: Sequence[Artist], note: str = "") -> None:
    """Write a legend below the axes, in as many columns as have room, below a grey `note`; make room for its lines."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(4, int(figure.get_figwidth() / (_HANDLE_INCHES + _CHARACTER_INCHES * longest))))
    width = int(figure.get_figwidth() / _CHARACTER_INCHES)
    lines = [line for paragraph in note.splitlines() for line in textwrap.wrap(paragraph, width)]
    figure.set_figheight(figure.get_figheight() + 0.17 * (math.ceil(len(handles) / columns) + len(lines)))
    look: dict[str, Any] = {"ncols": columns, "fontsize": 7, "title_fontsize": 7, "alignment": "left"}
    legend = figure.legend(handles=handles, loc="outside lower left", title="\n".join(lines) or None, **look)
    legend.get_title().set_color(MUTED)
