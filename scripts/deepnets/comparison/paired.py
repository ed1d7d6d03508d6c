"""Two networks, or two recipes, on the same test images: difference, interval, test and verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr
from scipy.stats import t

from deepnets.comparison.crossed import Floats, Variance, difference_variance

Right = NDArray[np.bool_]
Verdict = Literal["a", "b", "equivalent", "open"]
ALPHA = 0.05  # a difference is called one where its corrected probability is below


@dataclass(frozen=True)
class Difference:
    """The accuracy of A minus that of B, both on the same images.

    Attributes:
        value: a fraction; 0.01 is one percentage point.
        ci95, ci90: its intervals.
        p: the probability of a difference this large between equals.
        counts: the images that only A, and only B, has right; None for several seeds.
        variance: of `value` for several seeds; None for one.
    """

    value: float
    ci95: tuple[float, float]
    ci90: tuple[float, float]
    p: float
    counts: tuple[int, int] | None = None
    variance: Variance | None = None


def mcnemar(a_only: ArrayLike, b_only: ArrayLike) -> Floats:
    """Return the exact two-sided probability of McNemar's test: of discordant images split this unevenly or more.

    McNemar 1947 (Psychometrika 12); Dietterich 1998 (Neural Computation 10) compares it with other tests of
    classifiers. It is the binomial test of a half; 1 where no image is discordant.
    """
    fewer, all_ = np.minimum(a_only, b_only), np.add(a_only, b_only)
    return np.minimum(1.0, 2 * bdtr(fewer, all_, 0.5))


def bootstrap_interval(a_only: int, b_only: int, images: int, level: float) -> tuple[float, float]:
    """Return the percentile interval of a paired bootstrap over images of the difference of two accuracies.

    Drawing images with replacement makes the counts of discordant images multinomial, so the difference's distribution
    over all draws is a convolution: it is computed by a Fourier transform, without noise of drawing. Each count has
    half an image more, or else two networks with no discordant image would differ by exactly 0 in every draw
    (Agresti and Min 2005, Statistics in Medicine 24).
    """
    p, q = (a_only + 0.5) / (images + 2), (b_only + 0.5) / (images + 2)
    middle, spread = images * (p - q), np.sqrt(images * (p + q))
    size = 2 ** int(np.ceil(np.log2(min(2 * images + 1, 24 * spread + 64))))  # what is beyond has no weight
    angles = 2 * np.pi * np.fft.rfftfreq(size)
    one = 1 - p - q + p * np.exp(-1j * angles) + q * np.exp(1j * angles)
    weights = np.fft.irfft(one**images, size)
    first = round(middle) - size // 2
    cumulated = np.cumsum(np.roll(weights, -(first % size)))
    low, high = np.searchsorted(cumulated, [(1 - level) / 2, (1 + level) / 2])
    return max(-1.0, (first + int(low)) / images), min(1.0, (first + int(high)) / images)


def compare_networks(a: Right, b: Right) -> Difference:
    """Compare two trained networks: exact McNemar and a paired bootstrap. It says nothing about other seeds.

    Args:
        a, b: (n,): whether each has the image right.
    """
    a_only, b_only, images = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    ci95, ci90 = (bootstrap_interval(a_only, b_only, images, level) for level in (0.95, 0.9))
    p = float(mcnemar(a_only, b_only))
    return Difference((a_only - b_only) / images, ci95, ci90, p, counts=(a_only, b_only))


def t_probability(variance: Variance) -> Floats:
    """Return the two-sided probability of the t test that a difference is 0."""
    return 2 * t.sf(np.abs(variance.mean) / np.sqrt(variance.value), variance.freedom)


def t_interval(variance: Variance) -> tuple[Floats, Floats]:
    """Return the 95 % interval of a difference, cut to -1 and 1.

    It may leave out 0 where `t_probability` is a little above 5 %: see `Variance.interval_value`.
    """
    return _t_interval(variance.mean, variance.interval_value, variance.interval_freedom, 0.95)


def equivalence_interval(variance: Variance) -> tuple[Floats, Floats]:
    """Return the 90 % interval of a difference by variance and freedom of the test: it decides, as the test does."""
    return _t_interval(variance.mean, variance.value, variance.freedom, 0.9)


def _t_interval(mean: Floats, value: Floats, freedom: Floats, level: float) -> tuple[Floats, Floats]:
    half = t.ppf((1 + level) / 2, freedom) * np.sqrt(value)
    return np.maximum(-1, mean - half), np.minimum(1, mean + half)


def compare_recipes(a: Right, b: Right) -> Difference:
    """Compare two recipes over seeds and images; `a`: (S, n), `b`: (T, n), S and T at least 2."""
    return by_t_test(difference_variance(a, b))


def by_t_test(variance: Variance) -> Difference:
    """Return a difference of this variance with its intervals and its t test."""
    (low, high), (low90, high90) = t_interval(variance), equivalence_interval(variance)
    return Difference(
        float(variance.mean),
        (float(low), float(high)),
        (float(low90), float(high90)),
        float(t_probability(variance)),
        variance=variance,
    )


def probability_better(a: Floats, b: Floats) -> float:
    """Return the share of pairs of a run of A and one of B in which A's accuracy is higher; ties count half.

    Bouthillier et al. 2021, arXiv 2103.03098. `a`, `b`: accuracies of the runs, (S,) and (T,).
    """
    ahead = np.sign(np.subtract.outer(a, b))
    return float((1 + ahead.mean()) / 2)


def holm(probabilities: ArrayLike) -> Floats:
    """Return probabilities corrected for their number: Holm 1979 (Scandinavian Journal of Statistics 6)."""
    p = np.asarray(probabilities, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return corrected


def verdict(difference: Difference, p_holm: float, margin: float) -> Verdict:
    """Return what a comparison shows: which is better, that both are equivalent, or nothing yet ("open").

    Equivalent: the 90 % interval lies within the margin (two one-sided tests at 5 %, Schuirmann 1987). A test that
    finds nothing is no proof of equality.
    """
    if p_holm < ALPHA and difference.value:
        return "a" if difference.value > 0 else "b"
    within = all(abs(bound) < margin for bound in difference.ci90)
    return "equivalent" if within else "open"
