"""Precision, recall and F1 of each class with their 95 % intervals, from a confusion matrix."""

from dataclasses import dataclass
from statistics import NormalDist

from deepnets.comparison.intervals import LEVEL, wilson
from deepnets.evaluation.schemas import TestMetrics

_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Score:
    """A share with its 95 % interval, fractions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; None where no image has it (recall), or was predicted as it (precision), or both."""

    name: str
    n: int
    precision: Score | None
    recall: Score | None
    f1: Score | None


def class_scores(test: TestMetrics) -> list[ClassScores]:
    """Return the scores of each class with Wilson's intervals, of this trained network over images.

    F1 = 2J / (1 + J) for the share J of right images among those that are of the class or predicted as it. It rises
    with J, so its interval has the bounds of J's.
    """
    found = []
    for place, row in enumerate(test.per_class):
        right, predicted = test.confusion_matrix[place][place], sum(line[place] for line in test.confusion_matrix)
        either = _share(right, row.n + predicted - right)
        f1 = either and Score(*(2 * each / (1 + each) for each in (either.value, either.low, either.high)))
        found.append(ClassScores(row.name, row.n, _share(right, predicted), _share(right, row.n), f1))
    return found


def _share(count: int, of: int) -> Score | None:
    if not of:
        return None
    low, high = wilson(count / of, of, _QUANTILE)
    return Score(count / of, float(low), float(high))
