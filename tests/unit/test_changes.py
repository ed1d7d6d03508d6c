"""How a metric moved between two states, and whether by more than its noise."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from deepnets.comparison.changes import IMAGES, SEEDS, Measured, change, mcnemar


def test_interval_of_two_fractions_of_images_is_newcombes():
    # His example (a) of table II: 56 of 70 and 48 of 80, method 10.
    found = change(Measured([48 / 80], 80), Measured([56 / 70], 70))
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert (found.moved, found.noise) == (True, IMAGES)


def test_equal_networks_move_in_about_one_of_twenty_studies():
    rng = np.random.default_rng(0)
    draws = rng.binomial(360, 0.95, (2000, 2)) / 360
    moved = sum(change(Measured([old], 360), Measured([new], 360)).moved for old, new in draws)
    assert 0.02 < moved / 2000 < 0.06


def test_interval_over_seeds_is_students_with_one_variance():
    old, new = [0.31, 0.35, 0.30], [0.22, 0.21]
    found = change(Measured(old), Measured(new))
    expected = ttest_ind(new, old).confidence_interval()
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (found.moved, found.noise) == (True, SEEDS)


def test_one_run_is_compared_with_the_spread_of_the_others():
    assert change(Measured([0.30, 0.32, 0.31]), Measured([0.90])).moved
    assert not change(Measured([0.30, 0.32, 0.31]), Measured([0.33])).moved


def test_seeds_that_agree_by_chance_are_no_more_certain_than_their_images():
    found = change(Measured([0.95, 0.95], 360), Measured([0.96, 0.96], 360))
    assert (found.moved, found.noise) == (False, IMAGES)
    assert not change(Measured([0.5, 0.5]), Measured([0.6, 0.6])).moved, "nothing shows how much it varies"


def test_one_loss_on_each_side_is_not_judged():
    found = change(Measured([0.2]), Measured([0.9]))
    assert (found.interval, found.moved, found.noise) == (None, False, "")


def test_mcnemar_is_the_exact_test_of_the_images_that_only_one_has_right():
    assert mcnemar(38, 15) == pytest.approx(0.0022, abs=1e-4)
    assert mcnemar(0, 0) == 1.0
