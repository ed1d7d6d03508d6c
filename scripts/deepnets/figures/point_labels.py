"""Names next to the points of a figure, each where it covers least."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from deepnets.comparison.aggregate import SeedGroup
from deepnets.figures.comparison import LABELLED_MODELS, Comparison, percent, point_names

FRONT_RING = 11  # points, around a marker of the Pareto front
_MARKER_INCHES = 0.07
_NEXT_TO = 0.1  # a name that touches another's point is as bad as one of which this share covers something
_NEAR = 2  # times as far as its own point, a name may seem to belong to another one
_FAR = 0.1  # as much for a name next to an end of the interval, which may be far from the point


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
        False, and nothing is written, where there are too many, names would cover each other or an interval or leave
        the figure, or points of one model cover each other.
    """
    if len(named) > LABELLED_MODELS:
        return False

    def spot(group: SeedGroup) -> NDArray[np.float64]:
        return axes.transData.transform((cost(group), percent(group)[0]))

    alike = (pair for pair in combinations(named, 2) if pair[0].model == pair[1].model)
    if any(math.dist(spot(a), spot(b)) < _MARKER_INCHES * figure.dpi for a, b in alike):
        return False
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.12 * (high - low), high)  # room for names below the intervals; above, 100 % may be near
    figure.draw_without_rendering()  # positions are known only after the layout
    spots = {id(group): spot(group) for group in named}
    of_study = list(zip(named, point_names(comparison, named), strict=True))
    apart = {
        here: min((math.dist(spots[here], spots[there]) for there in spots if there != here), default=0)
        for here in spots
    }
    marks = {id(group): _mark_box(axes, cost(group), group, id(group) in spots) for group in comparison.groups}
    front_boxes = _front_boxes(figure, axes, [(cost(group), percent(group)[0]) for group in front])
    crowded_first = sorted(of_study, key=lambda each: apart[id(each[0])])  # a late name has few places left
    for labelled in (of_study, crowded_first):
        placed = _place_names(figure, axes, comparison, cost, labelled, marks, front_boxes)
        boxes = [name.get_window_extent() for name in placed]
        is_crowded = any(_covered(box, marks) for box in boxes)
        is_crowded |= any(_area(Bbox.intersection(*pair)) for pair in combinations(boxes, 2))
        if not is_crowded and all(_area(Bbox.intersection(box, figure.bbox)) >= 0.99 * _area(box) for box in boxes):
            _lead_to_points(axes, placed, [spots[id(group)] for group, _ in labelled])
            return True
        for name in placed:
            name.remove()
    return False


def _lead_to_points(axes: Axes, placed: Sequence[Annotation], spots: Sequence[NDArray[np.float64]]) -> None:
    """Draw a line from each name to its point where another point is about as near; `spots`: the points, in pixels."""
    for name, own in zip(placed, spots, strict=True):
        box = name.get_window_extent()
        nearest = [np.clip(spot, [box.x0, box.y0], [box.x1, box.y1]) for spot in spots]
        gaps = {id(spot): math.dist(spot, near) for spot, near in zip(spots, nearest, strict=True)}
        if any(gap < _NEAR * gaps[id(own)] for spot, gap in gaps.items() if spot != id(own)):
            ends = axes.transData.inverted().transform([np.clip(own, [box.x0, box.y0], [box.x1, box.y1]), own])
            axes.plot(*ends.T, color=name.get_color(), linewidth=0.8, marker="", linestyle="-")


def _place_names(
    figure: Figure,
    axes: Axes,
    comparison: Comparison,
    cost: Callable[[SeedGroup], float],
    labelled: Sequence[tuple[SeedGroup, str]],
    marks: Mapping[int, Bbox],
    front_boxes: Iterable[Bbox],
) -> list[Annotation]:
    """Write the names of `labelled` in their order, each at the side where it covers least and is next to its point.

    `marks`: of all groups, by their ids, and `front_boxes`: what is drawn of the points and of the Pareto front, in
    pixels. The other arguments are as of `name_points`.
    """
    taken = [*front_boxes, *marks.values()]
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
        at_ends: tuple[_Place, ...] = ((0, above + 4, "center", "bottom"), (0, below - 4, "center", "top"))
        next_to_ends: tuple[_Place, ...] = (
            *((-8, above, "right", "top"), (-8, below, "right", "bottom")),
            *((8, above, "left", "top"), (8, below, "left", "bottom")),
        )
        others = [marks[id(other)] for other, _ in labelled if other is not group]
        unfit: dict[_Place, float] = {}
        for place in (*_SIDES, *at_ends, *next_to_ends):
            _move(name, *place)
            box = name.get_window_extent()
            unfit[place] = _unfit(box, axes, taken, others) + _covered(box, marks) + _FAR * (place in next_to_ends)
        _move(name, *min(unfit, key=unfit.__getitem__))
        taken.append(name.get_window_extent())
        placed.append(name)
    return placed


def _mark_box(axes: Axes, cost: float, group: SeedGroup, with_interval: bool) -> Bbox:
    """Return what the marker of a group covers, and its interval if it is drawn, with room around them, in pixels."""
    value, low, high = percent(group)
    bottom, top = (low, high) if with_interval else (value, value)
    return Bbox(axes.transData.transform([(cost, bottom), (cost, top)])).padded(8)


def _covered(name: Bbox, marks: Mapping[int, Bbox]) -> int:
    """Return how many points or intervals a name covers a part of."""
    return sum(name.overlaps(mark.padded(-2)) for mark in marks.values())  # with less room around them


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
# Offsets in points from a point to its name, and the alignments that go with them.
_Place = tuple[float, float, _Horizontal, _Vertical]
_SIDES: tuple[_Place, ...] = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (6, 7, "left", "bottom"),
    (6, -7, "left", "top"),
    (-6, 7, "right", "bottom"),
    (-6, -7, "right", "top"),
    (0, 14, "center", "bottom"),
    (0, -14, "center", "top"),
)  # the first is the usual one


def _move(name: Annotation, x: float, y: float, horizontal: _Horizontal, vertical: _Vertical) -> None:
    name.set_position((x, y))
    name.set_horizontalalignment(horizontal)
    name.set_verticalalignment(vertical)


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height
