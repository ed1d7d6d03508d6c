"""Intervals of macro averages: next to images drawn one by one, and in simulated test splits."""

import numpy as np
import pytest

from deepnets.comparison.macro_intervals import macro_intervals
from deepnets.evaluation.metrics import NO_PREDICTION, f1_macro, precision_macro, recall_macro, scores_of_counts

CLASSES, STUDIES = 10, 2000


def predictions(n: int, classes: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Predict n images of which a share is right, some of the others by chance: (predicted, labels)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    return np.where(rng.random(n) < right, labels, rng.integers(0, classes, n)), labels


def test_with_many_errors_they_are_those_of_images_that_are_drawn_one_by_one():
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


@pytest.mark.parametrize(("images", "accuracy"), [(360, 0.75), (360, 0.95), (360, 0.986), (10_000, 0.986)])
@pytest.mark.parametrize("shares", [np.ones(CLASSES), np.linspace(1, 3, CLASSES)], ids=["balanced", "imbalanced"])
def test_intervals_hold_the_truth(images, accuracy, shares):
    """Classes differ in how many of their images are right, and in how the others are predicted."""
    rng = np.random.default_rng(2)
    wrong = rng.dirichlet(np.full(CLASSES, 0.5), CLASSES) * (1 - np.eye(CLASSES))
    errors = (1 - accuracy) * np.linspace(0.5, 1.5, CLASSES)
    cells = np.diag(1 - errors) + errors[:, None] * wrong / wrong.sum(1, keepdims=True)
    cells = (cells * shares[:, None] / shares.sum()).ravel()
    matrix = cells.reshape(CLASSES, CLASSES)
    scores = (each.mean() for each in scores_of_counts(matrix.diagonal(), matrix.sum(0), matrix.sum(1)))
    truth = dict(zip(("precision_macro", "recall_macro", "f1_macro"), scores, strict=True))
    covered = dict.fromkeys(truth, 0)
    for counts in rng.multinomial(images, cells, STUDIES):
        labels, predicted = np.divmod(np.repeat(np.arange(CLASSES**2), counts), CLASSES)
        found = macro_intervals(predicted, labels, CLASSES)
        for name, value in truth.items():
            covered[name] += found[name][0] <= value <= found[name][1]
    assert all(0.92 <= number / STUDIES <= 0.98 for number in covered.values()), covered


def test_a_class_without_images_has_the_scores_0_and_is_left_out_of_balanced_accuracy():
    labels = np.array([0] * 50 + [1] * 50 + [2])
    predicted = labels.copy()
    predicted[:2] = 1
    found = macro_intervals(predicted, labels, 4)
    assert found["recall_macro"] == pytest.approx(tuple(0.75 * bound for bound in found["balanced_accuracy"]))
    assert found["balanced_accuracy"][0] < (0.96 + 1 + 1) / 3 < found["balanced_accuracy"][1] <= 1


def test_where_all_images_are_right_the_interval_is_that_of_as_many_images():
    labels = np.arange(360) % 10
    for low, high in macro_intervals(labels, labels, 10).values():
        assert (low, high) == pytest.approx((360 / (360 + 1.96**2), 1), abs=1e-4)
