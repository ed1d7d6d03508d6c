"""How a metric moved between two states of a study, and whether by more than its noise."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

IMAGES, SEEDS = "the images", "the spread over seeds"
_NORMAL = 1.959964  # the quantile of a 95 % interval


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
    interval: tuple[float, float] | None = None
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
    from scipy.special import stdtrit  # costs 0.2 s

    variance = (before.squares + after.squares) / freedom
    error = math.sqrt(variance * (1 / len(before.values) + 1 / len(after.values)))
    if error == 0 and of_images is None:
        return Change(before.mean, after.mean)
    half_width, difference = float(stdtrit(freedom, 0.975)) * error, after.mean - before.mean
    if of_images is not None and of_images[1] - of_images[0] > 2 * half_width:
        return Change(before.mean, after.mean, of_images, IMAGES)
    return Change(before.mean, after.mean, (difference - half_width, difference + half_width), SEEDS)


def _of_images(before: Measured, after: Measured) -> tuple[float, float]:
    """The interval of the difference of two fractions of images."""
    (low_before, high_before), (low_after, high_after) = (
        _wilson(each.mean, each.images or 1) for each in (before, after)
    )
    difference = after.mean - before.mean
    below = math.hypot(after.mean - low_after, high_before - before.mean)
    above = math.hypot(high_after - after.mean, before.mean - low_before)
    return difference - below, difference + above


def _wilson(fraction: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a fraction of images, which need not be a whole number of them: a mean over seeds."""
    square = _NORMAL**2 / images
    centre = (fraction + square / 2) / (1 + square)
    half_width = _NORMAL / (1 + square) * math.sqrt(fraction * (1 - fraction) / images + square / (4 * images))
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def mcnemar(only_before: int, only_after: int) -> float:
    """Return the exact two-sided p of McNemar's test, from the images that only one of two networks has right."""
    from scipy.stats import binomtest

    flipped = only_before + only_after
    return float(binomtest(only_before, flipped, 0.5).pvalue) if flipped else 1.0
