"""What several networks say together on the test images: a committee, labels that all contradict, images all miss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepnets.comparison.crossed import Floats
from deepnets.comparison.intervals import network_interval
from deepnets.evaluation.metrics import Labels

CONFIDENT = 0.8  # the least probability of every network for the class that contradicts the label
_LISTED = 100  # images of each list in the file; more need another look at the dataset


class Agreement:
    """Adds up networks one after the other, so that the memory does not grow with their number.

    Args:
        labels: of the test images, (N,).
        classes: how many classes there are.
        files: the names of the test images; None if they were no files.
    """

    def __init__(self, labels: Labels, classes: int, files: list[str] | None = None):
        self.labels, self.files, self.networks = labels, files, 0
        self.total = np.zeros((len(labels), classes))
        self.predicted = np.full(len(labels), -1, dtype=np.int64)
        self.confidence = np.ones(len(labels))  # the lowest of any network
        self.hits = np.zeros(len(labels), dtype=np.int64)  # of networks that are right

    def add(self, probabilities: Floats) -> None:
        """Add a network's probabilities, (N, C)."""
        predicted = probabilities.argmax(1)
        if self.networks == 0:
            self.predicted = predicted
        self.networks += 1
        self.total += probabilities
        self.hits += predicted == self.labels
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
        found = self._listed(contradicted, self.predicted, self.confidence)
        return {"count": int(contradicted.sum()), "confidence": CONFIDENT, "images": found}

    def missed_by_all(self) -> dict[str, Any]:
        """Return the test images that no network has right, with what the committee answers; no list for one network.

        The probability is the mean over the networks.
        """
        missed = (self.hits == 0) & (self.networks > 1)
        mean = self.total / max(self.networks, 1)
        return {"count": int(missed.sum()), "images": self._listed(missed, mean.argmax(1), mean.max(1))}

    def _listed(self, which: NDArray[np.bool_], predicted: Labels, probability: Floats) -> list[dict[str, Any]]:
        """Return some of the images, those with the highest probability first."""
        found = np.flatnonzero(which)
        found = found[np.argsort(-probability[found], kind="stable")]
        return [answer(index, self.labels, predicted, probability, self.files) for index in found[:_LISTED].tolist()]


def answer(
    index: int, labels: Labels, predicted: Labels, probability: Floats, files: list[str] | None
) -> dict[str, Any]:
    """Return one test image as JSON: index and file name, true and predicted class, and the latter's probability."""
    return {
        "index": index,
        "label": int(labels[index]),
        "predicted": int(predicted[index]),
        "probability": float(probability[index]),
        "file": files and files[index],
    }
