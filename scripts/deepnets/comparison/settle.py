"""What would settle an open comparison: the difference that would show, and the images or seeds that are missing."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from deepnets.comparison.crossed import Floats, Variance, expected_variance
from deepnets.comparison.statistics_file import MOST_SEEDS

POWER = 0.8
_MOST_IMAGES = 10**9  # beyond, the two are equal for all that anyone can measure
_TRIED = 2000  # numbers of images, each about 1 % more than the one before


@dataclass(frozen=True)
class Settled:
    """What would settle a comparison with 80 % power.

    Attributes:
        smallest_difference: the smallest that this many images and seeds would show; a fraction.
        images: about how many test images would show the difference seen; None if no number would.
        seeds: about how many seeds each would show it on these images; None if no number up to MOST_SEEDS would, for
            one seed each, where more seeds answer another question, and for folds, whose number is that of the images.
    """

    smallest_difference: float
    images: int | None
    seeds: int | None = None


def settle_networks(a_only: int, b_only: int, images: int, alpha: float) -> Settled:
    """Return what would settle the comparison of two trained networks by McNemar's test.

    n = (z_a sqrt(c) + z_b sqrt(c - d^2))^2 / d^2 for a share c of discordant images and a difference d: Connor 1987
    (Biometrics 43). The share is the one seen, with half an image more on each side.

    Args:
        a_only, b_only: the images that only one has right.
        images: the number of test images.
        alpha: the two-sided level of the test.
    """
    discordant, difference = (a_only + b_only + 1) / (images + 2), abs(a_only - b_only) / images
    z_alpha, z_beta = norm.isf(alpha / 2), norm.isf(1 - POWER)

    def needed(d: float) -> float:
        share = max(discordant, d)  # a difference has at least as many discordant images
        return (z_alpha * math.sqrt(share) + z_beta * math.sqrt(share - d * d)) ** 2 / d**2

    low, high = 0.0, 1.0
    for _ in range(50):  # halvings
        middle = (low + high) / 2
        low, high = (low, middle) if needed(middle) <= images else (middle, high)
    return Settled(high, _whole(needed(difference)) if difference else None)


def settle_recipes(variance: Variance, seeds: int, images: int, alpha: float) -> Settled:
    """Return what would settle the comparison of two recipes by the t test on seeds and images.

    With more images, the seeds' part of the variance stays, and the degrees of freedom fall towards those of the seeds;
    with more seeds, the images' part stays. So each number that is tried has its own variance and quantile.

    Args:
        variance: of their difference.
        seeds, images: how many of each there were.
        alpha: the two-sided level of the test.
    """
    difference = abs(float(variance.mean))
    smallest = float(_smallest(alpha, variance.value, variance.freedom))
    if not difference:
        return Settled(smallest, None)

    def first(more: Floats, by_seeds: bool) -> int | None:
        numbers = (more, images) if by_seeds else (seeds, more)
        enough = _smallest(alpha, *expected_variance(variance, *numbers)) <= difference
        return int(more[enough.argmax()]) if enough.any() else None

    more_images = np.ceil(np.geomspace(images + 1, _MOST_IMAGES, _TRIED))
    more_seeds = np.arange(seeds + 1.0, MOST_SEEDS + 1)
    return Settled(smallest, first(more_images, by_seeds=False), first(more_seeds, by_seeds=True))


def settle_folds(variance: Variance, folds: int, alpha: float) -> Settled:
    """Return what would settle the comparison of two candidates by the t test on the differences in folds.

    Args:
        variance: of their difference, by `folds.fold_variance`.
        folds: how many there are; with more images, there are as many.
        alpha: the two-sided level of the test.
    """
    difference = abs(float(variance.mean))
    multiple = float(_smallest(alpha, np.ones(()), variance.freedom))
    smallest = multiple * math.sqrt(float(variance.value))
    left = (difference / multiple) ** 2 - float(variance.of_seeds[0]) / folds
    return Settled(smallest, _whole(float(variance.of_images) / left) if left > 0 else None)


def _smallest(alpha: float, variance: Floats, freedom: Floats) -> Floats:
    """Return the smallest difference that a t test at `alpha` finds with 80 % power."""
    return (t.isf(alpha / 2, freedom) + t.isf(1 - POWER, freedom)) * np.sqrt(variance)


def _whole(number: float) -> int | None:
    return math.ceil(number) if number <= _MOST_IMAGES else None
