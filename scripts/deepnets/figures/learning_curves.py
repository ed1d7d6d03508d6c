"""Learning curves of one experiment: accuracy, loss and learning rate by epoch."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from deepnets.evaluation.results import History
from deepnets.figures.style import MUTED, Look, applied, end_labels, limit_percent

_MARKED_EPOCHS = 20  # up to so many epochs each one is marked: the curve of a single epoch is else invisible
_LOG_RATIO = 30  # a loss that falls further than this is drawn on a log scale, or its tail is a flat line


@applied()
def learning_curves(history: History, look: Look, title: str) -> Figure:
    """Draw training (grey, dashed) against validation (the model's colour), the last values written out.

    Args:
        history: the columns of history.csv; accuracies as fractions.
    """
    figure = Figure(figsize=(5.4, 5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    accuracy, loss, lr = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))

    percent = {part: [100 * value for value in history[f"{part}_accuracy"]] for part in ("train", "val")}
    accuracy.set_ylabel("Accuracy (%)")
    _draw(accuracy, percent["train"], percent["val"], look)
    limit_percent(accuracy)
    _write_last(accuracy, percent["train"][-1], percent["val"][-1], look, "{:.2f} %")

    loss.set_ylabel("Cross-entropy loss")
    _draw(loss, history["train_loss"], history["val_loss"], look)
    _log_scale_if_steep(loss, history["train_loss"] + history["val_loss"])
    _write_last(loss, history["train_loss"][-1], history["val_loss"][-1], look, "{:.4g}")

    lr.set_ylabel("Learning\nrate")
    lr.plot(history["epoch"], history["lr"], color=MUTED, linewidth=1.2, marker="." if _few(history["lr"]) else None)
    lr.set_ylim(bottom=0)
    lr.set_xlabel("Epoch")
    lr.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels()
    return figure


def _few(values: list[float]) -> bool:
    return len(values) <= _MARKED_EPOCHS


def _draw(axes: Axes, train: list[float], validation: list[float], look: Look) -> None:
    epochs = range(1, len(train) + 1)
    marker = look.marker if _few(train) else None
    axes.plot(epochs, train, color=MUTED, dashes=(4, 2), linewidth=1.4, marker=marker, markersize=3, label="training")
    axes.plot(epochs, validation, color=look.color, marker=marker, label="validation")


def _log_scale_if_steep(axes: Axes, values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > _LOG_RATIO * min(finite):
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()}\n(log scale)")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _write_last(axes: Axes, train: float, validation: float, look: Look, number: str) -> None:
    def written(value: float) -> str:
        return number.format(value) if math.isfinite(value) else "not finite"

    names = [(train, "training", MUTED), (validation, "validation", look.ink)]
    end_labels(axes, [(value, f"{name}\n{written(value)}", color) for value, name, color in names], gap=0.24)
