"""Comparison of the models of one dataset: test accuracy by model, and against size, training time and budget."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    budget_lines,
    group_name,
    interval_caption,
    mean_wall_seconds,
    ranked,
    several_recipes,
)
from deepnets.figures.style import MUTED, Color, Look, applied, end_labels, legible, limit_percent

_ROWS = 80  # more rows fit no page: the best are shown and the title says so
_LABELLED_MODELS = 12  # more names than that crowd the points and move to a legend
_COLOURED_MODELS = 24  # more looks cannot be told apart: the best few keep theirs, the others are grey
_FULL_POINTS = 40  # of more, only each model's best is drawn in full, the others faint and without interval
_TICK_INCHES = 0.6  # room for "20 million"
_HOLLOW_MARKERS = ("o", "D")
_FAINT = {"color": MUTED, "alpha": 0.3, "linewidth": 0.6, "markersize": 3}

_DECADES = [10**power for power in range(2, 11)]
_PARAMETER_TICKS = [digit * decade for decade in _DECADES for digit in (1, 2, 5)]
_SECOND_TICKS = [
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60 * n for n in (1, 2, 5, 10, 20, 30)),
    *(3600 * n for n in (1, 2, 5, 10)),
    *(86400 * n for n in (1, 2, 5, 10, 20, 50)),
]
_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Comparison:
    """What the figures of one dataset show.

    looks: the look of each model, by the model's name.
    published: for some models, test accuracies in percent by what the legend calls them (two kinds at most).
    """

    dataset: str
    groups: list[SeedGroup]
    looks: dict[str, Look]
    published: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def coloured(self) -> list[str]:
        """The models that are drawn in their own look, and named."""
        best = best_by_model(self.groups)
        if len(best) <= _COLOURED_MODELS:
            return list(best)
        return [group.model for group in ranked(best.values())[:_LABELLED_MODELS]]


@applied()
def accuracy(comparison: Comparison) -> Figure:
    """Test accuracy by model, best first: intervals, single seeds as dots, published values as hollow markers."""
    shown = ranked(comparison.groups)[:_ROWS]
    many, total = len(shown) > _LABELLED_MODELS, len(comparison.groups)
    title = "Test accuracy" if len(shown) == total else f"Test accuracy, the best {len(shown)} of {total}"
    figure, (axes,) = _figure(comparison, title, (6.4, 1.6 + (0.17 if many else 0.36) * len(shown)))
    axes.set_xlabel("Test accuracy (%)")
    for row, group in enumerate(shown):
        _point(axes, group, comparison.looks[group.model], row, horizontal=True)
        axes.annotate(
            "{:.2f}  [{:.2f}, {:.2f}]".format(*_percent(group)),
            (1.02, row),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=6.5 if many else 8.5,
            annotation_clip=False,
        )
    _published(figure, axes, shown, comparison.published)
    with_recipe = several_recipes(comparison.groups)
    names = [legible(group_name(group, with_recipe), 34) for group in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=6.5 if many else 9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return figure


@applied()
def accuracy_vs_parameters(comparison: Comparison) -> Figure:
    """Test accuracy against the number of trainable parameters (log scale)."""
    figure, (axes,) = _figure(comparison, "Test accuracy against size", (5.4, 3.8))
    axes.set_xlabel("Trainable parameters (log scale)")
    _points(axes, comparison, _parameters)
    _log_scale(axes, _PARAMETER_TICKS, _count, fewer=_DECADES)
    _name_points(figure, axes, comparison, _parameters)
    return figure


@applied()
def accuracy_vs_time(comparison: Comparison) -> Figure:
    """Test accuracy against the wall time of training (log scale); the axis says on what machine."""
    figure, (axes,) = _figure(comparison, "Test accuracy against training time", (5.4, 3.8))
    axes.set_xlabel(f"Wall time of training (log scale), {_machine(comparison.groups)}")
    _points(axes, comparison, mean_wall_seconds)
    _log_scale(axes, _SECOND_TICKS, _duration)
    _name_points(figure, axes, comparison, mean_wall_seconds)
    return figure


@applied()
def accuracy_vs_budget(comparison: Comparison) -> Figure:
    """Test accuracy against the budget, in epochs and in wall time; a line joins trainings that differ in it alone.

    Each point is a training of its own with its own schedule, not a moment of a longer one.
    """
    figure, (by_epochs, by_time) = _figure(comparison, "Test accuracy against budget", (8.6, 3.8), columns=2)
    by_epochs.set_xlabel("Epochs (log scale)")
    by_time.set_xlabel(f"Wall time of training (log scale), {_machine(comparison.groups)}")
    lines = budget_lines(comparison.groups)
    for axes, cost in ((by_epochs, _epochs), (by_time, mean_wall_seconds)):
        _points(axes, comparison, cost)
        for line in lines:
            model, look = line[0].model, comparison.looks[line[0].model]
            style = {"color": look.color, "linestyle": look.linestyle} if model in comparison.coloured else _FAINT
            axes.plot([cost(group) for group in line], [100 * group.accuracy.value for group in line], **style)
    _log_scale(by_epochs, sorted({_epochs(group) for group in comparison.groups}), "{:.0f}".format)
    _log_scale(by_time, _SECOND_TICKS, _duration)
    ends = _ends(lines, comparison)
    if len(ends) <= _LABELLED_MODELS:
        end_labels(by_time, ends)
    else:
        _legend(figure, comparison)
    return figure


FIGURES: dict[str, Callable[[Comparison], Figure]] = {
    figure.__name__: figure for figure in (accuracy, accuracy_vs_parameters, accuracy_vs_time, accuracy_vs_budget)
}


def _figure(
    comparison: Comparison, title: str, size: tuple[float, float], columns: int = 1
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout="constrained")
    title = f"{title}: {legible(comparison.dataset, 40)}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0].tolist()
    axes[0].set_title(interval_caption(comparison.groups), fontsize=8, fontweight="normal", color=MUTED)
    return figure, axes


def _percent(group: SeedGroup) -> tuple[float, float, float]:
    estimate = group.accuracy
    return 100 * estimate.value, 100 * estimate.low, 100 * estimate.high


def _point(axes: Axes, group: SeedGroup, look: Look, place: float, horizontal: bool = False) -> None:
    value, low, high = _percent(group)
    error = [[value - low], [high - value]]
    x, y, errors = (value, place, {"xerr": error}) if horizontal else (place, value, {"yerr": error})
    axes.errorbar([x], [y], **errors, color=look.color, marker=look.marker, elinewidth=1.4, capsize=2.5)
    if horizontal and len(group.results) > 1:
        seeds = [100 * result.metrics.test.accuracy for result in group.results]
        axes.plot(seeds, [place + 0.25] * len(seeds), "|", color=look.color, markersize=4)


def _published(figure: Figure, axes: Axes, groups: list[SeedGroup], published: dict[str, dict[str, float]]) -> None:
    places: dict[str, list[tuple[float, int]]] = {}
    for row, group in enumerate(groups):
        for kind, accuracy in published.get(group.model, {}).items():
            places.setdefault(kind, []).append((accuracy, row))
    for (kind, points), marker in zip(places.items(), _HOLLOW_MARKERS, strict=False):
        axes.plot(*zip(*points, strict=True), marker, markerfacecolor="none", color=MUTED, markersize=7, label=kind)
    if places:
        figure.legend(loc="outside lower left", ncols=2)


def _points(axes: Axes, comparison: Comparison, cost: Callable[[SeedGroup], float]) -> None:
    axes.set_ylabel("Test accuracy (%)")
    axes.label_outer(remove_inner_ticks=False)
    best = best_by_model(comparison.groups)
    for group in comparison.groups:
        look = comparison.looks[group.model]
        if group.model not in comparison.coloured:
            axes.plot([cost(group)], [_percent(group)[0]], ".", **_FAINT)
        elif len(comparison.groups) <= _FULL_POINTS or group is best[group.model]:
            _point(axes, group, look, cost(group))
        else:
            axes.plot([cost(group)], [_percent(group)[0]], look.marker, color=look.color, alpha=0.3, markersize=3)
    limit_percent(axes)


def _ends(lines: list[list[SeedGroup]], comparison: Comparison) -> list[tuple[float, str, Color]]:
    """Height, name and colour for the end of each line, and for the best point of each model that has none.

    Of several lines of one model, each is named with the recipe of its end.
    """
    count = Counter(line[0].model for line in lines)
    groups = [line[-1] for line in lines]
    groups += [group for model, group in best_by_model(comparison.groups).items() if not count[model]]
    names = [legible(group_name(group, count[group.model] > 1), 34) for group in groups]
    return [
        (_percent(group)[0], name, comparison.looks[group.model].ink) for group, name in zip(groups, names, strict=True)
    ]


def _epochs(group: SeedGroup) -> int:
    return group.first.epochs


def _parameters(group: SeedGroup) -> int:
    return group.first.metrics.model.trainable_parameters


def _machine(groups: list[SeedGroup]) -> str:
    timings = [result.timing for group in groups for result in group.results]
    names, threads = {timing.name for timing in timings}, {timing.thread_count for timing in timings}
    if len(names) > 1:
        return "several machines"
    return f"{legible(names.pop(), 40)}, {threads.pop() if len(threads) == 1 else 'different numbers of threads'}"


def _count(value: float, _=None) -> str:
    for size, unit in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def _duration(seconds: float, _=None) -> str:
    for size, unit in _TIME_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _log_scale(
    axes: Axes, ticks: list[float], written: Callable[[float], str], fewer: list[float] | None = None
) -> None:
    """Make the x-axis logarithmic, widen it to at least two of `ticks` and show those within.

    Where they have no room, `fewer` in their place; of these, as many from the left as have room.
    """
    low, high = axes.dataLim.intervalx
    low, high = low / 1.35, high * 1.35
    below = [tick for tick in ticks if tick <= low]
    above = [tick for tick in ticks if tick >= high]
    if sum(low < tick < high for tick in ticks) < 2 and below and above:
        low, high = below[-1] / 1.05, above[0] * 1.05
    apart = math.exp(_TICK_INCHES * math.log(high / low) / (axes.figure.get_figwidth() * axes.get_position().width))
    within = [tick for tick in ticks if low <= tick <= high]
    shown = _with_room(within, apart)
    if fewer and shown != within:
        shown = _with_room([tick for tick in fewer if low <= tick <= high], apart)
    axes.set_xlim(low, high)
    axes.set_xscale("log")  # only now: a log axis refuses to find limits for a single value
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(written))
    axes.xaxis.set_minor_locator(NullLocator())


def _with_room(ticks: list[float], apart: float) -> list[float]:
    """Those of `ticks` that are at least the factor `apart` from the one shown before, from the left."""
    shown: list[float] = []
    for tick in ticks:
        if not shown or tick >= apart * shown[-1]:
            shown.append(tick)
    return shown


def _name_points(figure: Figure, axes: Axes, comparison: Comparison, cost: Callable[[SeedGroup], float]) -> None:
    """Write each model's name beside its best point, on the first side where it covers neither point nor name."""
    best = best_by_model(comparison.groups)
    if len(best) > _LABELLED_MODELS:
        _legend(figure, comparison)
        return
    figure.draw_without_rendering()  # places are known only after the layout
    taken = []
    for group in comparison.groups:
        _, low, high = _percent(group)
        corners = axes.transData.transform([(cost(group), low), (cost(group), high)])
        taken.append(Bbox(corners).padded(8))
    for model, group in best.items():
        name = axes.annotate(
            comparison.looks[model].label,
            (cost(group), _percent(group)[0]),
            textcoords="offset points",
            xytext=(0, 0),
            color=comparison.looks[model].ink,
        )
        name.set_in_layout(False)  # or it would move the points that it was placed by
        covered = []
        for side in _SIDES:
            _put(name, *side)
            box = name.get_window_extent()
            outside = 1 - _area(Bbox.intersection(box, axes.bbox)) / _area(box)
            covered.append(outside + sum(_area(Bbox.intersection(box, other)) for other in taken) / _area(box))
        _put(name, *_SIDES[covered.index(min(covered))])
        taken.append(name.get_window_extent())


# Offsets in points from a point to its name, and the alignments that go with them; the first is the usual place.
_SIDES = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (6, 7, "left", "bottom"),
    (6, -7, "left", "top"),
    (-6, 7, "right", "bottom"),
    (-6, -7, "right", "top"),
    (0, 14, "center", "bottom"),
    (0, -14, "center", "top"),
)


def _put(name: Annotation, x: float, y: float, horizontal: str, vertical: str) -> None:
    name.set_position((x, y))
    name.set_horizontalalignment(horizontal)
    name.set_verticalalignment(vertical)


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height


def _legend(figure: Figure, comparison: Comparison) -> None:
    handles = [
        Line2D([], [], color=look.color, marker=look.marker, linestyle=look.linestyle, label=look.label)
        for look in (comparison.looks[model] for model in comparison.coloured)
    ]
    others = len({group.model for group in comparison.groups}) - len(handles)
    if others:
        handles.append(Line2D([], [], marker=".", label=f"{others} others", **_FAINT))
    figure.set_figheight(figure.get_figheight() + 0.17 * math.ceil(len(handles) / 4))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, fontsize=7)
