"""What would settle an open comparison: the difference that would show, and the images or seeds that are missing."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from deepnets.comparison.crossed import Variance

POWER = 0.8
_MOST_SEEDS = 1000
_MOST_IMAGES = 10**9  # beyond, the two are equal for all that anyone can measure


@dataclass(frozen=True)
class Settled:
    """What would settle a comparison with 80 % power.

    Attributes:
        smallest_difference: the smallest that this many images and seeds would show; a fraction.
        images: about how many test images would show the difference seen; None if no number would.
        seeds: about how many seeds each would show it on these images; None if no number would, or for one seed each,
            where more seeds answer another question.
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

    Args:
        variance: of their difference.
        seeds, images: how many there were.
        alpha: the two-sided level of the test.
    """
    of_seeds, of_images, of_residual = (float(each) for each in variance[4:])
    difference = abs(float(variance.mean))
    multiple = float(_quantiles(alpha, float(variance.freedom)))
    smallest = multiple * math.sqrt(float(variance.value))
    if not difference:
        return Settled(smallest, None)

    more = np.arange(seeds + 1, _MOST_SEEDS + 1)
    by_seeds = of_seeds / more + of_images / images + of_residual / (more * images)
    enough = _quantiles(alpha, more - 1) * np.sqrt(by_seeds) <= difference

    # As many seeds as now, so the quantiles stay those of their degrees of freedom where seeds matter most.
    left = (difference / multiple) ** 2 - of_seeds / seeds
    needed = (of_images + of_residual / seeds) / left if left > 0 else math.inf
    return Settled(smallest, _whole(max(needed, images + 1)), int(more[enough.argmax()]) if enough.any() else None)


def _quantiles(alpha: float, freedom: float | np.ndarray) -> np.ndarray:
    """Return the multiple of the standard error that a test at `alpha` finds with 80 % power."""
    return t.isf(alpha / 2, freedom) + t.isf(1 - POWER, freedom)


def _whole(number: float) -> int | None:
    return math.ceil(number) if number <= _MOST_IMAGES else None
