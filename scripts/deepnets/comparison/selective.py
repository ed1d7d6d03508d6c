"""When to trust a single answer: risk at a coverage, and conformal prediction sets."""

import math

import numpy as np
from numpy.typing import NDArray

from deepnets.comparison.crossed import Floats
from deepnets.evaluation.metrics import Labels

COVERAGES = (0.5, 0.8, 0.9, 0.95, 1.0)  # shares of the images that are answered, the most confident ones
_POINTS = 40
MISSES = 0.05  # the share of images whose true class a conformal set may miss


def risk_coverage(confidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """Return the share of errors among the k most confident images for k = 1..N, (N,).

    Geifman and El-Yaniv 2017 (arXiv 1705.08500). Images of one confidence have no order: each counts as their mean.

    Args:
        confidence: the probability of the predicted class, (N,).
        right: whether the prediction is right, (N,).
    """
    _, place, n = np.unique(-confidence, return_inverse=True, return_counts=True)
    mean_errors = np.bincount(place, ~right) / n
    return np.cumsum(np.repeat(mean_errors, n)) / np.arange(1, len(right) + 1)


def selective_accuracy(risks: Floats) -> dict[str, float]:
    """Return the accuracy on the most confident images by the share of images answered, as "0.9"; `risks`: (N,)."""
    return {str(share): float(1 - risks[max(1, round(share * len(risks))) - 1]) for share in COVERAGES}


def curve(risks: Floats) -> list[tuple[float, float]]:
    """Return the share of errors by the share of images answered, at up to 40 shares, for a figure; `risks`: (N,)."""
    places = np.unique(np.ceil(np.linspace(1 / _POINTS, 1, _POINTS) * len(risks)).astype(int))
    return [(place / len(risks), float(risks[place - 1])) for place in places.tolist()]


def conformal_threshold(probabilities: Floats, labels: Labels, misses: float = MISSES) -> float:
    """Return the probability from which a class belongs to the prediction set, by the validation images.

    Split conformal prediction: Angelopoulos and Bates 2021, arXiv 2107.07511, section 1. Sets of new images of the
    same kind have the true class with a probability of at least 1 - `misses`; 0 if the images are too few for it.

    Args:
        probabilities: of validation images, (N, C).
        labels: (N,).
        misses: the share of images whose set may miss the true class.
    """
    rank = math.ceil((len(labels) + 1) * (1 - misses))
    if rank > len(labels):
        return 0.0
    return float(np.sort(probabilities[np.arange(len(labels)), labels])[len(labels) - rank])


def conformal_sets(probabilities: Floats, threshold: float) -> NDArray[np.bool_]:
    """Return which classes are in the prediction set of each image, (N, C)."""
    return probabilities >= threshold
