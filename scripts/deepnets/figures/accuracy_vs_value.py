"""Validation accuracy against the values of the options in which recipes differ."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from deepnets.comparison.aggregate import SeedGroup, best_by_model
from deepnets.comparison.sweeps import lines_over, options_of, swept
from deepnets.figures.comparison import PALE, Comparison, log_scale, place_legend, titled_figure
from deepnets.figures.names import short_names
from deepnets.figures.style import MUTED, TEXT_COLOR, Color, applied, end_labels, limit_percent

_PANELS, _COLUMNS = 6, 2  # of more options, the first ones are shown, as the title says
_LABELLED_LINES = 8  # more names have no room next to a panel: then only the line of the chosen recipe is in full
_LOG_FROM = 5  # the largest value divided by the smallest
_VALUES = 6  # up to this many have a tick each
_LABEL_CHARACTERS = 26
_TICK_INCHES = 0.35  # room for "0.05"
_DECADES: list[float] = [10.0**power for power in range(-9, 6)]
_ONE_TWO_FIVE = [digit * decade for decade in _DECADES for digit in (1, 2, 5)]
_GREY: dict[str, Any] = {"color": MUTED, "marker": "o", "linestyle": ""}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "none"}
_RING = {**_GREY, **_HOLLOW, "color": TEXT_COLOR, "markersize": 11}


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a panel per option: a point per recipe, and a line through those that differ in this option alone."""
    found = swept(comparison.groups)
    shown = dict([*found.items()][:_PANELS])
    columns = max(1, min(_COLUMNS, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    more = f", {len(shown)} of {len(found)} options" if len(shown) < len(found) else ""
    size = (5.8 if columns == 1 else 3.6 * columns, 0.6 + (3.4 if rows == 1 else 2.9 * rows))
    figure = titled_figure(comparison, f"Validation accuracy against recipe values{more}", size)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten().tolist()
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    if not shown:
        figure.text(0.5, 0.4, "no values differ", ha="center", color=MUTED)
        return figure
    pale = [_draw_panel(axes, comparison, *each) for axes, each in zip(panels, shown.items(), strict=False)]
    limit_percent(panels[0])
    panels[0].set_title(_resolution(comparison), fontsize=8, fontweight="normal", color=MUTED)
    _add_legend(figure, comparison, shown, any(pale))
    for axes, (option, runs) in zip(panels, shown.items(), strict=False):
        _scale(figure, axes, option, [options_of(group)[option] for group in runs])
        _name_lines(axes, comparison, option, _lines(option, runs))
    for axes in panels[::columns]:
        axes.set_ylabel("Validation accuracy (%)")
    return figure


def _resolution(comparison: Comparison) -> str:
    """Return how many validation images there are, and how much one of them is; "" where recipes have other numbers."""
    sizes = {result.metrics.validation.n for group in comparison.groups for result in group.results}
    if len(sizes) > 1:
        return ""
    [images] = sizes
    return f"{images:,} validation images: one image is {100 / images:.2g} points"


def _draw_panel(axes: Axes, comparison: Comparison, option: str, runs: Sequence[SeedGroup]) -> bool:
    """Draw the recipes of one option: those on lines that are named in full; return whether others are pale."""
    best = best_by_model(comparison.groups)
    in_full: set[int] = set()
    lines = _lines(option, runs)
    for line in lines:
        model = line[0].model
        is_full = len(lines) <= _LABELLED_LINES or best[model] in line
        in_full |= {id(group) for group in line if is_full}
        x, y, style = [options_of(group)[option] for group in line], list(map(_percent, line)), comparison.styles[model]
        color, alpha = _color(comparison, model), 1 if is_full else PALE
        axes.plot(x, y, color=color, alpha=alpha, linestyle=style.linestyle)
    for group in runs:
        x, seeds = options_of(group)[option], [100 * each.metrics.validation.accuracy for each in group.results]
        if group is best[group.model]:
            in_full.add(id(group))
        alpha = 1 if id(group) in in_full else PALE
        look: dict[str, Any] = {"color": _color(comparison, group.model), "alpha": alpha, "linestyle": ""}
        if len(seeds) > 1:
            axes.update_datalim([(x, seed) for seed in seeds])  # what is moved aside does not count
            for place, seed in enumerate(seeds):  # equal ones side by side
                aside = axes.transData + ScaledTranslation(
                    3 / 72 * seeds[:place].count(seed), 0, axes.figure.dpi_scale_trans
                )
                axes.plot([x], [seed], marker=".", markersize=3, transform=aside, **look)
        look |= _HOLLOW if group.stopped_early(comparison.stopped) else {}
        axes.plot([x], [_percent(group)], marker=comparison.styles[group.model].marker, **look)
        if group is best[group.model]:
            axes.plot([x], [_percent(group)], **_RING)
    return any(id(group) not in in_full for group in runs)


def _lines(option: str, runs: Sequence[SeedGroup]) -> list[list[SeedGroup]]:
    """Find the lines with at least half of a model's values; in a search, few trials agree by chance in all else."""
    values: dict[str, set[float]] = {}
    for group in runs:
        values.setdefault(group.model, set()).add(options_of(group)[option])
    return [line for line in lines_over(option, runs) if 2 * len(line) >= len(values[line[0].model])]


def _percent(group: SeedGroup) -> float:
    return 100 * group.validation_accuracy


def _color(comparison: Comparison, model: str) -> str:
    return comparison.styles[model].color if model in comparison.coloured else MUTED


def _scale(figure: Figure, axes: Axes, option: str, values: list[float]) -> None:
    """Scale the horizontal axis: by logarithms, if the values are spread so far, with a tick per value if they fit."""
    tried = sorted(set(values))
    is_log = tried[0] > 0 and tried[-1] / tried[0] >= _LOG_FROM
    axes.set_xlabel(f"{option} (log scale)" if is_log else option)
    if is_log:
        if len(tried) <= _VALUES:
            log_scale(figure, axes, tried, "{:g}".format, inches=_TICK_INCHES)
        else:
            log_scale(figure, axes, _ONE_TWO_FIVE, "{:g}".format, _DECADES, inches=_TICK_INCHES)
    elif len(tried) <= _VALUES:
        axes.set_xticks(tried, [f"{value:g}" for value in tried])


def _name_lines(axes: Axes, comparison: Comparison, option: str, lines: list[list[SeedGroup]]) -> None:
    """Name the lines of each model that has several by the values in which they differ."""
    if len(lines) > _LABELLED_LINES:
        return
    labels: list[tuple[float, str, Color]] = []
    for model in dict.fromkeys(line[0].model for line in lines):
        ends = [line[-1] for line in lines if line[0].model == model]
        options = [options_of(group) for group in ends]
        known = dict.fromkeys(name for each in options for name in each if name != option)
        names = [name for name in known if len({str(each.get(name)) for each in options}) > 1]
        whole = [", ".join(f"{name} {each[name]}" for name in names if name in each) for each in options]
        texts = short_names(whole, _LABEL_CHARACTERS)  # of one model alone: another has another colour
        color = comparison.styles[model].text_color
        labels += [(_percent(end), text, color) for end, text in zip(ends, texts, strict=True) if len(ends) > 1]
    end_labels(axes, labels)


def _add_legend(
    figure: Figure, comparison: Comparison, shown: Mapping[str, Sequence[SeedGroup]], has_pale: bool
) -> None:
    """Name the models below the panels, and say what rings and hollow and pale markers are."""
    models = dict.fromkeys(group.model for runs in shown.values() for group in runs)
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle=style.linestyle, label=style.label)
        for style in (comparison.styles[model] for model in models if model in comparison.coloured)
    ]
    if len(handles) < len(models):
        handles.append(Line2D([], [], label=f"{len(models) - len(handles)} others", **_GREY))
    handles.append(Line2D([], [], label="ring: chosen on validation", **_RING))
    if any(group.stopped_early(comparison.stopped) for runs in shown.values() for group in runs):
        handles.append(Line2D([], [], label="hollow: stopped early", **_HOLLOW, **_GREY))
    if has_pale:
        handles.append(Line2D([], [], label="pale: other options differ, too", alpha=PALE, **_GREY))
    place_legend(figure, handles)
