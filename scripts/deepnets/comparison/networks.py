"""What one trained network's predictions show, besides their accuracy."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepnets.comparison import calibration, selective
from deepnets.comparison.agreement import answer
from deepnets.comparison.crossed import Floats
from deepnets.evaluation.confidence import fit_temperature, probabilities_of, surprises
from deepnets.evaluation.metrics import Labels, Logits, expected_calibration_error, loss, predict
from deepnets.evaluation.predictions import Predictions

_SURPRISES = 5  # images of each kind in statistics.json


@dataclass(frozen=True)
class Network:
    """One network on the test images.

    Attributes:
        right: whether each image is predicted right, (N,).
        probabilities: (N, C); equal for all classes where the network has no prediction.
        described: its numbers, as statistics.json has them.
    """

    right: NDArray[np.bool_]
    probabilities: Floats
    described: dict[str, Any]


def describe(predictions: Predictions) -> Network:
    """Compute the numbers of one network: log loss, Brier score, calibration before and after, when to trust it.

    The temperature and the conformal threshold are of the validation images; all other numbers are of the test images.
    """
    logits, labels = predictions.test_logits, predictions.test_labels
    right, probabilities = predict(logits) == labels, probabilities_of(logits)
    confidence = probabilities.max(1)
    risks = selective.risk_coverage(confidence, right)
    threshold = selective.conformal_threshold(
        probabilities_of(predictions.validation_logits), predictions.validation_labels
    )
    sets = selective.conformal_sets(probabilities, threshold)
    temperature = fit_temperature(predictions.validation_logits, predictions.validation_labels)
    scaled = (logits.astype(np.float64) / temperature).astype(np.float32)
    described = {
        **_calibration(logits, labels, right, probabilities),
        "ece_equal_width": expected_calibration_error(logits, labels),
        "temperature": temperature,
        "with_temperature": _calibration(scaled, labels, right, probabilities_of(scaled)),
        "aurc": float(risks.mean()),
        "selective_accuracy": selective.selective_accuracy(risks),
        "risk_coverage": selective.curve(risks),
        "conformal": {
            "target": 1 - selective.MISSES,
            "coverage": float(sets[np.arange(len(labels)), labels].mean()),
            "mean_size": float(sets.sum(1).mean()),
        },
        **_surprises(predictions, probabilities, right),
    }
    return Network(right, probabilities, described)


def _surprises(predictions: Predictions, probabilities: Floats, right: NDArray[np.bool_]) -> dict[str, Any]:
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    mistakes, hits = (
        [answer(index, predictions.test_labels, predicted, confidence, predictions.test_files) for index in found]
        for found in map(np.ndarray.tolist, surprises(confidence, right, _SURPRISES, _SURPRISES))
    )
    return {"confident_mistakes": mistakes, "doubtful_hits": hits}


def _calibration(logits: Logits, labels: Labels, right: NDArray[np.bool_], probabilities: Floats) -> dict[str, Any]:
    bins = calibration.reliability(probabilities.max(1), right)
    error, interval = calibration.calibration_error(bins)
    log_loss = loss(logits, labels)
    return {
        "log_loss": log_loss if math.isfinite(log_loss) else None,
        "brier": calibration.brier(probabilities, labels),
        "ece": error,
        "ece_ci95": list(interval),
        "reliability": calibration.table(bins),
    }
