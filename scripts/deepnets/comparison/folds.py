"""Folds: each test image is predicted once, by the network that was not trained on it, and all images are pooled.

The networks of two folds are independent draws of a training run, and their test images are different ones, so the
folds' accuracies vary by both. Their spread gives the variance of the pooled accuracy (a cluster sample; Dietterich
1998, Neural Computation 10, finds tests that ignore the networks' part too sure). It leaves out that two folds share
most of their training images: like everything here, it is about these training images (Bengio and Grandvalet 2004,
JMLR 5: no estimate without bias has that part).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from deepnets.comparison.crossed import Floats, Variance, least_of_difference
from deepnets.comparison.intervals import LEVEL, wilson
from deepnets.comparison.paired import Difference, Right, by_t_test

Rows = NDArray[np.int64]  # the fold of each test image


def fold_variance(values: Floats, folds: Rows, least: float = 0.0) -> Variance:
    """Estimate the variance of the mean over images in folds, by the spread of the folds' means.

    It is never below that of independent images, as folds may agree by chance, nor below `least`.

    Args:
        values: (n,), of each image; of several passes their mean.
        folds: (n,).
    """
    number, images, mean = int(folds.max()) + 1, len(values), values.mean()
    sums = np.bincount(folds, weights=values - mean, minlength=number)
    by_folds = number / (number - 1) * (sums**2).sum() / images**2
    by_images = max(values.var() / images, least)
    value = np.asarray(max(by_folds, by_images))
    return Variance(
        mean,
        value,
        np.asarray(number - 1),
        value,
        np.asarray(number - 1 if by_folds > by_images else images - 1),
        np.asarray([max(by_folds - by_images, 0) * number]),
        np.asarray(by_images * images),
        np.zeros(1),
    )


def folds_interval(right: Right, folds: Rows) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy over all folds; `right`: (S, n), S passes over the images.

    Wilson's interval at the effective number of images, as for several seeds.
    """
    variance = fold_variance(right.mean(0), folds)
    p, images = variance.mean, len(folds)
    effective = p * (1 - p) / variance.value if variance.value > 0 else images
    quantile = t.ppf((1 + LEVEL) / 2, variance.interval_freedom)
    low, high = wilson(p, effective if effective > 0 else images, quantile)
    return float(low), float(high)


def compare_folds(a: Right, b: Right, folds: Rows) -> Difference:
    """Compare two candidates on the same images in the same folds; `a`: (S, n), `b`: (T, n).

    A t test on the folds' differences, with one degree of freedom less than there are folds. The variance is never
    below that of one discordant image on each side, as for several seeds.
    """
    return by_t_test(fold_variance(a.mean(0) - b.mean(0), folds, least_of_difference(len(folds))))
