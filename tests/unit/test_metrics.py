"""Metrics by hand on three classes, by independent formulas on random logits, and at their edges."""

import json
import math

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)

from deepnets.evaluation.metrics import (
    accuracy,
    average,
    basic_metrics,
    detailed_metrics,
    expected_calibration_error,
    predicted_classes,
    wilson_interval,
)

CLASSES = ["a", "b", "c"]
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def logits_of(predicted: np.ndarray, n_classes: int = 3, margin: float = 1.0) -> np.ndarray:
    """float32 (N, C): `margin` for the predicted class, 0 for the others."""
    return (margin * np.eye(n_classes)[predicted]).astype(np.float32)


def logits_of_confidence(*confidences: float) -> np.ndarray:
    """Two classes, the first with these probabilities."""
    odds = np.array(confidences) / (1 - np.array(confidences))
    return np.stack([np.log(odds), np.zeros(len(odds))], axis=1)


@pytest.fixture(scope="module")
def random_example() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(7, size=500)
    return (rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[labels]).astype(np.float32), labels


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_confusion_matrix_has_true_classes_in_rows():
    assert detailed_metrics(logits_of(PREDICTED), LABELS, CLASSES)["confusion_matrix"] == [
        [2, 1, 0],
        [0, 1, 1],
        [0, 0, 1],
    ]


def test_precision_recall_and_f1_of_each_class():
    per_class = detailed_metrics(logits_of(PREDICTED), LABELS, CLASSES)["per_class"]
    assert [(row["class"], row["n"]) for row in per_class] == [("a", 3), ("b", 2), ("c", 1)]
    assert [row["precision"] for row in per_class] == [1, 0.5, 0.5]
    assert [row["recall"] for row in per_class] == pytest.approx([2 / 3, 0.5, 1])
    assert [row["f1"] for row in per_class] == pytest.approx([0.8, 0.5, 2 / 3])


def test_macro_scores_are_unweighted_means_over_the_classes():
    values = detailed_metrics(logits_of(PREDICTED), LABELS, CLASSES)
    assert values["precision_macro"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert values["recall_macro"] == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert values["f1_macro"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_loss_and_accuracy_of_six_images():
    values = basic_metrics(logits_of(PREDICTED, margin=math.log(2)), LABELS, "validation")
    assert values["n"] == 6
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["loss"] == pytest.approx((4 * math.log(2) + 2 * math.log(4)) / 6)  # probabilities 1/2, 1/4, 1/4


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    logits = logits_of_confidence(0.9, 0.9, 0.7)  # two bins: one of two right at 0.9, one of one right at 0.7
    assert expected_calibration_error(logits, np.array([0, 1, 0])) == pytest.approx((2 * 0.4 + 0.3) / 3)


def test_calibration_error_of_certain_and_right_is_zero():
    assert expected_calibration_error(logits_of(LABELS, margin=1000), LABELS) == 0


def test_calibration_error_of_certain_and_wrong_is_one():
    assert expected_calibration_error(logits_of((LABELS + 1) % 3, margin=1000), LABELS) == 1


def test_certainty_shares_the_highest_bin():
    logits = np.array([[1000, 0], [np.log(99), 0]])  # confidences 1 and 0.99
    assert expected_calibration_error(logits, np.array([1, 0])) == pytest.approx((1 + 0.99 - 1) / 2)


def wilson(correct: int, n: int, z: float = 1.959963984540054) -> list[float]:
    p = correct / n
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return [(centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)]


@pytest.mark.parametrize(("correct", "n"), [(9860, 10_000), (355, 360), (1, 3), (0, 5), (5, 5)])
def test_interval_is_wilsons(correct, n):
    labels, predicted = np.zeros(n, int), np.repeat([0, 1], [correct, n - correct])
    interval = detailed_metrics(logits_of(predicted), labels, CLASSES)["accuracy_ci95"]
    assert interval == pytest.approx(wilson(correct, n), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 360, 9_999, 10_000])
def test_interval_and_accuracy_are_those_of_scipy_and_scikit_learn_to_the_last_digit(n):
    for correct in {*range(0, n + 1, max(1, n // 97)), n}:
        labels, predicted = np.zeros(n, int), np.repeat([0, 1], [correct, n - correct])
        logits = logits_of(predicted)
        assert accuracy(logits, labels) == accuracy_score(labels, predicted)
        assert wilson_interval(logits, labels) == list(binomtest(correct, n).proportion_ci(0.95, method="wilson"))


def test_scores_are_those_of_scikit_learn_to_the_last_digit():
    rng = np.random.default_rng(0)
    for _ in range(50):
        classes, n = rng.integers(2, 12), rng.integers(1, 300)
        labels, logits = rng.integers(classes, size=n), rng.normal(size=(n, classes)).astype(np.float32)
        logits[rng.random(n) < 0.1] = np.nan
        values, names = detailed_metrics(logits, labels, [str(number) for number in range(classes)]), np.arange(classes)
        found = [[row[key] for row in values["per_class"]] for key in ("precision", "recall", "f1", "n")]
        expected = precision_recall_fscore_support(labels, predicted_classes(logits), labels=names, zero_division=0.0)
        assert found == [column.tolist() for column in expected]
        assert values["confusion_matrix"] == confusion_matrix(labels, predicted_classes(logits), labels=names).tolist()


def test_interval_of_a_known_case():
    assert wilson(9860, 10_000) == pytest.approx([0.98350, 0.98812], abs=1e-5)


# -- by other formulas -----------------------------------------------------------------------------------------------


def test_accuracy_is_the_trace_of_the_confusion_matrix(random_example):
    values = detailed_metrics(*random_example, list("abcdefg"))
    matrix = np.array(values["confusion_matrix"])
    assert matrix.trace() / matrix.sum() == pytest.approx(values["accuracy"], abs=1e-15)
    assert [row["n"] for row in values["per_class"]] == matrix.sum(axis=1).tolist()


def test_values_equal_a_recomputation(random_example):
    logits, labels = random_example
    values, predicted = detailed_metrics(logits, labels, list("abcdefg")), logits.argmax(1)
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert values[f"{name}_macro"] == pytest.approx(score(labels, predicted, average="macro"), abs=1e-12)
        assert [row[name] for row in values["per_class"]] == pytest.approx(score(labels, predicted, average=None))
    wide = logits.astype(np.float64)
    loss = (logsumexp(wide, axis=1) - wide[np.arange(500), labels]).mean()
    assert values["loss"] == pytest.approx(loss, abs=1e-12)


def test_calibration_error_equals_a_loop_over_bins(random_example):
    logits, labels = random_example
    probabilities = np.exp(logits - logsumexp(logits.astype(np.float64), axis=1, keepdims=True))
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for number in range(15):
        here = (confidence >= number / 15) & (confidence < (number + 1) / 15)
        if here.any():
            error += here.mean() * abs(right[here].mean() - confidence[here].mean())
    assert expected_calibration_error(logits, labels) == pytest.approx(error, abs=1e-12)


def test_average_has_the_mean_of_the_probabilities(random_example):
    def probabilities(logits):
        return np.exp(logits - logsumexp(logits.astype(np.float64), axis=1, keepdims=True))

    first, second = random_example[0], 3 * random_example[0][::-1]
    mean = (probabilities(first) + probabilities(second)) / 2
    assert probabilities(average(first, second)) == pytest.approx(mean, abs=1e-12)


# -- at the edges ----------------------------------------------------------------------------------------------------


def test_class_that_is_never_predicted_has_zeros_and_no_nan():
    values = detailed_metrics(logits_of(np.zeros(6, int)), LABELS, CLASSES)
    assert [row["precision"] for row in values["per_class"]] == [0.5, 0, 0]
    assert [row["f1"] for row in values["per_class"]][1:] == [0, 0]
    assert json.dumps(values, allow_nan=False)


def test_class_without_images_keeps_its_row():
    values = detailed_metrics(logits_of(np.array([0, 2])), np.array([0, 0]), CLASSES)
    assert values["confusion_matrix"] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert [row["n"] for row in values["per_class"]] == [2, 0, 0]
    assert json.dumps(values, allow_nan=False)


def test_extreme_logits_have_a_finite_loss():
    assert math.isfinite(basic_metrics(logits_of(2 - LABELS, margin=1e30), LABELS, "train")["loss"])


@pytest.mark.parametrize("margin", [60, 200, 3e38])
def test_a_confident_mistake_costs_its_whole_margin(margin):
    assert basic_metrics(np.array([[margin, 0]], np.float32), np.array([1]), "train")["loss"] == np.float32(margin)


@pytest.mark.parametrize(
    "row",
    [[np.nan, 0, 0], [0, np.nan, 0], [np.inf, 0, 0], [0, 0, np.inf], [np.inf, -np.inf, 0], [-np.inf] * 3],
)
@pytest.mark.parametrize("label", [0, 1, 2])
def test_an_image_without_a_finite_softmax_counts_as_wrong(row, label):
    logits = np.array([row, [0, 0, 5]], np.float32)
    values = detailed_metrics(logits, np.array([label, 2]), CLASSES)
    assert (values["accuracy"], values["loss"]) == (0.5, None)
    assert np.array(values["confusion_matrix"]).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert values["per_class"][label]["n"] == 1 + (label == 2)
    assert 0 <= values["ece"] <= 1
    assert json.dumps(values, allow_nan=False)


@pytest.mark.parametrize("row", [[np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3])
def test_an_average_with_an_image_without_a_prediction_has_none(row):
    finite = np.array([[0, 1, 0]], np.float32)
    assert predicted_classes(average(np.array([row], np.float32), finite)).tolist() == [-1]


def test_a_class_that_is_ruled_out_has_an_infinite_loss_and_leaves_the_prediction():
    values = detailed_metrics(np.array([[-np.inf, 1, 0]] * 2, np.float32), np.array([0, 1]), CLASSES)
    assert (values["accuracy"], values["loss"]) == (0.5, None)
    assert values["confusion_matrix"] == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_a_class_that_is_ruled_out_rightly_costs_nothing():
    assert basic_metrics(np.array([[-np.inf, 0, 0]], np.float32), np.array([1]), "train")["loss"] == math.log(2)


@pytest.mark.parametrize(("rows", "labels"), [(5, LABELS), (0, LABELS[:0])], ids=["too few", "none"])
def test_logits_that_do_not_fit_their_labels_are_refused(rows, labels):
    with pytest.raises(ValueError, match=f"{rows} rows of logits for {len(labels)} labels"):
        basic_metrics(np.zeros((rows, 3), np.float32), labels, "train")
