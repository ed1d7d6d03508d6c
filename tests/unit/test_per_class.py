"""Precision, recall and F1 of each class with their intervals."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from deepnets.comparison.per_class import class_counts, class_scores
from deepnets.evaluation import schemas
from deepnets.evaluation.metrics import detailed_metrics


def scores(labels, predicted, classes):
    """The scores of predictions, through what metrics.json has of the test split."""
    found = detailed_metrics((5 * np.eye(classes)[predicted]).astype(np.float32), labels, [*map(str, range(classes))])
    rows = [schemas.ClassMetrics.model_validate(row) for row in found["per_class"]]
    test = schemas.TestMetrics.model_construct(per_class=rows, confusion_matrix=found["confusion_matrix"])
    return class_scores(class_counts([SimpleNamespace(fold=None, metrics=SimpleNamespace(test=test))]))


def test_values_are_those_of_scikit_learn_and_intervals_those_of_statsmodels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.7, labels, rng.integers(0, 4, 300))
    found = scores(labels, predicted, 4)
    expected = precision_recall_fscore_support(labels, predicted)
    for place, each in enumerate(found):
        right = int(((labels == place) & (predicted == place)).sum())
        assert [each.precision.value, each.recall.value, each.f1.value, each.n] == pytest.approx(
            [column[place] for column in expected]
        )
        for score, of in ((each.precision, (predicted == place).sum()), (each.recall, (labels == place).sum())):
            assert (score.low, score.high) == pytest.approx(proportion_confint(right, of, method="wilson"))
        assert each.f1.low < each.f1.value < each.f1.high


def test_a_score_without_images_has_no_value():
    never_predicted, absent = scores(np.array([0, 1, 1]), np.array([1, 1, 1]), 3)[::2]
    assert (never_predicted.precision, never_predicted.recall.value, never_predicted.f1.value) == (None, 0, 0)
    assert (absent.n, absent.precision, absent.recall, absent.f1) == (0, None, None, None)


def test_intervals_of_the_scores_cover_them():
    """The shares of images that are right, missed, wrongly predicted as the class, and neither, are known."""
    rng, shares, covered = np.random.default_rng(1), [0.08, 0.02, 0.03, 0.87], []
    share, of_class, predicted = shares[0], shares[0] + shares[1], shares[0] + shares[2]
    truths = share / predicted, share / of_class, 2 * share / (of_class + predicted)
    for right, missed, extra, rest in rng.multinomial(360, shares, 2000):
        labels = np.repeat([1, 1, 0, 0], [right, missed, extra, rest])
        found = scores(labels, np.repeat([1, 0, 1, 0], [right, missed, extra, rest]), 2)[1]
        intervals = found.precision, found.recall, found.f1
        covered.append([each.low <= truth <= each.high for each, truth in zip(intervals, truths, strict=True)])
    for share in np.mean(covered, axis=0):
        assert 0.92 <= share <= 0.98
