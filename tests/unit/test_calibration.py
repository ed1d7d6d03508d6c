"""How far probabilities can be believed, when to trust one answer, and what networks say together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mapie.classification import SplitConformalClassifier
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from deepnets.comparison.agreement import CONFIDENT, Agreement
from deepnets.comparison.calibration import (
    brier,
    calibration_error,
    reliability,
)
from deepnets.comparison.selective import (
    conformal_sets,
    conformal_threshold,
    risk_coverage,
    selective_accuracy,
)
from deepnets.evaluation.confidence import fit_temperature, probabilities_of
from deepnets.evaluation.metrics import expected_calibration_error


def drawn(images, classes=10, sharpness=3.0, seed=0):
    """Logits whose softmax is the true probability of each class, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = (sharpness * rng.normal(size=(images, classes))).astype(np.float32)
    cumulated = softmax(logits.astype(np.float64), axis=1).cumsum(1)
    return logits, np.minimum((rng.random((images, 1)) > cumulated).sum(1), classes - 1)


def confidence_and_right(logits, labels):
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return probabilities.max(1), probabilities.argmax(1) == labels


def test_brier_score_is_that_of_scikit_learn():
    logits, labels = drawn(500, classes=4)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    expected = brier_score_loss(labels, probabilities, labels=np.arange(4), scale_by_half=False)
    assert brier(probabilities, labels) == pytest.approx(expected)


def test_bins_hold_equally_many_images_and_images_of_one_confidence_stay_together():
    confidence, right = confidence_and_right(*drawn(1500))
    assert reliability(confidence, right).n.tolist() == [100] * 15
    tied = np.where(np.arange(1000) < 900, 1.0, 0.5 + np.arange(1000) / 4000)
    bins = reliability(tied, np.arange(1000) % 3 > 0)
    assert bins.n.tolist() == [67, 933]  # 33 and the 900 of one confidence


def test_calibrated_network_has_no_calibration_error_on_average_where_the_plain_estimate_has():
    errors, plain = [], []
    for seed in range(200):
        bins = reliability(*confidence_and_right(*drawn(360, seed=seed)))
        errors.append(calibration_error(bins)[0])
        plain.append(np.abs(bins.accuracy - bins.confidence) @ bins.n / 360)
    assert np.mean(plain) > 0.05
    assert np.mean(errors) < 0.6 * np.mean(plain)


def test_calibration_error_over_bins_of_equal_width_is_that_of_torchmetrics():
    logits, labels = drawn(1000)
    expected = multiclass_calibration_error(torch.tensor(2 * logits), torch.tensor(labels), num_classes=10, n_bins=15)
    assert expected_calibration_error(2 * logits, labels) == pytest.approx(float(expected), abs=1e-6)


def test_bins_of_equal_mass_are_those_of_scikit_learn():
    confidence, right = confidence_and_right(*drawn(1004, sharpness=2))  # no image is on an edge
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    bins = reliability(confidence, right)
    assert bins.accuracy == pytest.approx(accuracies)
    assert bins.confidence == pytest.approx(confidences)
    plain = calibration_error(replace(bins, error=np.zeros(15)))[0]  # nothing is subtracted without noise
    place = np.digitize(confidence, np.quantile(confidence, np.linspace(0, 1, 16))[1:-1], right=True)
    assert plain == pytest.approx(np.abs(accuracies - confidences) @ np.bincount(place) / len(right))


def test_excess_of_the_calibration_error_is_that_of_resampling():
    """Kumar et al. compute it by drawing; here it is the mean of a folded normal distribution."""
    bins = reliability(*confidence_and_right(*drawn(2000, sharpness=2)))
    share, gap = bins.n / bins.n.sum(), bins.accuracy - bins.confidence
    draws = np.random.default_rng(1).normal(gap, bins.error, (200_000, len(gap)))
    plain = np.abs(gap) @ share
    expected = plain - ((np.abs(draws) @ share).mean() - plain)
    assert calibration_error(bins)[0] == pytest.approx(max(0, expected), abs=2e-4)


@pytest.mark.parametrize("too_sharp", [1, 1.2, 2])
@pytest.mark.parametrize("images", [360, pytest.param(10_000, marks=pytest.mark.full)])
def test_interval_of_the_calibration_error_covers_it(images, too_sharp):
    """Logits too sharp by a factor: the error is known from a large sample, and 0 where the factor is 1."""

    def bins(number, seed):
        logits, labels = drawn(number, sharpness=1.5, seed=seed)
        return reliability(*confidence_and_right(too_sharp * logits, labels))

    truth = calibration_error(bins(400_000, seed=10**6))[0] if too_sharp > 1 else 0
    intervals = [calibration_error(bins(images, seed))[1] for seed in range(2000)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(temperature):
    logits, labels = drawn(5000)
    assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("sharpened", [0.4, 2.5])
def test_temperature_is_that_of_another_optimiser_with_the_log_loss_of_scikit_learn(sharpened):
    logits, labels = drawn(2000)
    logits = (sharpened * logits).astype(np.float64)

    def loss(log_temperature):
        return log_loss(labels, softmax(logits / np.exp(log_temperature[0]), axis=1), labels=np.arange(10))

    expected = np.exp(minimize(loss, x0=[0.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}).x[0])
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(expected, rel=2e-3)


def test_where_all_images_are_right_the_temperature_is_1():
    logits = np.array([[6, 0, 0], [0, 3, 0]] * 50, np.float32)
    assert fit_temperature(logits, np.array([0, 1] * 50)) == 1
    assert fit_temperature(logits, np.array([0, 2] * 50)) != 1


@pytest.mark.parametrize("sharpened", [1, 1.5])
def test_temperature_of_few_mistakes_makes_the_loss_of_other_images_no_worse(sharpened):
    """Small validation sets of a network that is rarely wrong: the images decide only where they can."""

    def loss(logits, labels, temperature):
        return log_loss(labels, softmax(logits.astype(np.float64) / temperature, axis=1), labels=np.arange(10))

    logits, labels = drawn(5000, sharpness=4, seed=1)
    logits = sharpened * logits
    before, after, kept = loss(logits, labels, 1), [], 0
    for seed in range(50):
        few, their_labels = drawn(144, sharpness=4, seed=100 + seed)
        temperature = fit_temperature(sharpened * few, their_labels)
        after.append(loss(logits, labels, temperature))
        kept += temperature == 1
    assert np.mean(after) <= before * 1.005
    assert kept >= 45 if sharpened == 1 else kept < 45


def test_logits_that_are_not_finite_do_not_disturb_the_temperature():
    logits, labels = drawn(5000)
    logits[:50] = np.nan
    logits[50:60, 0] = np.inf
    assert fit_temperature(2 * logits, labels) == pytest.approx(2, rel=0.06)
    assert fit_temperature(np.full((4, 3), np.nan, np.float32), np.zeros(4, int)) == 1
    assert probabilities_of(np.full((1, 4), np.nan, np.float32)).tolist() == [[0.25] * 4]


def test_risk_at_each_coverage_is_the_share_of_errors_among_the_most_confident():
    confidence, right = confidence_and_right(*drawn(200))
    order = np.argsort(-confidence)
    expected = [1 - right[order[:k]].mean() for k in range(1, 201)]
    assert risk_coverage(confidence, right) == pytest.approx(np.array(expected))
    accuracies = selective_accuracy(risk_coverage(confidence, right))
    assert accuracies["0.5"] == pytest.approx(right[order[:100]].mean())
    assert accuracies["1.0"] == pytest.approx(right.mean())


def test_area_under_the_risks_is_the_mean_over_images_of_the_errors_among_those_at_least_as_sure():
    confidence, right = confidence_and_right(*drawn(300))
    risks = [(~right)[[other >= own for other in confidence]].mean() for own in confidence]
    assert risk_coverage(confidence, right).mean() == pytest.approx(np.mean(risks))


def test_images_of_one_confidence_have_no_order():
    right = np.array([True, True, False, False])
    assert risk_coverage(np.ones(4), right) == pytest.approx([0.5] * 4)


def test_conformal_sets_of_new_images_have_the_true_class_as_often_as_promised():
    covered = []
    for seed in range(100):
        validation, test = drawn(200, seed=seed), drawn(200, seed=seed + 1000)
        threshold = conformal_threshold(probabilities_of(validation[0]), validation[1], misses=0.1)
        sets = conformal_sets(probabilities_of(test[0]), threshold)
        covered.append(sets[np.arange(200), test[1]].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


class StoredProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier for MAPIE: the images are their probabilities."""

    def __init__(self):
        self.classes_, self.n_features_in_ = np.arange(10), 10

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, probabilities):
        return probabilities.argmax(1)

    def predict_proba(self, probabilities):
        return probabilities


@pytest.mark.parametrize("seed", range(3))
def test_conformal_sets_are_those_of_mapie(seed):
    (validation, labels), (test, _) = drawn(200, seed=seed), drawn(300, seed=seed + 100)
    validation, test = probabilities_of(validation), probabilities_of(test)
    mapie = SplitConformalClassifier(StoredProbabilities(), confidence_level=0.95, conformity_score="lac")
    _, expected = mapie.conformalize(validation, labels).predict_set(test)
    assert (conformal_sets(test, conformal_threshold(validation, labels)) == expected[:, :, 0]).all()


def test_too_few_validation_images_put_every_class_into_the_sets():
    logits, labels = drawn(10)
    threshold = conformal_threshold(probabilities_of(logits), labels)
    assert conformal_sets(probabilities_of(logits), threshold).all()


def test_committee_is_the_mean_of_the_probabilities():
    labels = np.array([0, 1, 0])
    networks = [np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]), np.array([[0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])]
    agreement = Agreement(labels, 2)
    agreement.add(networks[0])
    assert agreement.committee() is None
    agreement.add(networks[1])
    assert agreement.committee()["accuracy"] == pytest.approx(2 / 3)
    assert agreement.committee()["networks"] == 2


def test_label_that_all_networks_contradict_with_confidence_is_suspicious():
    def network(*predicted, sure):
        return sure * np.eye(3)[list(predicted)] + (1 - sure) / 3

    labels = np.array([0, 0, 0, 1])
    agreement = Agreement(labels, 3)
    agreement.add(network(2, 1, 0, 1, sure=0.9))
    assert agreement.suspicious_labels()["count"] == 0  # one network alone shows its own mistakes
    agreement.add(network(2, 2, 0, 1, sure=0.85))
    [image] = agreement.suspicious_labels()["images"]
    assert (image["index"], image["label"], image["predicted"]) == (0, 0, 2)
    assert image["probability"] == pytest.approx(0.85 + 0.05)
    agreement.add(network(2, 1, 0, 1, sure=CONFIDENT - 0.2))
    assert agreement.suspicious_labels()["count"] == 0
