"""Intervals of accuracies: the formulas next to other implementations of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from deepnets.comparison.crossed import crossed_variance
from deepnets.comparison.intervals import (
    difference_interval,
    network_interval,
    recipe_interval,
    share_interval,
    wilson,
)


def table(seeds=3, images=40, seed=0):
    """Which of its images each seed has right; images differ in difficulty, seeds a little."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(seeds, images)) < 0.7 + rng.normal(size=images) + 0.2 * rng.normal(size=(seeds, 1))


@pytest.mark.parametrize(("correct", "images"), [(0, 5), (3, 7), (354, 360), (360, 360)])
def test_interval_of_one_network_is_wilsons(correct, images):
    right = np.arange(images) < correct
    expected = proportion_confint(correct, images, method="wilson")
    assert network_interval(right) == pytest.approx(expected, abs=1e-12)
    assert wilson(correct / images, images, norm.ppf(0.975)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [((9914, 10_000), (9893, 10_000)), ((56, 70), (48, 80)), ((360, 360), (3, 7))])
def test_interval_of_the_difference_of_two_shares_is_newcombes(a, b):
    of_a, of_b = ((right / images, share_interval(right / images, images)) for right, images in (a, b))
    expected = confint_proportions_2indep(*a, *b, method="newcomb", compare="diff")
    assert difference_interval(*of_a, *of_b) == pytest.approx(expected, abs=1e-12)


def test_components_of_variance_are_those_of_an_analysis_of_variance():
    right = table()
    seeds, images = right.shape
    long = pd.DataFrame(
        [(s, i, float(right[s, i])) for s in range(seeds) for i in range(images)], columns=["s", "i", "x"]
    )
    squares = anova_lm(ols("x ~ C(s) + C(i)", long).fit())
    mean_square = squares["sum_sq"] / squares["df"]
    variance = crossed_variance(right)
    assert variance.of_residual == pytest.approx(mean_square["Residual"])
    expected = (mean_square["C(s)"] - mean_square["Residual"]) / images
    assert variance.of_seeds == pytest.approx(max(0, expected))
    assert variance.of_images == pytest.approx((mean_square["C(i)"] - mean_square["Residual"]) / seeds)
    total = (mean_square["C(s)"] + mean_square["C(i)"] - mean_square["Residual"]) / (seeds * images)
    assert variance.value == pytest.approx(max(total, mean_square["C(i)"] / (seeds * images)))


def test_degrees_of_freedom_are_the_images_where_seeds_agree_and_the_seeds_where_they_differ():
    images = np.arange(400) % 5 > 0
    assert crossed_variance(np.stack([images, images, images])).freedom == pytest.approx(399)
    rng = np.random.default_rng(0)
    apart = rng.random((3, 4000)) < np.array([[0.2], [0.5], [0.9]])
    assert crossed_variance(apart).freedom == pytest.approx(2, abs=0.1)


def test_many_tables_at_once_have_the_variances_of_each():
    tables = np.stack([table(seed=seed) for seed in range(5)])
    for field, expected in zip(crossed_variance(tables), zip(*map(crossed_variance, tables), strict=True), strict=True):
        assert field == pytest.approx(np.array(expected))


@pytest.mark.parametrize("right", [np.ones((3, 50), bool), np.zeros((2, 50), bool), np.ones((2, 1), bool)])
def test_interval_of_networks_that_never_differ_is_that_of_one(right):
    low, high = recipe_interval(right)
    assert 0 <= low < high <= 1
    one = proportion_confint(right[0].sum(), right.shape[1], method="wilson")
    assert low <= one[0] + 1e-3
    assert high >= one[1] - 1e-3


def test_two_seeds_of_equal_accuracy_have_no_interval_of_width_zero():
    """Two seeds with 204 of 360 right, by chance the same number: an interval over seeds alone had no width."""
    rng = np.random.default_rng(0)
    right = np.stack([rng.permutation(np.arange(360) < 204) for _ in range(2)])
    low, high = recipe_interval(right)
    assert high - low > 0.05


def test_interval_holds_its_mean_and_stays_within_0_and_1():
    for seed in range(20):
        right = table(seeds=2, images=12, seed=seed)
        low, high = recipe_interval(right)
        assert 0 <= low <= right.mean() <= high <= 1
