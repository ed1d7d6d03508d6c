"""How sure a network is of each image, and the images that surprise; without torch."""

import numpy as np
from numpy.typing import NDArray

from deepnets.evaluation.metrics import NO_PREDICTION, Logits, predict


def probabilities_of(logits: Logits) -> NDArray[np.float64]:
    """Return the softmax of each image, (N, C), in float64; all classes equal where it is not defined."""
    from scipy.special import softmax

    defined = predict(logits) != NO_PREDICTION
    found = np.full(logits.shape, 1 / logits.shape[1])
    found[defined] = softmax(logits[defined].astype(np.float64), axis=1)
    return found


def surprises(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], mistakes: int, hits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images that are wrong with the highest confidence, and those that are right with the lowest.

    Args:
        confidence: the probability of the predicted class, (N,).
        right: whether the prediction is right, (N,).
        mistakes, hits: how many of each, at most.
    """
    order = np.argsort(-confidence, kind="stable")
    return order[~right[order]][:mistakes], order[right[order]][::-1][:hits]
