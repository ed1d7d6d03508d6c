"""From logits to numbers. `accuracy`, `*_macro`: fractions, higher is better; `loss`, `ece`: lower is better."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

ECE_BINS = 15
UNDER_TRAINED_BELOW = 0.75  # accuracy on the training images themselves


def basic_metrics(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict:
    """Size, loss and accuracy of one part.

    Args:
        logits: (N, C). labels: (N,), each in 0..C-1.

    Returns:
        `n`; `loss`, the mean cross-entropy in nats; `accuracy`, a fraction.

    Raises:
        ValueError: the shapes disagree, or the part is empty.
    """
    if len(logits) != len(labels) or not len(labels):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels")
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return {
        "n": len(labels),
        "loss": float(log_loss(labels, probabilities, labels=np.arange(logits.shape[1]))),
        "accuracy": float(accuracy_score(labels, logits.argmax(1))),
    }


def detailed_metrics(logits: NDArray[np.float32], labels: NDArray[np.int64], classes: list[str]) -> dict:
    """`basic_metrics`, and what the report shows of the test part.

    Returns:
        Also `precision_macro`, `recall_macro`, `f1_macro` (unweighted means over the classes, 0 for a class that was
        never predicted); `accuracy_ci95`, Wilson's interval; `ece`; `per_class`; and `confusion_matrix`, whose row i
        and column j count the images of class i that were taken for class j.
    """
    predicted, numbers = logits.argmax(1), np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=numbers, average=None, zero_division=0.0
    )
    correct = int((predicted == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    return basic_metrics(logits, labels) | {
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        "accuracy_ci95": [float(interval.low), float(interval.high)],
        "ece": expected_calibration_error(logits, labels),
        "per_class": [
            {"class": name, "n": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
            for name, n, p, r, f in zip(classes, support, precision, recall, f1, strict=True)
        ],
        "confusion_matrix": confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }


def expected_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by their sizes: 0 to 1.

    Guo et al. 2017, 'On Calibration of Modern Neural Networks', arXiv 1706.04599, equation 3.
    """
    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right, ECE_BINS) - np.bincount(bins, confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def warnings(train: dict, validation: dict, validation_labels: NDArray[np.int64], epochs: int) -> list[str]:
    """What a reader must know before believing the figures: sentences, with advice; none for a healthy training."""
    accuracy, images = validation["accuracy"], validation["n"]
    correct, commonest = round(accuracy * images), int(np.bincount(validation_labels).max())
    majority = commonest / len(validation_labels)
    above_chance = binomtest(correct, images, majority, alternative="greater").pvalue < 0.01
    # Not to be shown above chance is no proof of being at chance: that takes images enough to rule out a real gain.
    gain = majority + (1 - majority) / 4
    far_from_gain = binomtest(correct, images, gain, alternative="less").pvalue < 0.01
    if correct < images and not above_chance and (correct <= commonest or far_from_gain):
        return [
            f"did not learn: {accuracy:.1%} on validation is not clearly above always naming the commonest class"
            f" ({majority:.1%}); try a tenth of the lr, a longer warmup, or more epochs than {epochs}"
        ]
    found = []
    if train["accuracy"] < UNDER_TRAINED_BELOW:
        found.append(
            f"under-trained: {train['accuracy']:.1%} on its own training images after {epochs} epochs; "
            f"the curve has room above it, try {2 * epochs} epochs or more"
        )
    if not above_chance:
        found.append(
            f"too few images to tell: {accuracy:.1%} on {images} validation images may be luck, as always naming the"
            f" commonest class gets {majority:.1%}; add images, or raise the recipe's validation_fraction"
        )
    return found
