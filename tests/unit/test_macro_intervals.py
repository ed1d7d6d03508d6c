"""Intervals of macro averages: those of images drawn one by one, and fast."""

import time

import numpy as np
import pytest

from deepnets.comparison.macro_intervals import macro_intervals
from deepnets.evaluation.metrics import NO_PREDICTION, f1_macro, precision_macro, recall_macro


def predictions(n: int, classes: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Predict n images of which a share is right, some of the others by chance: (predicted, labels)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    return np.where(rng.random(n) < right, labels, rng.integers(0, classes, n)), labels


def test_intervals_are_those_of_images_that_are_drawn_one_by_one():
    predicted, labels = predictions(400, 4, 0.7)
    predicted[:20] = NO_PREDICTION
    logits = np.where(predicted[:, None] == NO_PREDICTION, np.nan, np.eye(4)[predicted])
    rng, drawn = np.random.default_rng(1), []
    for _ in range(1000):
        rows = rng.integers(0, 400, 400)
        drawn.append([of(logits[rows], labels[rows]) for of in (precision_macro, recall_macro, f1_macro)])
    found = macro_intervals(predicted, labels, 4)
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    names = ["precision_macro", "recall_macro", "f1_macro"]
    assert np.array([found[name] for name in names]) == pytest.approx(expected, abs=0.008)
    assert found["balanced_accuracy"] == found["recall_macro"]
    assert macro_intervals(predicted, labels, 4) == found


def test_a_class_without_images_has_the_scores_0_and_one_that_a_resample_misses_is_left_out():
    labels = np.array([0] * 50 + [1] * 50 + [2])
    predicted = labels.copy()
    predicted[:2] = 1
    found = macro_intervals(predicted, labels, 4)
    assert found["recall_macro"][0] > 0.7  # three of four classes; nothing is lost where class 2 is not drawn
    assert found["recall_macro"][1] == 0.75
    assert found["balanced_accuracy"][1] == 1.0


def test_no_interval_where_all_images_are_right():
    labels = np.arange(10)
    assert macro_intervals(labels, labels, 10) == {}


def test_10_000_images_of_10_classes_take_less_than_two_seconds():
    predicted, labels = predictions(10_000, 10, 0.9)
    start = time.perf_counter()
    low, high = macro_intervals(predicted, labels, 10)["f1_macro"]
    assert time.perf_counter() - start < 2
    assert 0.005 < high - low < 0.02
