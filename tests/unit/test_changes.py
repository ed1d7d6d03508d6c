"""How a metric moved between two states, and whether by more than its noise."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from deepnets.comparison.changes import (
    DRAWS,
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
from deepnets.evaluation.metrics import METRICS, losses, predicted_classes

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
    right = [predicted_classes(each) == LABELS for each in (after, before)]
    assert found["accuracy"] == (compare_networks(*right).ci95, SAME_IMAGES)


def resampled(network: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The metrics of RESAMPLED in many draws at once, (draws, metrics); `weights`: how often each image counts in each.

    So 5,000 studies take seconds; `paired_intervals` takes one draw after the other, which needs less memory.
    """
    classes, predicted = np.eye(CLASSES), predicted_classes(network)
    right = weights @ (classes[LABELS] * (predicted == LABELS)[:, None])
    images, named = weights @ classes[LABELS], weights @ classes[predicted]
    recall, f1 = right / images, 2 * right / (images + named)
    precision = right / np.maximum(named, 1)
    loss = weights @ losses(network, LABELS) / len(LABELS)
    return np.stack([loss, *(score.mean(1) for score in (recall, precision, recall, f1))], axis=1)


def test_of_equal_networks_few_metrics_move():
    rng = np.random.default_rng(0)  # the draws of `paired_intervals`, which are the same in each study
    images = len(LABELS)
    weights = np.stack([np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(DRAWS)])
    names, studies = ("accuracy", *RESAMPLED), 5000
    moved = np.zeros(len(names))
    for study in range(studies):
        shared, before, after = np.random.default_rng([1, study]).normal(size=(3, images, CLASSES))
        before, after = (1.5 * np.eye(CLASSES)[LABELS] + shared + own for own in (before, after))
        changes = resampled(after, weights.astype(float)) - resampled(before, weights.astype(float))
        bounds = np.quantile(changes, [0.025, 0.975], axis=0).T
        accuracy = compare_networks(*(predicted_classes(each) == LABELS for each in (after, before))).ci95
        intervals = dict(zip(names, [accuracy, *bounds], strict=True))
        if study < 3:
            for name, (interval, _) in paired_intervals([Predicted(before, after, LABELS)]).items():
                assert interval == pytest.approx(intervals[name]), name
        moved += [not low <= 0 <= high for low, high in intervals.values()]
    noise = 2 * np.sqrt(0.06 * 0.94 / studies)
    assert (moved / studies <= 0.06 + noise).all(), dict(zip(names, moved, strict=True))
    assert (moved / studies >= 0.02).all(), dict(zip(names, moved, strict=True))


def test_several_seeds_are_paired_so_that_their_own_spread_does_not_count():
    seeds = [
        Predicted(logits(skill, seed, 0), logits(skill + 0.7, seed, 0), LABELS)
        for seed, skill in enumerate((0.4, 1.0, 1.6))
    ]
    for name, (interval, _) in paired_intervals(seeds).items():
        assert interval[1] < 0 if name == "loss" else interval[0] > 0, name
    spread = [
        Measured([float((predicted_classes(each) == LABELS).mean()) for each in side])
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
