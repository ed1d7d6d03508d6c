"""Validation accuracy of each network at the same training time."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation, group_name
from deepnets.comparison.training_time import TrainingTime, training_time
from deepnets.evaluation.results import Result
from deepnets.figures.comparison import (
    FAINT,
    LABELLED_MODELS,
    SECOND_TICKS,
    Comparison,
    add_legend,
    duration,
    log_scale,
    machine,
    titled_figure,
)
from deepnets.figures.names import short_names
from deepnets.figures.style import MUTED, Color, ModelStyle, applied, end_labels, limit_percent, recipe_styles


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a line per training run of the recipe that stands for each model; the shortest run ends at a dashed line.

    Of a single model, the recipes that are best on validation. The numbers after the names are the accuracies at the
    line, means over the seeds.
    """
    shown, time = _shown(comparison), training_time(comparison.groups)
    shortest = min(float(_seconds(result, time)[-1]) for group, _ in shown for result in group.results)
    figure = titled_figure(comparison, "Validation accuracy at equal training time", (6.6, 3.8))
    axes = figure.subplots()
    few, of_one = len(shown) <= LABELLED_MODELS, len({group.model for group in comparison.groups}) == 1
    caption = "numbers: at the dashed line" if few else "dashed line: where the shortest run ends"
    total = len(comparison.groups)
    more = f"; the best {len(shown)} of {total} recipes on validation" if of_one and len(shown) < total else ""
    axes.set_title(f"{caption}, {duration(shortest)}{more}", fontsize=8, fontweight="normal", color=MUTED)
    axes.set_ylabel("Validation accuracy (%)")
    of_epochs, where = "of the epochs so far (log scale),", machine(comparison.groups)
    axes.set_xlabel(f"CPU time {of_epochs}\n{where}" if time.is_cpu else f"Time {of_epochs} {where}")
    for group, style in shown:
        for result in group.results:
            if group.model in comparison.coloured:
                axes.plot(
                    _seconds(result, time), _percent(result), color=style.color, linestyle=style.linestyle, marker="."
                )
            else:
                axes.plot(_seconds(result, time), _percent(result), **FAINT)
    axes.axvline(shortest, color=MUTED, linestyle="--", linewidth=0.8)
    limit_percent(axes)
    log_scale(figure, axes, SECOND_TICKS, duration)
    if few:
        end_labels(axes, _labels(shown, shortest, time, with_recipe=of_one and total > 1))
    else:
        add_legend(figure, comparison)
    return figure


def _shown(comparison: Comparison) -> list[tuple[SeedGroup, ModelStyle]]:
    """Return what is drawn, each with its style: each model's chosen recipe, or a single one's best recipes."""
    chosen = best_by_model(comparison.groups)
    if len(chosen) > 1:
        return [(group, comparison.styles[model]) for model, group in chosen.items()]
    recipes = by_validation(comparison.groups)[:LABELLED_MODELS]
    return list(zip(recipes, recipe_styles(comparison.styles[recipes[0].model], len(recipes)), strict=True))


def accuracy_at(group: SeedGroup, seconds: float, time: TrainingTime) -> float | None:
    """Return the validation accuracy in percent after `seconds`, the mean over the seeds.

    Between two epochs it is on the line that joins them. None: a run has not ended its first epoch by then.
    """
    if any(_seconds(result, time)[0] > seconds for result in group.results):
        return None
    return float(np.mean([np.interp(seconds, _seconds(result, time), _percent(result)) for result in group.results]))


def _labels(
    shown: list[tuple[SeedGroup, ModelStyle]], shortest: float, time: TrainingTime, with_recipe: bool
) -> list[tuple[float, str, Color]]:
    """Return height, text and colour for the end of each line."""
    labels = []
    names = short_names([group_name(group, with_recipe) for group, _ in shown], 34 if with_recipe else 24)
    for name, (group, style) in zip(names, shown, strict=True):
        value = accuracy_at(group, shortest, time)
        end = float(np.mean([_percent(result)[-1] for result in group.results]))
        reached = "no epoch yet" if value is None else f"{value:.1f}"
        labels.append((end, f"{name}  {reached}", style.text_color))
    return labels


def _seconds(result: Result, time: TrainingTime) -> NDArray[np.float64]:
    """Return the time at the end of each epoch, (epochs,): wall time, or its share of the run's CPU time."""
    assert result.history is not None
    return time.of_run(result) / result.timing.wall_seconds * np.cumsum(result.history["seconds"])


def _percent(result: Result) -> NDArray[np.float64]:
    assert result.history is not None
    return 100 * np.asarray(result.history["val_accuracy"])
