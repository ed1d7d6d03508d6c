"""What one trained network's predictions show, besides their accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepnets.comparison import calibration, selective
from deepnets.comparison.agreement import answer
from deepnets.comparison.crossed import Floats
from deepnets.evaluation.confidence import fit_temperature, probabilities_of, surprises
from deepnets.evaluation.metrics import (
    Labels,
    Logits,
    basic_metrics,
    expected_calibration_error,
    loss,
    predicted_classes,
)
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


def describe(predictions: Sequence[Predictions]) -> Network:
    """Compute the numbers of one network: log loss, Brier score, calibration before and after, when to trust it.

    The temperature and the conformal threshold are of the validation images; all other numbers are of the test images.

    Args:
        predictions: of the network; with folds, of several that predict different images, which count together. Each
            has its own temperature and threshold then, and `temperature` is their mean.
    """
    logits, labels = _together(predictions)
    right, probabilities = predicted_classes(logits) == labels, probabilities_of(logits)
    confidence = probabilities.max(1)
    risks = selective.risk_coverage(confidence, right)
    sets = np.concatenate([_conformal_sets(each) for each in predictions])
    temperatures = [fit_temperature(each.validation_logits, each.validation_labels) for each in predictions]
    scaled = np.concatenate(
        [
            (each.test_logits.astype(np.float64) / temperature).astype(np.float32)
            for each, temperature in zip(predictions, temperatures, strict=True)
        ]
    )
    described = {
        **_calibration(logits, labels, right, probabilities),
        "ece_equal_width": expected_calibration_error(logits, labels),
        "temperature": float(np.mean(temperatures)),
        "with_temperature": _calibration(scaled, labels, right, probabilities_of(scaled)),
        "aurc": float(risks.mean()),
        "selective_accuracy": selective.selective_accuracy(risks),
        "risk_coverage": selective.curve(risks),
        "conformal": {
            "target": 1 - selective.MISSES,
            "coverage": float(sets[np.arange(len(labels)), labels].mean()),
            "mean_size": float(sets.sum(1).mean()),
        },
        **_surprises(labels, probabilities, right, [file for each in predictions for file in each.test_files or ()]),
    }
    return Network(right, probabilities, described)


def describe_folds(predictions: Sequence[Predictions]) -> dict[str, Any]:
    """Compute the numbers of networks that together predict each image once, one of each fold, and their metrics."""
    return {"test": basic_metrics(*_together(predictions), "test"), **describe(predictions).described}


def _together(predictions: Sequence[Predictions]) -> tuple[Logits, Labels]:
    """Return the logits and labels of all test images."""
    labels = np.concatenate([each.test_labels for each in predictions])
    return np.concatenate([each.test_logits for each in predictions]), labels


def _conformal_sets(predictions: Predictions) -> NDArray[np.bool_]:
    threshold = selective.conformal_threshold(
        probabilities_of(predictions.validation_logits), predictions.validation_labels
    )
    return selective.conformal_sets(probabilities_of(predictions.test_logits), threshold)


def _surprises(labels: Labels, probabilities: Floats, right: NDArray[np.bool_], files: list[str]) -> dict[str, Any]:
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    mistakes, hits = (
        [answer(index, labels, predicted, confidence, files or None) for index in found]
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
