"""What several networks say together on the test images: a committee, and labels that all of them contradict."""

from typing import Any

import numpy as np

from deepnets.comparison.crossed import Floats
from deepnets.comparison.intervals import network_interval
from deepnets.evaluation.metrics import Labels

CONFIDENT = 0.8  # the least probability of every network for the class that contradicts the label
_LISTED = 100  # suspicious labels in the file; more need another look at the dataset


class Agreement:
    """Adds up networks one after the other, so that the memory does not grow with their number.

    Args:
        labels: of the test images, (N,).
        classes: how many classes there are.
    """

    def __init__(self, labels: Labels, classes: int):
        self.labels, self.networks = labels, 0
        self.total = np.zeros((len(labels), classes))
        self.predicted = np.full(len(labels), -1, dtype=np.int64)
        self.confidence = np.ones(len(labels))  # the lowest of any network

    def add(self, probabilities: Floats) -> None:
        """Add a network's probabilities, (N, C)."""
        predicted = probabilities.argmax(1)
        if self.networks == 0:
            self.predicted = predicted
        self.networks += 1
        self.total += probabilities
        agrees = predicted == self.predicted
        self.confidence = np.where(agrees, np.minimum(self.confidence, probabilities.max(1)), 0)

    def committee(self) -> dict[str, Any] | None:
        """Return the accuracy of the mean of all networks' probabilities; None if there is one network only.

        Its 95 % interval is that of these trained networks over images (Wilson).
        """
        if self.networks < 2:
            return None
        right = self.total.argmax(1) == self.labels
        return {"networks": self.networks, "accuracy": float(right.mean()), "ci95": list(network_interval(right))}

    def suspicious_labels(self) -> dict[str, Any]:
        """Return the test images that every network, confidently, gives the same other class: labels to look at.

        One network alone shows only its own mistakes: then the list is empty.
        """
        contradicted = (self.predicted != self.labels) & (self.confidence >= CONFIDENT) & (self.networks > 1)
        found = np.flatnonzero(contradicted)
        found = found[np.argsort(-self.confidence[found], kind="stable")]
        images = [
            {
                "index": int(index),
                "label": int(self.labels[index]),
                "predicted": int(self.predicted[index]),
                "confidence": float(self.confidence[index]),
            }
            for index in found[:_LISTED]
        ]
        return {"count": len(found), "confidence": CONFIDENT, "images": images}
