"""How far a network's probabilities can be believed: Brier score, calibration error, reliability."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from deepnets.comparison.crossed import Floats
from deepnets.evaluation.metrics import Labels

BINS = 15
_DRAWS = 1000


def brier(probabilities: Floats, labels: Labels) -> float:
    """Return the Brier score: the mean over images of the squared distance to the true class, summed over classes.

    0 to 2 (Brier 1950, Monthly Weather Review 78). `probabilities`: (N, C); `labels`: (N,).
    """
    of_true = probabilities[np.arange(len(labels)), labels]
    return float((np.einsum("nc,nc->n", probabilities, probabilities) - 2 * of_true + 1).mean())


@dataclass(frozen=True)
class Reliability:
    """Bins of about equally many images by confidence (a reliability diagram); arrays are (bins,).

    Attributes:
        n: images in each bin.
        confidence, accuracy: their means in it, fractions.
        error: the standard error of accuracy minus confidence.
    """

    n: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    error: Floats


def reliability(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Group images into bins of equal mass; images of one confidence stay together, so there may be fewer bins.

    Args:
        confidence: the probability of the predicted class, (N,).
        right: whether the prediction is right, (N,).
        bins: how many, at most.
    """
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, confidence)
    n = np.bincount(place)
    place, n = (np.cumsum(n > 0) - 1)[place], n[n > 0]
    sure, accurate = (np.bincount(place, each) / n for each in (confidence, right))
    gaps = right - confidence
    squares = np.bincount(place, (gaps - (accurate - sure)[place]) ** 2)
    return Reliability(n, sure, accurate, np.sqrt(squares / np.maximum(n - 1, 1) / n))


def calibration_error(bins: Reliability) -> tuple[float, tuple[float, float]]:
    """Return the expected calibration error without the bias of small bins, and its 95 % interval; fractions.

    The plain estimate adds up |accuracy - confidence|, which noise makes too large, even for a calibrated network. The
    expected excess is subtracted, from normal noise in each bin (Kumar, Liang and Ma 2019, arXiv 1909.10155, appendix;
    Roelofs et al. 2022, arXiv 2012.08668, on bins of equal mass). The interval has the spread of this estimate over
    bootstrapped bins. It begins at 0 where a calibrated network would have gaps as large.
    """
    share, gap = bins.n / bins.n.sum(), np.abs(bins.accuracy - bins.confidence)

    def corrected(gaps: Floats) -> Floats:
        return (2 * gaps - _mean_absolute(gaps, bins.error)) @ share  # the excess is the mean less the gap

    noise = np.random.default_rng(0).normal(0, bins.error, (_DRAWS, len(gap)))
    value, errors = float(corrected(gap)), corrected(np.abs(gap + noise))
    low, high = value - np.quantile(errors - errors.mean(), [0.975, 0.025])
    if gap @ share <= np.quantile(np.abs(noise) @ share, 0.975):
        low = 0.0
    return max(0.0, value), (float(max(0.0, low)), float(min(1.0, max(0.0, high))))


def _mean_absolute(mean: Floats, deviation: Floats) -> Floats:
    """Return the mean of |x| of normal x (the folded normal distribution)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, mean / deviation, 0)
    density = np.sqrt(2 / np.pi) * np.exp(-z * z / 2)
    return np.where(deviation > 0, deviation * density + mean * (1 - 2 * ndtr(-z)), np.abs(mean))


def table(bins: Reliability) -> list[dict[str, Any]]:
    """Return a reliability diagram's bins as JSON: a row for each."""
    columns = {"n": bins.n, "confidence": bins.confidence, "accuracy": bins.accuracy}
    return [
        dict(zip(columns, row, strict=True)) for row in zip(*(each.tolist() for each in columns.values()), strict=True)
    ]
