"""Paired tests of two networks or recipes: next to other implementations, and at their limits."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests

from deepnets.comparison.paired import (
    Difference,
    bootstrap_interval,
    compare_networks,
    compare_recipes,
    holm,
    mcnemar,
    probability_better,
    verdict,
)


def pair(a_only, b_only, images):
    """Two networks that have the other images right, both."""
    place = np.arange(images)
    return (place >= b_only), (place < b_only) | (place >= a_only + b_only)


@pytest.mark.parametrize(("a_only", "b_only"), [(38, 15), (9, 5), (1, 0), (0, 0), (7, 7), (0, 30), (900, 1010)])
def test_mcnemar_is_exact(a_only, b_only):
    other = mcnemar_of_statsmodels([[100, a_only], [b_only, 9]], exact=True).pvalue if a_only + b_only else 1
    assert mcnemar(a_only, b_only) == pytest.approx(min(1, other))
    if a_only + b_only:
        assert mcnemar(a_only, b_only) == pytest.approx(binomtest(a_only, a_only + b_only).pvalue)


def test_38_and_15_discordant_images_are_a_difference():
    found = compare_networks(*pair(38, 15, 360))
    assert found.counts == (38, 15)
    assert found.p == pytest.approx(0.0022, abs=1e-4)
    assert found.value == pytest.approx(23 / 360)
    assert found.ci95[0] > 0


@pytest.mark.parametrize(("a_only", "b_only", "images"), [(38, 15, 360), (3, 9, 120), (250, 210, 10_000)])
def test_bootstrap_is_what_drawing_images_with_replacement_gives(a_only, b_only, images):
    rng = np.random.default_rng(0)
    p, q = (a_only + 0.5) / (images + 2), (b_only + 0.5) / (images + 2)
    draws = rng.multinomial(images, [p, q, 1 - p - q], 100_000)
    for level in (0.9, 0.95):
        expected = np.quantile((draws[:, 0] - draws[:, 1]) / images, [(1 - level) / 2, (1 + level) / 2])
        assert bootstrap_interval(a_only, b_only, images, level) == pytest.approx(expected, abs=1.01 / images)


def test_networks_without_a_discordant_image_are_not_known_to_be_equal():
    low, high = bootstrap_interval(0, 0, 360, 0.95)
    assert low < 0 < high
    assert verdict(compare_networks(*pair(0, 0, 100)), 1.0, 0.005) == "open"
    assert verdict(compare_networks(*pair(0, 0, 10_000)), 1.0, 0.005) == "equivalent"
    runs = np.ones((3, 100), bool)
    found = compare_recipes(runs, runs)
    assert (found.p, found.value) == (1, 0)
    assert found.ci95[0] < 0 < found.ci95[1]


def test_where_seeds_matter_alone_the_test_is_welchs_on_their_accuracies():
    """With enough images that their own noise is small next to that of the seeds."""
    rng = np.random.default_rng(0)
    a = rng.random((4, 100_000)) < np.array([[0.5], [0.6], [0.7], [0.8]])
    b = rng.random((3, 100_000)) < np.array([[0.45], [0.4], [0.5]])
    expected = ttest_ind(a.mean(1), b.mean(1), equal_var=False)
    found = compare_recipes(a, b)
    assert found.p == pytest.approx(expected.pvalue, rel=0.02)
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval()), abs=0.002)


def test_where_images_matter_alone_the_test_is_students_on_their_differences():
    """All seeds of a network are the same network."""
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.8, rng.random(400) < 0.7
    expected = ttest_rel(a.astype(float), b.astype(float))
    found = compare_recipes(np.stack([a] * 3), np.stack([b] * 3))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(number):
    p = np.random.default_rng(number).random(number) ** 4
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]).shape == (0,)


def test_a_run_of_a_beats_one_of_b_as_often_as_pairs_of_runs_show():
    a, b = np.array([0.9, 0.8]), np.array([0.8, 0.7, 0.95])
    pairs = list(itertools.product(a, b))
    expected = np.mean([1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs])
    assert probability_better(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "ci90", "p", "expected"),
    [
        (0.02, (0.01, 0.03), 0.01, "a"),
        (-0.02, (-0.03, -0.01), 0.01, "b"),
        (0.001, (-0.003, 0.004), 0.5, "equivalent"),
        (0.001, (-0.003, 0.006), 0.5, "open"),
        (0.02, (0.01, 0.03), 0.06, "open"),
    ],
)
def test_a_verdict_is_a_difference_an_equivalence_within_the_margin_or_open(value, ci90, p, expected):
    assert verdict(Difference(value, ci90, ci90, p), p, 0.005) == expected
