"""Every metric is declared here once, in `METRICS`; metrics.json, the report's table and metrics.csv follow it.

To add a metric, write its function of logits and labels and add an entry to `METRICS`.

Logits that are not finite: an image with a NaN or +inf, or with -inf for every class, has no prediction
(`predicted_classes`). It counts as wrong. The loss follows IEEE arithmetic, and is null in metrics.json if it is NaN or
infinite.

scipy.special is imported where it computes, as figures read the declarations alone; scikit-learn and scipy.stats are
not, as each takes a second to load.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15
IMBALANCE = 2  # as often as the smallest class
NO_PREDICTION = -1

Logits = NDArray[np.floating[Any]]  # (N, C)
Labels = NDArray[np.int64]  # (N,), each in 0..C-1
Counts = NDArray[np.int64] | NDArray[np.float64]  # (C,), of images
SplitName = Literal["train", "validation", "test"]
ALL_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Metric:
    """One number about a trained network on one split of the data.

    Attributes:
        name: key in metrics.json; the column of metrics.csv is `{split}_{name}`.
        title: header in the report's table; the split's name precedes it where the table shows several splits.
        compute: the value from logits and labels.
        direction: whether a higher or a lower value is better.
        unit: "fraction" (0 to 1, for readers in percent) or "nats" (a loss, which is null in metrics.json if it is not
            finite).
        splits: the splits it is computed for.
        columns: the splits that have a column in the report's table, from left to right.
        format: how the table prints the value, or its percentage. `published_format` and `difference_format` are for a
            published value and for the difference from it; the default is `format`.
        only_imbalanced: whether it has a column only where classes are imbalanced, see `is_imbalanced`.
        interval: the 95 % interval of the value on the test split, `{name}_ci95` in metrics.json.
    """

    name: str
    title: str
    compute: Callable[[Logits, Labels], float]
    direction: Literal["higher", "lower"] = "higher"
    unit: Literal["fraction", "nats"] = "fraction"
    splits: tuple[SplitName, ...] = ("test",)
    columns: tuple[SplitName, ...] = ("test",)
    format: str = ".2f"
    published_format: str | None = None
    difference_format: str | None = None
    only_imbalanced: bool = False
    interval: Callable[[Logits, Labels], list[float]] | None = None

    @property
    def scale(self) -> int:
        """What readers see the value multiplied by: 100 for percent."""
        return 100 if self.unit == "fraction" else 1

    @property
    def interval_name(self) -> str:
        """Key of the interval in metrics.json."""
        return f"{self.name}_ci95"

    def column_title(self, split: SplitName) -> str:
        """Header of the metric's column for `split` in the report's table."""
        return f"{split.capitalize()} {self.title}" if len(self.columns) > 1 else self.title


def predicted_classes(logits: Logits) -> Labels:
    """The class with the highest logit of each image, int64 (N,); NO_PREDICTION where softmax is not defined."""
    defined = (logits < np.inf).all(1) & (logits > -np.inf).any(1)  # both are False for NaN
    return np.where(defined, logits.argmax(1), NO_PREDICTION)


def losses(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Cross-entropy of each image in nats, (N,), without clipping: 60 for logits (60, 0) and the second class.

    It is inf if the true class has the logit -inf, and inf or NaN if the image has no prediction.
    """
    from scipy.special import log_softmax

    with np.errstate(invalid="ignore", divide="ignore"):
        return -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def average(first: Logits, second: Logits) -> Logits:
    """Logits whose softmax is the mean of the softmax of two predictions of the same images, float64 (N, C)."""
    from scipy.special import log_softmax

    with np.errstate(invalid="ignore", divide="ignore"):
        of_first, of_second = (log_softmax(logits.astype(np.float64), axis=1) for logits in (first, second))
        return np.logaddexp(of_first, of_second) - math.log(2)


def loss(logits: Logits, labels: Labels) -> float:
    """Mean cross-entropy in nats."""
    return float(losses(logits, labels).mean())


def accuracy(logits: Logits, labels: Labels) -> float:
    """Fraction of images whose highest logit is that of the true class."""
    return float((predicted_classes(logits) == labels).mean())


def wilson_interval(logits: Logits, labels: Labels) -> list[float]:
    """Wilson's 95 % interval of the accuracy, [low, high].

    Newcombe 1998, 'Two-sided confidence intervals for the single proportion', method 3; digit by digit that of
    scipy.stats.binomtest.
    """
    from scipy.special import ndtri

    n, correct = len(labels), int((predicted_classes(logits) == labels).sum())
    share, z = correct / n, float(ndtri(0.975))
    denominator = 2 * (n + z**2)
    center = (2 * n * share + z**2) / denominator
    half_width = z / denominator * math.sqrt(4 * n * share * (1 - share) + z**2)
    return [center - half_width if correct else 0.0, center + half_width if correct < n else 1.0]


def precision_macro(logits: Logits, labels: Labels) -> float:
    """Unweighted mean of the classes' precisions; a class that is never predicted has 0."""
    return float(_scores_by_class(logits, labels)[0].mean())


def recall_macro(logits: Logits, labels: Labels) -> float:
    """Unweighted mean of the classes' recalls; a class without images has 0."""
    return float(_scores_by_class(logits, labels)[1].mean())


def f1_macro(logits: Logits, labels: Labels) -> float:
    """Unweighted mean of the classes' F1 scores."""
    return float(_scores_by_class(logits, labels)[2].mean())


def balanced_accuracy(logits: Logits, labels: Labels) -> float:
    """Unweighted mean of the accuracies of the classes that have images; of one class, they are its recall."""
    recall, images = (_scores_by_class(logits, labels)[index] for index in (1, 3))
    return float(recall[images > 0].mean())


def is_imbalanced(counts: Sequence[int]) -> bool:
    """Whether the largest class has at least twice as many images as the smallest.

    Below that, accuracy and balanced accuracy tell much the same.
    """
    return max(counts) >= IMBALANCE * min(counts)


def expected_calibration_error(logits: Logits, labels: Labels) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by their sizes: 0 to 1.

    Guo et al. 2017, 'On Calibration of Modern Neural Networks', arXiv 1706.04599, equation 3. An image without a
    prediction is wrong with confidence 0.
    """
    from scipy.special import softmax

    predicted = predicted_classes(logits)
    probabilities = np.zeros(logits.shape)
    probabilities[predicted != NO_PREDICTION] = softmax(logits[predicted != NO_PREDICTION].astype(np.float64), axis=1)
    confidence, right = probabilities.max(1), predicted == labels
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right, ECE_BINS) - np.bincount(bins, confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


# In the order of metrics.json, of metrics.csv and of the report's table.
METRICS: tuple[Metric, ...] = (
    Metric(
        "loss",
        "loss",
        loss,
        direction="lower",
        unit="nats",
        splits=ALL_SPLITS,
        columns=("train", "test"),
        format=".4g",
        difference_format=".4f",
    ),
    Metric(
        "accuracy",
        "acc. (%)",
        accuracy,
        splits=ALL_SPLITS,
        columns=ALL_SPLITS,
        interval=wilson_interval,
    ),
    Metric(
        "balanced_accuracy",
        "Balanced acc. (%)",
        balanced_accuracy,
        splits=("validation", "test"),
        only_imbalanced=True,
    ),
    Metric("precision_macro", "Precision (%)", precision_macro, published_format=".0f", difference_format=".0f"),
    Metric("recall_macro", "Recall (%)", recall_macro, published_format=".0f", difference_format=".0f"),
    Metric("f1_macro", "F1 (%)", f1_macro, columns=()),
    Metric("ece", "Calibration error (%)", expected_calibration_error, direction="lower", columns=()),
)


def of_split(split: SplitName) -> list[Metric]:
    """The metrics that are computed for a split."""
    return [metric for metric in METRICS if split in metric.splits]


def basic_metrics(logits: Logits, labels: Labels, split: SplitName) -> dict[str, Any]:
    """Compute every metric of one split.

    Args:
        logits: (N, C). labels: (N,), each in 0..C-1.
        split: which metrics to compute.

    Returns:
        `n`, the number of images, and each metric by its name; None for one that is not finite.

    Raises:
        ValueError: the shapes disagree, or the split is empty.
    """
    if len(logits) != len(labels) or not len(labels):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels")
    values = {metric.name: metric.compute(logits, labels) for metric in of_split(split)}
    return {"n": len(labels)} | {name: value if math.isfinite(value) else None for name, value in values.items()}


def metrics_of_test(logits: Logits, labels: Labels) -> dict[str, Any]:
    """Compute every metric of the test split: `basic_metrics`, and the interval of each metric that has one."""
    intervals = {
        metric.interval_name: metric.interval(logits, labels) for metric in of_split("test") if metric.interval
    }
    return basic_metrics(logits, labels, "test") | intervals


def detailed_metrics(logits: Logits, labels: Labels, classes: list[str]) -> dict[str, Any]:
    """Compute every metric of the test split, with intervals and with what has a row for each class.

    Returns:
        `metrics_of_test`; `per_class`, a row for each class (a score without a denominator is 0); and
        `confusion_matrix`, whose row i and column j count the images of class i that were predicted as class j (an
        image without a prediction is in no column).
    """
    rows = zip(classes, *_scores_by_class(logits, labels), strict=True)
    return metrics_of_test(logits, labels) | {
        "per_class": [
            {"class": name, "n": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
            for name, p, r, f, n in rows
        ],
        "confusion_matrix": _confusion_matrix(logits, labels).tolist(),
    }


def _scores_by_class(logits: Logits, labels: Labels) -> tuple[NDArray[Any], ...]:
    """Precision, recall, F1 and number of images of each class; a score without a denominator is 0."""
    matrix = _confusion_matrix(logits, labels)
    right, predicted, images = matrix.diagonal(), matrix.sum(0), np.bincount(labels, minlength=len(matrix))
    return *scores_of_counts(right, predicted, images), images


def scores_of_counts(right: Counts, predicted: Counts, images: Counts) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1 of each class, (C,) each; a score without a denominator is 0.

    Args:
        right: images of each class that were predicted as it, (C,). predicted: images that were predicted as it.
        images: images of it.
    """
    return _ratio(right, predicted), _ratio(right, images), _ratio(2 * right, predicted + images)


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _confusion_matrix(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Number of images by class (row) and predicted class (column), (C, C)."""
    classes, predicted = logits.shape[1], predicted_classes(logits)
    pairs = (classes * labels + predicted)[predicted != NO_PREDICTION]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
