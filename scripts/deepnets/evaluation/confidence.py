"""How sure a network is of each image, its temperature, and the images that surprise; without torch."""

import numpy as np
from numpy.typing import NDArray

from deepnets.evaluation.metrics import NO_PREDICTION, Labels, Logits, losses, predicted_classes

_LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20; networks are at 0.5 to 5
_LEAST_GAIN = 1.92  # nats: half of the 95 % point of chi-squared with one degree of freedom


def probabilities_of(logits: Logits) -> NDArray[np.float64]:
    """Return the softmax of each image, (N, C), in float64; all classes equal where it is not defined."""
    from scipy.special import softmax

    defined = predicted_classes(logits) != NO_PREDICTION
    found = np.full(logits.shape, 1 / logits.shape[1])
    found[defined] = softmax(logits[defined].astype(np.float64), axis=1)
    return found


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T at which softmax(logits / T) has the least log loss: Guo et al. 2017, arXiv 1706.04599.

    It is 1 unless the images show that another one is better, by a likelihood-ratio test at 5 % (Wilks 1938): fitted on
    one or two mistakes, it would make the probabilities of other images worse.

    Args:
        logits: of validation images, (N, C). Images with a logit that is not finite are left out; if all are, T is 1.
            It is also 1 if all images are right: the loss then falls for ever as T goes to 0.
        labels: (N,).
    """
    finite = np.isfinite(logits).all(1)
    if (logits[finite].argmax(1) == labels[finite]).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    logits, labels = logits[finite].astype(np.float64), labels[finite]

    def loss(log_temperature: float) -> float:
        return float(losses(logits / np.exp(log_temperature), labels).mean())

    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x)) if len(labels) * (loss(0) - best.fun) > _LEAST_GAIN else 1.0


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
