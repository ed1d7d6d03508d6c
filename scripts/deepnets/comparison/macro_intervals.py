"""95 % intervals of one trained network by a bootstrap over images: of macro averages of classes, and of a mean."""

import numpy as np

from deepnets.comparison.crossed import Floats
from deepnets.comparison.intervals import LEVEL
from deepnets.evaluation.metrics import NO_PREDICTION, Labels

RESAMPLES, _SEED = 1000, 0
_AT_ONCE = 100  # resamples in memory; of 50,000 images, they are some 10 MB


def macro_intervals(predicted: Labels, labels: Labels, classes: int) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of a bootstrap over images: Efron and Tibshirani 1993, chapter 13.

    A class whose images are all missing from a resample is left out of its mean, because that resample says nothing of
    it. Nothing is known of other seeds.

    Args:
        predicted: the predicted classes, (n,); NO_PREDICTION where an image has none.
        labels: (n,), each in 0..classes-1.
        classes: how many there are, also of those without images.

    Returns:
        (low, high) of `precision_macro`, `recall_macro`, `f1_macro` and `balanced_accuracy`, fractions; nothing if all
        images are right, because then all resamples are alike.
    """
    if (predicted == labels).all():
        return {}
    # Drawing images with replacement draws how many of them are in each cell of the confusion matrix.
    named = np.where(predicted == NO_PREDICTION, classes, predicted)
    cells, counts = np.unique(np.stack([labels, named]), axis=1, return_counts=True)
    rng, found = np.random.default_rng(_SEED), []
    for _ in range(RESAMPLES // _AT_ONCE):
        found.append(_scores(rng.multinomial(len(labels), counts / len(labels), _AT_ONCE), cells, classes))
    bounds = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
    # In macro averages, a class without any image has the scores 0; balanced accuracy leaves it out.
    share = len(np.unique(labels)) / classes
    names = ("precision_macro", "recall_macro", "f1_macro", "balanced_accuracy")
    of_all = [*(share * bounds), bounds[1]]
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, of_all, strict=True)}


def mean_interval(values: Floats) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap over images of the mean of their values, (n,), such as losses."""
    rng = np.random.default_rng(_SEED)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _scores(counts: Labels, cells: Labels, classes: int) -> Floats:
    """Return macro precision, recall and F1, (resamples, 3), of the number of images in each cell, (resamples, cells).

    `cells`: the class and the predicted class of each, (2, cells).
    """
    label, named = cells
    images, predicted, right = (
        _by_class(counts[:, chosen], of[chosen], classes)
        for of, chosen in ((label, slice(None)), (named, named < classes), (label, label == named))
    )
    there = images > 0
    parts = [(right, predicted), (right, images), (2 * right, predicted + images)]
    scores = [np.divide(part, whole, out=np.zeros(part.shape), where=there & (whole > 0)) for part, whole in parts]
    return np.stack([score.sum(1) / there.sum(1) for score in scores], axis=1)


def _by_class(counts: Labels, classes_of: Labels, classes: int) -> Floats:
    """Add up columns, (resamples, cells), by their classes: (resamples, classes)."""
    place = np.arange(len(counts))[:, None] * classes + classes_of
    added = np.bincount(place.ravel(), counts.ravel(), len(counts) * classes)
    return added.astype(np.float64).reshape(len(counts), classes)
