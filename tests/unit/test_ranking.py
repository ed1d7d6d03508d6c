"""Letters for those that cannot be distinguished, and what would settle an open comparison."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepnets.comparison.crossed import Variance, difference_variance
from deepnets.comparison.folds import fold_variance
from deepnets.comparison.paired import mcnemar, t_probability
from deepnets.comparison.ranking import groups, letters
from deepnets.comparison.settle import _first, settle_folds, settle_networks, settle_recipes
from deepnets.comparison.sweeps import expected_best


def matrix(number, *pairs):
    different = np.zeros((number, number), bool)
    for a, b in pairs:
        different[a, b] = different[b, a] = True
    return different


def test_letters_of_a_clear_order_a_tie_and_a_chain():
    assert letters(matrix(3, (0, 1), (0, 2), (1, 2))) == ["a", "b", "c"]
    assert letters(matrix(3)) == ["a", "a", "a"]
    assert letters(matrix(3, (0, 2))) == ["a", "ab", "b"]
    assert letters(matrix(1)) == ["a"]


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.sampled_from([*itertools.product(range(n), repeat=2)])))
    )
)
def test_two_share_a_letter_unless_they_differ(drawn):
    number, pairs = drawn
    different = matrix(number, *((a, b) for a, b in pairs if a != b))
    found = letters(different)
    for a, b in itertools.combinations(range(number), 2):
        assert bool(set(found[a]) & set(found[b])) != different[a, b]
    sets = list(map(set, groups(different)))
    assert all(found)
    assert not any(one < other for one in sets for other in sets)


def power_of_mcnemar(images, share, difference):
    """The share of simulated test splits in which the test finds a difference; a `share` of images is discordant."""
    chances = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    drawn = np.random.default_rng(0).multinomial(images, chances, 20_000)
    return (mcnemar(drawn[:, 0], drawn[:, 1]) < 0.05).mean()


def test_smallest_difference_is_found_with_80_percent_power_by_simulation():
    smallest = settle_networks(60, 60, 2000, 0.05).smallest_difference
    assert power_of_mcnemar(2000, (120 + 1) / (2000 + 2), smallest) == pytest.approx(0.8, abs=0.04)


def test_as_many_images_as_are_asked_for_find_the_difference_seen():
    asked = settle_networks(9, 5, 360, 0.05).images
    assert power_of_mcnemar(asked, (14 + 1) / (360 + 2), 4 / 360) == pytest.approx(0.8, abs=0.04)
    assert asked > 360


def test_no_number_of_images_shows_a_difference_of_0():
    found = settle_networks(4, 4, 360, 0.05)
    assert (found.images, found.seeds) == (None, None)
    assert 0 < found.smallest_difference < 0.1


def test_too_few_images_seeds_or_folds_show_no_difference_however_large():
    assert settle_networks(1, 0, 5, 0.05 / 6).smallest_difference is None
    assert settle_recipes(variance(0.1, (0.1, 0.1), 0.1, (0.1, 0.1)), 2, 20, 0.05 / 6).smallest_difference is None
    values = np.random.default_rng(0).choice([-1.0, 1.0, *[0.0] * 18], 150)  # 10 % of the images are discordant
    assert settle_folds(fold_variance(values, np.repeat([0, 1], 75)), 2, 0.05 / 6).smallest_difference is None
    assert settle_folds(fold_variance(values, np.arange(150) % 5), 5, 0.05 / 6).smallest_difference < 0.5


SEEDS, IMAGES = 3, 360


def variance(mean, of_seeds, of_images, of_residual):
    """What many studies show of a difference; the first recipe's seeds spread by `of_seeds[0]`."""
    components = (np.asarray(each, dtype=float) for each in (of_seeds, of_images, of_residual))
    return Variance(np.float64(mean), *[np.zeros(())] * 4, *components)


def power(found, seeds, images, alpha, studies=2000):
    """The share of simulated studies in which the t test finds the difference, whose components are known."""
    rng, significant = np.random.default_rng(0), 0
    each = max(1, 10**7 // (seeds * images))
    for start in range(0, studies, each):
        size = min(each, studies - start)
        of_image = np.sqrt(found.of_images) * rng.standard_normal((size, 1, images), np.float32)
        a, b = (
            np.sqrt(of_seed) * rng.standard_normal((size, seeds, 1), np.float32)
            + np.sqrt(of_residual) * rng.standard_normal((size, seeds, images), np.float32)
            for of_seed, of_residual in zip(found.of_seeds, found.of_residual, strict=True)
        )
        significant += (t_probability(difference_variance(found.mean + of_image + a, b)) < alpha).sum()
    return significant / studies


# Whose difference is seen among images that matter more, or among seeds that do, alike for both or for one alone.
BY_IMAGES = [(0.025, (1e-5, 1e-5), 0.02, (0.02, 0.02)), (0.01, (1e-6, 1e-6), 0.02, (0.01, 0.01))]
BY_SEEDS = [(0.03, (4e-4, 4e-4), 0.01, (0.01, 0.01)), (0.03, (9e-4, 0), 0.01, (0.01, 0.01))]


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("of", [*BY_IMAGES, *BY_SEEDS])
def test_smallest_difference_of_recipes_is_found_with_80_percent_power_by_simulation(of, alpha):
    found = variance(*of)
    smallest = settle_recipes(found, SEEDS, IMAGES, alpha).smallest_difference
    assert power(found._replace(mean=smallest), SEEDS, IMAGES, alpha) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("of", BY_IMAGES)
def test_as_many_images_as_are_asked_for_find_the_difference_of_recipes(of, alpha):
    found = variance(*of)
    asked = settle_recipes(found, SEEDS, IMAGES, alpha).images
    assert power(found, SEEDS, asked, alpha) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("of", BY_SEEDS)
def test_as_many_seeds_as_are_asked_for_find_the_difference_of_recipes(of, alpha):
    found = variance(*of)
    asked = settle_recipes(found, SEEDS, IMAGES, alpha).seeds
    assert power(found, asked, IMAGES, alpha) == pytest.approx(0.8, abs=0.04)
    assert power(found, asked - 2, IMAGES, alpha) < 0.8


def test_images_do_not_settle_what_seeds_leave_open_nor_seeds_what_images_do():
    assert settle_recipes(variance(0.005, (1e-4, 1e-4), 0.001, (0.01, 0.01)), SEEDS, IMAGES, 0.05).images is None
    assert settle_recipes(variance(0.01, (1e-9, 0), 0.05, (0.001, 0)), SEEDS, IMAGES, 0.05).seeds is None
    nothing = settle_recipes(variance(0.0, (1e-4, 0), 0.05, (0.001, 0)), SEEDS, IMAGES, 0.05)
    assert (nothing.images, nothing.seeds) == (None, None)


@pytest.mark.parametrize(("low", "high"), [(1, 10), (4, 1000), (999, 1000)])
def test_as_many_as_may_be_asked_for_are_tried_and_no_more(low, high):
    last = [low, high - 1, high]
    assert [_first(lambda number, enough=enough: number >= enough, low, high) for enough in last] == last
    tried = []
    assert _first(tried.append, low, high) is None
    assert tried == sorted(set(tried))
    assert (tried[0], tried[-1]) == (low, high)
    assert _first(lambda _: True, high + 1, high) is None


def test_with_folds_images_are_asked_for_and_not_more_folds_of_the_same_images():
    rng, folds = np.random.default_rng(0), np.repeat(np.arange(5), 40)
    alike = fold_variance(rng.choice([-1.0, 0, 0, 0, 0, 1], 200) + 0.05, folds)
    found = settle_folds(alike, 5, 0.05)
    assert found.seeds is None
    assert found.images > 200
    apart = fold_variance(np.array([0.5, -0.4, 0.5, -0.4, 0.0])[folds], folds)
    assert settle_folds(apart, 5, 0.05).images is None
    assert settle_folds(apart, 5, 0.05).smallest_difference > 0.4


def test_expected_best_of_trials_is_the_mean_over_all_draws_without_replacement():
    values = [0.3, 0.9, 0.5, 0.5, 0.7]
    expected = [np.mean([max(drawn) for drawn in itertools.combinations(values, k)]) for k in range(1, 6)]
    assert expected_best(values) == pytest.approx(expected)
    assert expected_best(np.linspace(0, 1, 1000))[-1] == pytest.approx(1)
