"""Which test images the networks of each candidate have right, read from their predictions, fold by fold.

In a study that is not finished, candidates may have networks of unlike folds. Accuracies are then of the folds that all
candidates have, so that they are of the same images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepnets.comparison.aggregate import SeedGroup, best_by_model, group_seeds, passes, shared_folds
from deepnets.comparison.agreement import Agreement
from deepnets.comparison.folds import Rows
from deepnets.comparison.networks import describe, describe_folds
from deepnets.comparison.paired import Right
from deepnets.evaluation.metrics import Labels
from deepnets.evaluation.predictions import Predictions, read_predictions
from deepnets.evaluation.results import Result
from deepnets.utils import paths
from deepnets.utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Tested:
    """A candidate, and which test images its networks have right.

    Attributes:
        group: its networks that count in its accuracy.
        selected: of this model's recipes, it has the best validation accuracy.
        right: by fold and seed, (n,); also those of networks that do not count. Without folds, the fold is 0.
        networks: the numbers of each of its networks, also of those that do not count.
        pooled: with folds, the numbers of each pass over them, of all their images together; None without folds.
    """

    group: SeedGroup
    selected: bool
    right: dict[int, dict[int, Right]]
    networks: list[dict[str, Any]]
    pooled: list[dict[str, Any]] | None

    @property
    def folds(self) -> list[int]:
        """The folds that count in its accuracy."""
        return sorted({result.fold or 0 for result in self.group.results})

    def on(self, folds: Sequence[int]) -> Right:
        """Return which images of some folds it has right, (S, n): a row for each pass over all of them."""
        rows = zip(*(self.right[fold].values() for fold in folds), strict=False)
        return np.stack([np.concatenate(row) for row in rows])

    def rows(self, folds: Sequence[int]) -> Rows | None:
        """Return the fold of each image, (n,), counted from 0; None for one fold, which shows no spread."""
        sizes = [len(next(iter(self.right[fold].values()))) for fold in folds]
        return np.repeat(np.arange(len(folds)), sizes) if len(folds) > 1 else None


@dataclass(frozen=True, eq=False)
class TestedStudy:
    """The candidates of one dataset, in the order of the study.

    Attributes:
        agreement: what the selected ones say together, on the images of the folds that all candidates have.
        baselines: what can be reached without a network.
        folds: how many the dataset has, and those that all candidates have; None without folds.
    """

    candidates: list[Tested]
    agreement: Agreement
    baselines: dict[str, Any]
    folds: dict[str, Any] | None


def read_study(results: Sequence[Result]) -> TestedStudy:
    """Read all predictions, one file after the other; of each, only which images it has right is kept.

    Where no fold is shared by all candidates, each has the accuracy over its own, and nothing is said of all together.

    Raises:
        UserError: a file is missing or damaged, or of other test images than the first one of its fold.
    """
    trained = group_seeds(results)
    shared = shared_folds(group.results for group in trained)
    counted = [_counted(group, shared) for group in trained]
    selected = {id(group) for group in best_by_model(counted).values()}
    first = {result.fold or 0: result for result in reversed(results)}
    expected = {fold: (first[fold], _predictions(first[fold])) for fold in sorted(first)}
    images = [expected[fold][1] for fold in shared or expected]
    labels, classes = np.concatenate([each.test_labels for each in images]), images[0].test_logits.shape[1]
    agreement = Agreement(labels, classes, [file for each in images for file in each.test_files or ()] or None)
    candidates = [
        _tested(*groups, id(groups[1]) in selected, expected, agreement if shared else None)
        for groups in zip(trained, counted, strict=True)
    ]
    folds = None
    if results[0].fold is not None:
        folds = {"number": results[0].metrics.spec["dataset"]["folds"], "shared": shared}
    return TestedStudy(candidates, agreement, _baselines(labels, images[0].validation_labels, classes), folds)


def _counted(group: SeedGroup, shared: list[int]) -> SeedGroup:
    """Return the networks of a candidate that count in its accuracy; with no fold in `shared`, by all its folds."""
    seeds = {result.seed for networks in passes(group.results, shared or None) for result in networks}
    return replace(group, results=tuple(result for result in group.results if result.seed in seeds))


def _tested(
    trained: SeedGroup,
    counted: SeedGroup,
    selected: bool,
    expected: Mapping[int, tuple[Result, Predictions]],
    agreement: Agreement | None,
) -> Tested:
    """Read the networks of a candidate.

    Args:
        trained, counted: all of them, and those that count in its accuracy.
        selected: as in `Tested`.
        expected: the first network of each fold, with its predictions.
        agreement: where selected networks are added up.
    """
    right: dict[int, dict[int, Right]] = {}
    described: dict[int, dict[str, Any]] = {}
    pooled: list[dict[str, Any]] = []
    seeds = {result.seed for result in counted.results}
    others = [[result] for result in trained.results if result.seed not in seeds]
    for results in [*passes(counted.results), *others]:
        predictions = [_checked(result, *expected[result.fold or 0]) for result in results]
        networks = [describe([each]) for each in predictions]
        for result, network in zip(results, networks, strict=True):
            right.setdefault(result.fold or 0, {})[result.seed] = network.right
            described[result.seed] = {
                "seed": result.seed,
                "validation_accuracy": result.metrics.validation.accuracy,
                "accuracy": float(network.right.mean()),
                **network.described,
            }
        if results[0].seed not in seeds:
            continue
        if results[0].fold is not None:
            pooled.append(describe_folds(predictions))
        if agreement is not None and selected:
            agreement.add(np.concatenate([network.probabilities for network in networks]))
    return Tested(counted, selected, right, [described[result.seed] for result in trained.results], pooled or None)


def _predictions(result: Result) -> Predictions:
    return read_predictions(result.directory / paths.PREDICTIONS_FILE, result.metrics.spec_sha256)


def _checked(result: Result, first: Result, expected: Predictions) -> Predictions:
    """Read a network's predictions, and refuse them if their test images are not those of the first one of its fold."""
    predictions = _predictions(result)
    if not np.array_equal(predictions.test_labels, expected.test_labels):
        raise UserError(
            f"{result.directory / paths.PREDICTIONS_FILE}: of other test images than"
            f" {first.directory / paths.PREDICTIONS_FILE}; start Snakemake, which evaluates again what is out of date,"
            " or delete the older one."
        )
    return predictions


def _baselines(labels: Labels, validation_labels: Labels, classes: int) -> dict[str, Any]:
    """Return the accuracy of one answer for all test images, the commonest validation class, and of guessing."""
    majority = int(np.bincount(validation_labels, minlength=classes).argmax())
    accuracy = float((labels == majority).mean())
    return {"majority": {"class": majority, "accuracy": accuracy}, "chance": 1 / classes}
