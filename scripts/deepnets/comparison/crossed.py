"""The variance of a mean over seeds and images: two crossed random effects.

Another seed would train another network, and another test set would have other images, so both are random draws. Each
network sees the same images, so its errors on an image resemble those of the next seed. An interval over the seeds
alone, or over the images alone, leaves out one of the two; Bouthillier et al. 2021 (arXiv 2103.03098) and Jordan 2023
(arXiv 2304.01910) show how large each can be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri

Floats = NDArray[np.float64]
# The level of the preliminary test (Bancroft 1944, Annals of Mathematical Statistics 15). In 20,000 simulated studies
# with 360 images, intervals cover 91.7 to 97.8 % by 0.25, 92.5 to 97.9 % by 0.3, 93.5 to 98.1 % if any excess counts.
POOLED_ABOVE = 0.3


class Variance(NamedTuple):
    """The variance of a mean over S seeds and n images, or of a difference of two; with the values' leading shape.

    Attributes:
        mean: over seeds and images, or the difference of two means.
        value: its variance.
        freedom: Satterthwaite's degrees of freedom of `value`.
        interval_value, interval_freedom: the same two for a 95 % interval of a difference; those of the images alone
            where a preliminary test (`POOLED_ABOVE`) does not find that the seeds differ by more than chance in the
            images makes them differ. Simulated with 3 and 5 seeds, t intervals by these two cover 92.4 to 97.9 %, by
            `value` and `freedom` up to 98.7 %; with 2 seeds, 88 to 97 %. Holm's correction asks for quantiles far out,
            where `value` and `freedom` are needed. With unequal numbers of seeds, the quantile is approximate.
        of_seeds, of_images, of_residual: components of one observation: a seed's, an image's, and what is left for a
            single (seed, image). Those of seeds and what is left are (..., 1), or (..., 2) for the two of a difference.
    """

    mean: Floats
    value: Floats
    freedom: Floats
    interval_value: Floats
    interval_freedom: Floats
    of_seeds: Floats
    of_images: Floats
    of_residual: Floats


class _Table(NamedTuple):
    """A table of seeds and images in short: means, and the variances that they are estimated by."""

    seeds: int
    mean: Floats
    of_images: Floats
    between_seeds: Floats
    residual: Floats


def _read(values: ArrayLike) -> _Table:
    x = np.asarray(values, dtype=np.float64)
    seeds, images = x.shape[-2:]
    mean, of_images = x.mean((-2, -1)), x.mean(-2)
    between_seeds = x.mean(-1).var(-1, ddof=1)
    squares = np.einsum("...si,...si->...", x, x) - seeds * images * mean**2
    squares -= images * (seeds - 1) * between_seeds + seeds * images * of_images.var(-1)
    residual = np.maximum(squares, 0) / ((seeds - 1) * max(images - 1, 1))
    return _Table(seeds, mean, of_images, between_seeds, residual)


def crossed_variance(values: ArrayLike) -> Variance:
    """Estimate the variance of the mean of observations by two or more seeds on the same images.

    variance = (between seeds)/S + (between images)/n - (interaction)/(S n), never below (between images)/n: the first
    two are variances of the seeds' and of the images' means (Searle, Casella and McCulloch 1992, Variance Components).
    Satterthwaite 1946 (Biometrics Bulletin 2) gives the degrees of freedom.

    Args:
        values: (..., S, n), S at least 2.
    """
    table = _read(values)
    return _combined([table], table.mean, table.of_images, least=0.0)


def difference_variance(a: ArrayLike, b: ArrayLike) -> Variance:
    """Estimate the variance of the difference of two means over seeds, on the same images.

    As for one mean, but with the seeds of both, which are independent draws: seed 0 of one network has nothing in
    common with seed 0 of another. The images are shared, so their part is that of the differences. The variance is
    never below that of one discordant image on each side: where all runs agree on all images, further images might
    show one (compare the rule of three).

    Args:
        a, b: (..., S, n) and (..., T, n); S and T at least 2.
    """
    tables = _read(a), _read(b)
    images = tables[0].of_images.shape[-1]
    of_images = tables[0].of_images - tables[1].of_images
    return _combined(tables, tables[0].mean - tables[1].mean, of_images, least_of_difference(images))


def least_of_difference(images: int) -> float:
    """Return the variance of a difference with one discordant image on each side."""
    return 2 / images**2


def _combined(tables: Sequence[_Table], mean: Floats, of_images: Floats, least: float) -> Variance:
    """Return the variance of `mean`, which has the images' means `of_images`, (..., n), and is a sum over `tables`."""
    images = of_images.shape[-1]
    seeds = np.array([table.seeds for table in tables])
    between = np.stack([table.between_seeds for table in tables], axis=-1)
    residual = np.stack([table.residual for table in tables], axis=-1)
    free = max(images - 1, 1)  # degrees of freedom; one image alone shows nothing of the others
    by_seeds, by_images, noise = between / seeds, of_images.var(-1) / free, residual / (seeds * images)
    value, freedom = summed(by_seeds, by_images, noise, seeds - 1, free, least)
    degrees = (seeds - 1).sum()
    differ = by_seeds.sum(-1) > fdtri(degrees, degrees * free, 1 - POOLED_ABOVE) * noise.sum(-1)
    return Variance(
        mean,
        value,
        freedom,
        np.where(differ, value, np.maximum(by_images, least)),
        np.where(differ, freedom, free),
        np.maximum(between - residual / images, 0),
        np.maximum(images * (by_images - noise.sum(-1)), 0),
        residual,
    )


def summed(
    by_seeds: Floats, by_images: Floats, noise: Floats, of_seeds: NDArray[np.int64] | int, of_images: int, least: float
) -> tuple[Floats, Floats]:
    """Return the variance that is the sum of three parts, and Satterthwaite's degrees of freedom, each (...).

    Args:
        by_seeds, noise: the parts of seeds and interaction, (..., 1) of a mean, (..., 2) of a difference.
        by_images: the part of the images, (...).
        of_seeds: degrees of freedom of the seeds, (1,), (2,) or one for both.
        of_images: those of the images.
        least: what the variance is at least.
    """
    value = np.maximum(np.maximum(by_seeds.sum(-1) + by_images - noise.sum(-1), by_images), least)
    spread = by_images**2 / of_images + ((by_seeds**2 + noise**2 / of_images) / of_seeds).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return value, np.clip(np.where(spread > 0, value**2 / spread, of_images), 1, of_images)
