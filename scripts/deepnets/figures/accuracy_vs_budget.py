"""Test accuracy against the budget, in epochs and in time."""

from collections import Counter

from matplotlib.figure import Figure

from deepnets.comparison.aggregate import SeedGroup, best_by_model
from deepnets.comparison.sweeps import budget_lines
from deepnets.comparison.training_time import training_time
from deepnets.figures.comparison import (
    FAINT,
    LABELLED_MODELS,
    SECOND_TICKS,
    Comparison,
    add_legend,
    draw_points,
    group_names,
    log_scale,
    new_figure,
    pale_note,
    percent,
    time_label,
    time_tick,
)
from deepnets.figures.style import Color, applied, end_labels

FULL_POINTS = 40  # of more points, only the recipe that validation chose is not small, even of those on lines


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a point per group, pale unless validation chose it; a line joins groups that differ in their budget only.

    Each point is a training run with its own schedule, not a moment of a longer one.
    """
    title, note = "Test accuracy against budget", pale_note(comparison)
    figure, (by_epochs, by_time) = new_figure(comparison, title, (8.6, 3.8), columns=2, note=note)
    by_epochs.set_xlabel("Epochs (log scale)")
    by_time.set_xlabel(time_label(comparison))
    lines, groups = budget_lines(comparison.groups), comparison.groups
    on_lines = [group for line in lines for group in line] if len(groups) <= FULL_POINTS else []
    chosen = best_by_model(groups).values()
    for axes, cost in ((by_epochs, _epochs), (by_time, training_time(groups).of)):
        draw_points(axes, comparison, cost, chosen, on_lines)
        for line in lines:
            x, y = [cost(group) for group in line], [percent(group)[0] for group in line]
            style = comparison.styles[line[0].model]
            if line[0].model in comparison.coloured:
                axes.plot(x, y, color=style.color, linestyle=style.linestyle)
            else:
                axes.plot(x, y, **FAINT)
    log_scale(figure, by_epochs, sorted({_epochs(group) for group in comparison.groups}), "{:g}".format)
    log_scale(figure, by_time, SECOND_TICKS, time_tick)
    ends = _ends(lines, comparison)
    if len(ends) <= LABELLED_MODELS:
        end_labels(by_time, ends)
    else:
        add_legend(figure, comparison)
    return figure


def _ends(lines: list[list[SeedGroup]], comparison: Comparison) -> list[tuple[float, str, Color]]:
    """Height, name and colour for the end of each line, and for the best point of each model without a line.

    Of several lines of one model, each is named with the recipe of its end.
    """
    count = Counter(line[0].model for line in lines)
    groups = [line[-1] for line in lines]
    groups += [group for model, group in best_by_model(comparison.groups).items() if not count[model]]
    names = group_names(comparison, groups, [model for model, lines_of in count.items() if lines_of > 1])
    return [
        (percent(group)[0], name, comparison.styles[group.model].text_color)
        for group, name in zip(groups, names, strict=True)
    ]


def _epochs(group: SeedGroup) -> float:
    return group.first.epochs
