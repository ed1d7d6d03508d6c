"""Confusion matrix of one experiment: which class is predicted as which."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from deepnets.evaluation.results import read_metrics
from deepnets.evaluation.schemas import Metrics
from deepnets.figures.names import short_names
from deepnets.figures.style import ModelStyle, applied, title

_COUNTED_CLASSES = 25  # above, counts in the cells are too small to read and only the colour is shown
_NAMED_CLASSES = 110  # above, the names of all classes are too small, and every n-th is written
_SQUARE = 0.8  # share of the figure's width and height for the matrix; the names take the rest
_DARK = 0.36  # share of the true class above which a cell is too dark for black text

read = read_metrics


def draw(metrics: Metrics, experiment: dict, _style: ModelStyle) -> Figure:
    """Draw the confusion matrix of the test split, with the test accuracy in the title.

    Args:
        experiment: its names, for the title.
    """
    test = metrics.test
    low, high = test.accuracy_ci95
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f}"
    of_fold = f" of {metrics.fold}" if metrics.fold else ""
    result = f"test accuracy {100 * test.accuracy:.2f} % ({interval}, {test.n:,} images{of_fold})"
    images = [row.n for row in test.per_class]
    return draw_matrix(test.confusion_matrix, images, metrics.classes, title(experiment, result))


@applied()
def draw_matrix(counts: list[list[int]], images: list[int], classes: list[str], title: str) -> Figure:
    """Draw a matrix of counts: the colour is the share of the true class, and empty cells are blank.

    Args:
        counts: C x C; `counts[i][j]` is the number of images of true class i predicted as class j.
        images: C numbers, of all images of each true class; a row's sum is smaller if some have no prediction.
        classes: C names, of any length and script.
    """
    matrix = np.asarray(counts)
    n_classes = len(classes)
    # A class without images has an empty row, not a division by zero.
    shares = matrix / np.maximum(images, 1)[:, np.newaxis]
    side = min(3.6 + 0.17 * n_classes, 9.5)

    figure = Figure(figsize=(side + 1.2, side + 0.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes = figure.subplots()
    axes.grid(False)
    # The square root makes a confusion of 1 % visible next to a diagonal of 99 %.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    if n_classes <= _COUNTED_CLASSES:
        size = min(9, 0.4 * _SQUARE * side * 72 / n_classes)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if shares[row, column] > _DARK else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=color)
    _name_classes(axes, classes, row_points=_SQUARE * side * 72 / n_classes)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")

    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1", "5", "10", "25", "50", "100"])
    bar.set_label("Share of the true class (%)")
    bar.outline.set_visible(False)
    return figure


def _name_classes(axes: Axes, classes: list[str], row_points: float) -> None:
    step = -(-len(classes) // _NAMED_CLASSES)
    indices = range(0, len(classes), step)
    names = short_names([classes[index] for index in indices], 20, [f"class {index}" for index in indices])
    size = min(8.5, 0.85 * row_points * step)
    # Short names (digits) stand upright under their column; longer ones would run into each other.
    upright = max(map(len, names)) <= 3 and len(classes) <= _COUNTED_CLASSES
    axes.set_xticks(indices, names, rotation=0 if upright else 90, fontsize=size)
    axes.set_yticks(indices, names, fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
