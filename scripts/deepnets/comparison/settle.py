"""What would settle an open comparison: the difference that would show, and the images or seeds that are missing."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit
from scipy.stats import norm, t

from deepnets.comparison.crossed import Variance, least_of_difference, summed
from deepnets.comparison.statistics_file import MOST_SEEDS

POWER = 0.8
_MOST_IMAGES = 10**9  # beyond, the two are equal for all that anyone can measure
_STEPS = 10**5  # of differences that are tried, from 0 to below 1
_SHARES = (np.arange(12) + 0.5) / 12  # of studies, for a mean over the quantiles of a distribution


@dataclass(frozen=True)
class Settled:
    """What would settle a comparison with 80 % power.

    Attributes:
        smallest_difference: the smallest that this many images and seeds would show; a fraction. None if they would not
            even show that one has all images right and the other none.
        images: about how many test images would show the difference seen; None if no number would.
        seeds: about how many seeds each would show it on these images; None if no number up to MOST_SEEDS would, for
            one seed each, where more seeds answer another question, and for folds, whose number is that of the images.
    """

    smallest_difference: float | None
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
    return Settled(_below_one(high), _whole(needed(difference)) if difference else None)


def settle_recipes(variance: Variance, seeds: int, images: int, alpha: float) -> Settled:
    """Return what would settle the comparison of two recipes by the t test on seeds and images.

    With more images, the seeds' part of the variance stays, and the degrees of freedom fall towards those of the seeds;
    with more seeds, the images' part stays.

    Args:
        variance: of their difference.
        seeds, images: how many of each there were.
        alpha: the two-sided level of the test.
    """
    difference = abs(float(variance.mean))
    smallest = _first(lambda steps: _power(variance, steps / _STEPS, seeds, images, alpha) >= POWER, 1, _STEPS - 1)
    found = Settled(None if smallest is None else smallest / _STEPS, None)
    if not difference:
        return found
    return replace(
        found,
        images=_first(lambda more: _power(variance, difference, seeds, more, alpha) >= POWER, images + 1, _MOST_IMAGES),
        seeds=_first(lambda more: _power(variance, difference, more, images, alpha) >= POWER, seeds + 1, MOST_SEEDS),
    )


def _power(variance: Variance, difference: float, seeds: int, images: int, alpha: float) -> float:
    """Return the share of studies with as many seeds of each recipe and images in which the t test finds a difference.

    Few seeds may happen to spread little or much, and so do variance and degrees of freedom as they are estimated: the
    power is the mean over both recipes' mean squares, which have chi-squared distributions. Those of the images, with
    many degrees of freedom, are taken as they are expected.
    """
    noise = variance.of_residual / (seeds * images)
    by_seeds, by_images = variance.of_seeds / seeds + noise, float(variance.of_images) / images + noise.sum()
    spread, least = chdtri(seeds - 1, _SHARES) / (seeds - 1), least_of_difference(images)
    drawn = by_seeds * np.stack(np.meshgrid(spread, spread), axis=-1).reshape(-1, 2)
    value, freedom = summed(drawn, by_images, noise, seeds - 1, max(images - 1, 1), least)
    error = math.sqrt(max(by_seeds.sum() + by_images - noise.sum(), least))
    return float(ndtr((difference - stdtrit(freedom, 1 - alpha / 2) * np.sqrt(value)) / error).mean())


def _first(is_enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the first number from `low` to `high` that is enough, or about that; None if no number is.

    Larger ones need not be enough: with ever more images, the degrees of freedom fall to those of the few seeds. So
    numbers are tried from below, each 25 % above the one before, `high` last, and then those between the last two.
    """
    below, number = low - 1, low
    while number <= high and not is_enough(number):
        below, number = number, max(number + 1, min(number + number // 4, high))
    if number > high:
        return None
    while number - below > 1:
        middle = (below + number) // 2
        below, number = (below, middle) if is_enough(middle) else (middle, number)
    return number


def settle_folds(variance: Variance, folds: int, alpha: float) -> Settled:
    """Return what would settle the comparison of two candidates by the t test on the differences in folds.

    Args:
        variance: of their difference, by `folds.fold_variance`.
        folds: how many there are; with more images, there are as many.
        alpha: the two-sided level of the test.
    """
    difference, freedom = abs(float(variance.mean)), float(variance.freedom)
    multiple = float(t.isf(alpha / 2, freedom) + t.isf(1 - POWER, freedom))
    left = (difference / multiple) ** 2 - float(variance.of_seeds[0]) / folds
    images = _whole(float(variance.of_images) / left) if left > 0 else None
    return Settled(_below_one(multiple * math.sqrt(float(variance.value))), images)


def _below_one(difference: float) -> float | None:
    return difference if difference < 1 else None


def _whole(number: float) -> int | None:
    return math.ceil(number) if number <= _MOST_IMAGES else None
