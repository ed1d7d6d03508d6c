"""Precision, recall and F1 of each class with their 95 % intervals, from a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepnets.comparison.aggregate import passes
from deepnets.comparison.intervals import share_interval
from deepnets.evaluation.results import Result


@dataclass(frozen=True)
class ClassCounts:
    """Test images by class: names and numbers, C each, and how many of class i are predicted as class j, C x C."""

    names: list[str]
    images: list[int]
    matrix: list[list[int]]


def class_counts(results: Sequence[Result]) -> ClassCounts:
    """Return the counts of the first of some networks; with folds, of one of each fold together."""
    tests = [result.metrics.test for result in passes(results)[0]]
    return ClassCounts(
        names=[row.name for row in tests[0].per_class],
        images=[sum(row.n for row in rows) for rows in zip(*(test.per_class for test in tests), strict=True)],
        matrix=np.sum([test.confusion_matrix for test in tests], axis=0).tolist(),
    )


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


def class_scores(counts: ClassCounts) -> list[ClassScores]:
    """Return the scores of each class with Wilson's intervals, of these trained networks over images.

    F1 = 2J / (1 + J) for the share J of right images among those that are of the class or predicted as it. It rises
    with J, so its interval has the bounds of J's.
    """
    found = []
    for place, (name, images) in enumerate(zip(counts.names, counts.images, strict=True)):
        right, predicted = counts.matrix[place][place], sum(line[place] for line in counts.matrix)
        either = _share(right, images + predicted - right)
        f1 = either and Score(*(2 * each / (1 + each) for each in (either.value, either.low, either.high)))
        found.append(ClassScores(name, images, _share(right, predicted), _share(right, images), f1))
    return found


def _share(count: int, of: int) -> Score | None:
    if not of:
        return None
    return Score(count / of, *share_interval(count / of, of))
