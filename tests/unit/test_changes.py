"""How a metric moved between two states, and whether by more than its noise."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from deepnets.comparison import changes
from deepnets.comparison.changes import (
    IMAGES,
    SAME_IMAGES,
    SAME_SEEDS,
    SEEDS,
    Measured,
    Predicted,
    change,
    paired_intervals,
)
from deepnets.comparison.paired import compare_networks
from deepnets.evaluation.metrics import METRICS, predict

CLASSES = 4
LABELS = np.arange(240) % CLASSES
RESAMPLED = ("loss", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro")


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


# -- of the same test images -------------------------------------------------------------------------------------------


def logits(skill: float, seed: int, shared: float = 1.0) -> np.ndarray:
    """Made-up logits; images that are hard for one network are hard for the others, too."""
    noise = shared * np.random.default_rng(99).normal(size=(len(LABELS), CLASSES))
    own = np.random.default_rng(seed).normal(size=noise.shape)
    return skill * np.eye(CLASSES)[LABELS] + noise + own


def test_intervals_of_one_seed_are_what_drawing_images_for_both_networks_gives():
    before, after = logits(1.0, 1), logits(1.8, 2)
    before[5] = np.nan  # no prediction
    found = paired_intervals([Predicted(before, after, LABELS)])
    assert set(found) == {"accuracy", *RESAMPLED} - {"loss"}, "a loss that is not finite has no interval"
    before[5] = 0
    found = paired_intervals([Predicted(before, after, LABELS)])
    rng = np.random.default_rng(1)
    draws = rng.integers(len(LABELS), size=(1000, len(LABELS)))
    for metric in (metric for metric in METRICS if metric.name in RESAMPLED):
        values = [
            metric.compute(after[each], LABELS[each]) - metric.compute(before[each], LABELS[each]) for each in draws
        ]
        (low, high), noise = found[metric.name]
        assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.15 * (high - low)), metric.name
        assert noise == SAME_IMAGES
    right = [predict(each) == LABELS for each in (after, before)]
    assert found["accuracy"] == (compare_networks(*right).ci95, SAME_IMAGES)


def test_of_equal_networks_few_metrics_move(monkeypatch):
    monkeypatch.setattr(changes, "DRAWS", 300)
    moved = np.zeros(len(RESAMPLED))
    for study in range(100):
        found = paired_intervals([Predicted(logits(1.5, 2 * study), logits(1.5, 2 * study + 1), LABELS)])
        moved += [not found[name][0][0] <= 0 <= found[name][0][1] for name in RESAMPLED]
    assert (moved <= 11).all(), moved  # of 100; 95 % intervals leave out 0 in 5


def test_several_seeds_are_paired_so_that_their_own_spread_does_not_count():
    seeds = [
        Predicted(logits(skill, seed, 0), logits(skill + 0.7, seed, 0), LABELS)
        for seed, skill in enumerate((0.4, 1.0, 1.6))
    ]
    for name, (interval, _) in paired_intervals(seeds).items():
        assert interval[1] < 0 if name == "loss" else interval[0] > 0, name
    spread = [
        Measured([float((predict(each) == LABELS).mean()) for each in side])
        for side in zip(*((each.before, each.after) for each in seeds), strict=True)
    ]
    assert not change(*spread).moved


def test_seeds_that_move_apart_show_no_change_of_the_mean():
    skills = ((1.0, 2.5), (2.5, 1.0), (1.5, 1.6))
    seeds = [Predicted(logits(was, seed), logits(now, seed), LABELS) for seed, (was, now) in enumerate(skills)]
    for name, ((low, high), noise) in paired_intervals(seeds).items():
        assert low < 0 < high, name
        assert noise == SAME_SEEDS


def test_networks_with_the_same_predictions_have_not_moved():
    same = [Predicted(logits(1, seed), logits(1, seed), LABELS) for seed in range(3)]
    assert {name: interval for name, (interval, _) in paired_intervals(same).items()} == dict.fromkeys(
        RESAMPLED, (0, 0)
    )
