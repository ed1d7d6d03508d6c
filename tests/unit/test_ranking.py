"""Letters for ties, and what would settle an open comparison."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepnets.comparison.crossed import Variance
from deepnets.comparison.paired import mcnemar
from deepnets.comparison.ranking import groups, letters
from deepnets.comparison.settle import settle_networks, settle_recipes
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


def test_smallest_difference_is_found_with_80_percent_power_by_simulation():
    images, discordant, alpha = 2000, 120, 0.05
    smallest = settle_networks(discordant // 2, discordant // 2, images, alpha).smallest_difference
    share, rng = (discordant + 1) / (images + 2), np.random.default_rng(0)
    chances = [(share + smallest) / 2, (share - smallest) / 2]
    drawn = rng.multinomial(images, [*chances, 1 - share], 20_000)
    assert (mcnemar(drawn[:, 0], drawn[:, 1]) < alpha).mean() == pytest.approx(0.8, abs=0.04)


def test_as_many_images_as_are_asked_for_find_the_difference_seen():
    asked = settle_networks(9, 5, 360, 0.05).images
    share, difference, rng = 15 / 362, 4 / 360, np.random.default_rng(0)
    drawn = rng.multinomial(asked, [(share + difference) / 2, (share - difference) / 2, 1 - share], 20_000)
    assert (mcnemar(drawn[:, 0], drawn[:, 1]) < 0.05).mean() == pytest.approx(0.8, abs=0.04)
    assert asked > 360


def test_no_number_of_images_shows_a_difference_of_0():
    found = settle_networks(4, 4, 360, 0.05)
    assert (found.images, found.seeds) == (None, None)
    assert 0 < found.smallest_difference < 0.1


def variance(mean, of_seeds, of_images, of_residual, seeds, images):
    parts = of_seeds / seeds, of_images / images, of_residual / (seeds * images)
    return Variance(*map(np.float64, (mean, sum(parts), seeds - 1, seeds - 1, of_seeds, of_images, of_residual)))


def test_more_seeds_settle_what_seeds_leave_open_and_images_what_images_do():
    by_seeds = settle_recipes(variance(0.01, 1e-4, 0.001, 0.01, 3, 10_000), 3, 10_000, 0.05)
    assert by_seeds.images is None
    assert 8 <= by_seeds.seeds <= 12
    by_images = settle_recipes(variance(0.01, 1e-9, 0.05, 0.001, 3, 360), 3, 360, 0.05)
    assert by_images.seeds is None
    assert by_images.images > 360
    assert settle_recipes(variance(0.0, 1e-4, 0.05, 0.001, 3, 360), 3, 360, 0.05).images is None


def test_expected_best_of_trials_is_the_mean_over_all_draws_without_replacement():
    values = [0.3, 0.9, 0.5, 0.5, 0.7]
    expected = [np.mean([max(drawn) for drawn in itertools.combinations(values, k)]) for k in range(1, 6)]
    assert expected_best(values) == pytest.approx(expected)
    assert expected_best(np.linspace(0, 1, 1000))[-1] == pytest.approx(1)
