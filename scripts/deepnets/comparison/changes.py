"""How a metric moved between two states of a study, and whether by more than its noise."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from deepnets.comparison.crossed import Floats, crossed_variance
from deepnets.comparison.intervals import LEVEL, difference_interval, share_interval
from deepnets.comparison.paired import compare_networks, t_interval
from deepnets.evaluation.metrics import Labels, Logits, losses, predicted_classes, scores_of_counts

IMAGES, SEEDS = "the images", "the spread over seeds"
SAME_IMAGES, SAME_SEEDS = "the images, the same for both", "the images and seeds, the same for both"
DRAWS = 1000  # of the bootstrap
_TAIL = (1 - LEVEL) / 2
_RESAMPLED = ("loss", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """One metric of the runs that differ only in their seed: a value of each, and the number of images, if the metric
    is a fraction of them, else None.
    """

    values: Sequence[float]
    images: int | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def squares(self) -> float:
        """The sum of the squared distances from the mean."""
        return sum((value - self.mean) ** 2 for value in self.values)


@dataclass(frozen=True)
class Change:
    """A metric in two states, and the 95 % interval of its change; None if nothing shows how large its noise is.

    noise: what the interval is made from, in words.
    """

    before: float
    after: float
    interval: Interval | None = None
    noise: str = ""

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def moved(self) -> bool:
        """Whether it changed by more than its noise."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def change(before: Measured, after: Measured) -> Change:
    """Return the change of a metric, with the interval that its noise gives.

    With one seed on each side it is that of a fraction of images: Newcombe 1998, 'Interval estimation for the
    difference between independent proportions', method 10, from Wilson's intervals. Both states saw the same images as
    a rule, so it is too wide rather than too narrow. With more seeds it is Student's t with one variance of both sides;
    of a fraction of images it is at least as wide as that of the images, as seeds can agree by chance.
    """
    freedom = len(before.values) + len(after.values) - 2
    of_images = _of_images(before, after) if before.images and after.images else None
    if freedom == 0:
        return Change(before.mean, after.mean, of_images, IMAGES if of_images else "")
    variance = (before.squares + after.squares) / freedom
    error = math.sqrt(variance * (1 / len(before.values) + 1 / len(after.values)))
    if error == 0 and of_images is None:
        return Change(before.mean, after.mean)
    half_width, difference = float(stdtrit(freedom, 1 - _TAIL)) * error, after.mean - before.mean
    if of_images is not None and of_images[1] - of_images[0] > 2 * half_width:
        return Change(before.mean, after.mean, of_images, IMAGES)
    return Change(before.mean, after.mean, (difference - half_width, difference + half_width), SEEDS)


def _of_images(before: Measured, after: Measured) -> Interval:
    """The interval of the difference of two fractions of images."""
    of_before, of_after = (share_interval(each.mean, each.images or 1) for each in (before, after))
    return difference_interval(after.mean, of_after, before.mean, of_before)


# -- of the same test images -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predicted:
    """What two networks of one seed predict of the same test images: logits (N, C) of each, and the labels."""

    before: Logits
    after: Logits
    labels: Labels


@np.errstate(invalid="ignore")  # infinite losses, whose interval is left out
def paired_intervals(seeds: Sequence[Predicted]) -> dict[str, tuple[Interval, str]]:
    """Return the 95 % interval of the change of each test metric, by its name, and what it is made from.

    Both states saw the same images, so an image that is drawn is drawn for both: a percentile bootstrap over images of
    the mean over the seeds (Efron and Tibshirani 1993). With several seeds Student's t on the change of each, where
    that is wider, as seeds can agree by chance. Accuracy has its own methods: of one seed that of `compare_networks`,
    of several the variance over seeds and images of the differences. The calibration error is left out: it is biased
    upwards in a bootstrap.

    Args:
        seeds: each of the same test images.
    """
    networks = [(_Network(each.before, each.labels), _Network(each.after, each.labels)) for each in seeds]
    found = _accuracy(networks)
    rng, images = np.random.default_rng(0), len(seeds[0].labels)
    draws = (np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(DRAWS))
    means = np.stack([_changes(networks, each.astype(np.float64)).mean(0) for each in draws])
    bounds = np.quantile(means, [_TAIL, 1 - _TAIL], axis=0).T
    of_seeds = _changes(networks, np.ones(images)).T
    for name, (low, high), values in zip(_RESAMPLED, bounds.tolist(), of_seeds, strict=True):
        found[name] = (low, high), SAME_IMAGES
        if len(values) > 1:
            middle = float(values.mean())
            half = float(stdtrit(len(values) - 1, 1 - _TAIL) * values.std(ddof=1)) / math.sqrt(len(values))
            if 2 * half > high - low:
                found[name] = (middle - half, middle + half), SAME_SEEDS
    return {name: each for name, each in found.items() if np.isfinite(each[0]).all()}


class _Network:
    """What the metrics need of the logits of a network."""

    def __init__(self, logits: Logits, labels: Labels):
        self.labels, self.classes = labels, logits.shape[1]
        self.predicted, self.losses = predicted_classes(logits), losses(logits, labels)
        self.right = self.predicted == labels

    def metrics(self, weights: Floats) -> Floats:
        """The metrics of _RESAMPLED, where each image counts as often as its weight says, (N,)."""
        right = np.bincount(self.labels, weights * self.right, self.classes)
        images = np.bincount(self.labels, weights, self.classes)
        predicted = np.bincount(self.predicted + 1, weights, self.classes + 1)[1:]  # the first has no prediction
        precision, recall, f1 = scores_of_counts(right, predicted, images)
        loss = weights @ self.losses / len(weights)
        return np.array([loss, recall[images > 0].mean(), precision.mean(), recall.mean(), f1.mean()])


def _changes(networks: Sequence[tuple[_Network, _Network]], weights: Floats) -> Floats:
    """The change of each metric of _RESAMPLED for each seed, (S, metrics)."""
    return np.stack([after.metrics(weights) - before.metrics(weights) for before, after in networks])


def _accuracy(networks: Sequence[tuple[_Network, _Network]]) -> dict[str, tuple[Interval, str]]:
    """The interval of the accuracy; none where all seeds have the same images right in both states."""
    if len(networks) == 1:
        ((before, after),) = networks
        return {"accuracy": (compare_networks(after.right, before.right).ci95, SAME_IMAGES)}
    variance = crossed_variance([after.right.astype(float) - before.right for before, after in networks])
    low, high = t_interval(variance)
    return {"accuracy": ((float(low), float(high)), SAME_SEEDS)} if variance.value > 0 else {}
