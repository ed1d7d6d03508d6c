"""Learning curves of one experiment: accuracy, loss and learning rate by epoch."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from deepnets.config.recipe import Recipe
from deepnets.config.schedule import learning_rate
from deepnets.evaluation.history import History, read_history
from deepnets.figures.style import MUTED, ModelStyle, applied, end_labels, limit_percent, title

_MARKED_EPOCHS = 20  # up to this many epochs each one is marked: a single epoch has no line
_WHOLE_EPOCHS = 2  # of fewer epochs, ticks are fractions: a single whole number gives no scale
_STEPS = 1000  # of the learning rate's line: a warm-up within the first epoch shows
_LOG_RATIO = 30  # a loss that falls by a larger factor is drawn on a log scale, or its tail is a flat line

read = read_history


@applied()
def draw(history: History, experiment: dict, style: ModelStyle) -> Figure:
    """Draw training (grey, dashed) against validation (the model's colour), and write the last values.

    Args:
        history: the columns of history.csv; accuracies as fractions.
        experiment: its names, for the title, and `options`: those of its recipe, which give the learning rate of each
            step; without them there is a point per epoch.
    """
    figure = Figure(figsize=(5.4, 5), layout="constrained")
    figure.suptitle(title(experiment), x=0.01, ha="left", fontsize=10, fontweight="bold")
    accuracy, loss, lr = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))

    percent = {split: [100 * value for value in history[f"{split}_accuracy"]] for split in ("train", "val")}
    accuracy.set_ylabel("Accuracy (%)")
    _draw(accuracy, history["epoch"], percent["train"], percent["val"], style)
    limit_percent(accuracy)
    _write_last(accuracy, percent["train"][-1], percent["val"][-1], style, "{:.2f} %")

    loss.set_ylabel("Cross-entropy loss")
    _draw(loss, history["epoch"], history["train_loss"], history["val_loss"], style)
    _log_scale_if_steep(loss, history["train_loss"] + history["val_loss"])
    _write_last(loss, history["train_loss"][-1], history["val_loss"][-1], style, "{:.4g}")

    lr.set_ylabel("Learning\nrate")
    lr.plot(*_learning_rates(history, experiment.get("options")), color=MUTED, linewidth=1.2)
    lr.set_ylim(bottom=0)
    lr.set_xlabel("Epoch")
    is_long = history["epoch"][-1] >= _WHOLE_EPOCHS
    lr.xaxis.set_major_locator(
        MaxNLocator(integer=True, min_n_ticks=1) if is_long else MaxNLocator(6, steps=[1, 2, 5, 10])
    )
    figure.align_ylabels()
    return figure


def _learning_rates(history: History, options: dict[str, Any] | None) -> tuple[list[float], list[float]]:
    """Return epochs, and the learning rate at each."""
    if options is None:
        return history["epoch"], history["lr"]
    recipe, last = Recipe(**options), history["epoch"][-1]
    steps = range(_STEPS + 1)
    return [last * step / _STEPS for step in steps], [learning_rate(step, _STEPS, recipe) for step in steps]


def _few(values: list[float]) -> bool:
    return len(values) <= _MARKED_EPOCHS


def _draw(axes: Axes, epochs: list[float], train: list[float], validation: list[float], style: ModelStyle) -> None:
    marker = style.marker if _few(train) else None
    axes.plot(epochs, train, color=MUTED, dashes=(4, 2), linewidth=1.4, marker=marker, markersize=3, label="training")
    axes.plot(epochs, validation, color=style.color, marker=marker, label="validation")


def _log_scale_if_steep(axes: Axes, values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > _LOG_RATIO * min(finite):
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()}\n(log scale)")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _write_last(axes: Axes, train: float, validation: float, style: ModelStyle, number: str) -> None:
    def written(value: float) -> str:
        return number.format(value) if math.isfinite(value) else "not finite"

    names = [(train, "training", MUTED), (validation, "validation", style.text_color)]
    end_labels(axes, [(value, f"{name}\n{written(value)}", color) for value, name, color in names], gap=0.24)
