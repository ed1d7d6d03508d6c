"""Validation accuracy of each network at the same training time."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    log_scale,
    machine,
    time_tick,
    titled_figure,
)
from deepnets.figures.names import short_names
from deepnets.figures.style import MUTED, Color, ModelStyle, applied, end_labels, limit_percent, recipe_styles
from deepnets.utils.durations import format_duration


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a line per training run of the recipe that stands for each model; at a dashed line they are compared.

    Of a single model, the recipes that are best on validation. The numbers after the names are the accuracies at the
    line, means over the seeds. A dotted line leads there from a run that has ended. If each run was validated only
    once, there is no such line: a point of one run says nothing of another one at its time.
    """
    shown, time = _shown(comparison), training_time(comparison.groups)
    moment = _moment([_seconds(result, time) for group, _ in shown for result in group.results])
    figure = titled_figure(comparison, "Validation accuracy at equal training time", (6.6, 3.8))
    axes = figure.subplots()
    few, of_one = len(shown) <= LABELLED_MODELS, len({group.model for group in comparison.groups}) == 1
    total = len(comparison.groups)
    more = f"\nthe best {len(shown)} of {total} recipes on validation" if of_one and len(shown) < total else ""
    numbers = "numbers: at the dashed line," if few else "dashed line:"
    caption = f"{numbers} {moment}" if moment else "each run was validated only once, at its end"
    axes.set_title(f"{caption}{more}", fontsize=8, fontweight="normal", color=MUTED)
    axes.set_ylabel("Validation accuracy (%)")
    of_steps, where = "of training steps (log scale),", machine(comparison.groups)
    axes.set_xlabel(f"CPU time {of_steps}\n{where}" if time.is_cpu else f"Time {of_steps} {where}")
    for group, style in shown:
        for result in group.results:
            seconds, percent = _seconds(result, time), _percent(result)
            if group.model not in comparison.coloured:
                axes.plot(seconds, percent, **FAINT)
                continue
            axes.plot(seconds, percent, color=style.color, linestyle=style.linestyle, marker=style.marker, markersize=4)
            if moment and seconds[-1] < moment.seconds:
                kept = [seconds[-1], moment.seconds], [percent[-1]] * 2
                axes.plot(*kept, color=style.color, linestyle=":", linewidth=0.8, marker="")
    if moment:
        axes.axvline(moment.seconds, color=MUTED, linestyle="--", linewidth=0.8)
    limit_percent(axes)
    log_scale(figure, axes, SECOND_TICKS, time_tick)
    if few:
        end_labels(axes, _labels(shown, moment, time, with_recipe=of_one and total > 1))
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


@dataclass(frozen=True)
class _Moment:
    """A time at which runs are compared, in seconds, and which one it is in words."""

    seconds: float
    which: str

    def __str__(self) -> str:
        return f"{format_duration(self.seconds)}, {self.which}"


def _moment(runs: Sequence[NDArray[np.float64]]) -> _Moment | None:
    """Return the time at which runs are compared; None if each was validated only once.

    It is where the shortest run ends: up to there, all are trained for as long. Where a run is first validated later
    than that, it is where all have a value; those that have ended keep their last one.

    Args:
        runs: the time at the end of each epoch, (epochs,), for each run.
    """
    if all(len(run) == 1 for run in runs):
        return None
    first_end, all_have_values = min(float(run[-1]) for run in runs), max(float(run[0]) for run in runs)
    if all_have_values > first_end:
        return _Moment(all_have_values, "where every run has been validated")
    return _Moment(first_end, "where the shortest run ends")


def accuracy_at(group: SeedGroup, seconds: float, time: TrainingTime) -> float:
    """Return the validation accuracy in percent after `seconds`, the mean over the seeds.

    Between two epochs it is on the line that joins them, which is straight on the log scale of the figure. After the
    last epoch it is the accuracy of that one; each run must have been validated by then.
    """
    at = [np.interp(np.log(seconds), np.log(_seconds(each, time)), _percent(each)) for each in group.results]
    return float(np.mean(at))


def _labels(
    shown: list[tuple[SeedGroup, ModelStyle]], moment: _Moment | None, time: TrainingTime, with_recipe: bool
) -> list[tuple[float, str, Color]]:
    """Return height, text and colour for the end of each line; without a moment, the text has the last accuracy."""
    labels = []
    names = short_names([group_name(group, with_recipe) for group, _ in shown], 34 if with_recipe else 24)
    for name, (group, style) in zip(names, shown, strict=True):
        end = float(np.mean([_percent(result)[-1] for result in group.results]))
        value = accuracy_at(group, moment.seconds, time) if moment else end
        labels.append((end, f"{name}  {value:.1f}", style.text_color))
    return labels


def _seconds(result: Result, time: TrainingTime) -> NDArray[np.float64]:
    """Return the time of the steps up to the end of each epoch, (epochs,): wall time, or its share of CPU time."""
    assert result.history is not None
    return time.of_run(result) / result.timing.wall_seconds * np.cumsum(result.history["seconds"])


def _percent(result: Result) -> NDArray[np.float64]:
    assert result.history is not None
    return 100 * np.asarray(result.history["val_accuracy"])
