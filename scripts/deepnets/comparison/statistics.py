"""Compare a study's models and recipes on one dataset: results/{dataset}/comparison/statistics.json."""

from itertools import combinations
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from deepnets.comparison import intervals, paired, settle
from deepnets.comparison.aggregate import SeedGroup, best_by_model, group_seeds
from deepnets.comparison.agreement import Agreement
from deepnets.comparison.folds import Rows, compare_folds, folds_interval, passes
from deepnets.comparison.networks import Network, describe
from deepnets.comparison.paired import ALPHA, Difference, Right
from deepnets.comparison.ranking import letters
from deepnets.comparison.sweeps import expected_best
from deepnets.evaluation.metrics import Labels
from deepnets.evaluation.predictions import Predictions, read_predictions
from deepnets.evaluation.results import Result, check_specs, read_metrics, read_timing
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json

SCHEMA_VERSION = 1
COMPARED = 50  # candidates in pairs: 1,225 of them; more would find nothing after Holm's correction


def write_statistics(job: dict[str, Any], root: Path, output: Path) -> None:
    """Write statistics.json of one dataset.

    Args:
        job: {"spec": {"dataset": name, "experiments": their folders from `root`, "specs": hashes of their specs,
            "margin": the difference of accuracies that counts as none, a fraction}}.
        root: the folder that holds results/.
        output: the file to write.

    Raises:
        UserError: a file is missing, damaged, of another spec or of other test images.
    """
    spec = job["spec"]
    folders = [root / folder for folder in spec["experiments"]]
    results = [
        Result(folder, read_metrics(folder / paths.METRICS_FILE), read_timing(folder / paths.TIMING_FILE))
        for folder in folders
    ]
    check_specs(results, spec.get("specs"))
    content = compare(results, spec["margin"])
    with record_checksums("compare", output):
        write_json(output, {"schema_version": SCHEMA_VERSION, "dataset": spec["dataset"], "spec": spec, **content})


def compare(results: list[Result], margin: float) -> dict[str, Any]:
    """Compare the experiments of one dataset: the content of statistics.json from `n` on.

    Networks are read one after the other; of each, only which images it has right is kept.
    """
    study = group_seeds(results)
    selected = {id(group) for group in best_by_model(study).values()}
    right, networks, agreement, baselines, folds = _read(study, selected)
    # The best first; their accuracy on the test images decides nothing but the order.
    order = sorted(range(len(study)), key=lambda index: -float(right[index].mean()))
    compared = _compared(study, order, selected)
    pairs, groups = _pairs([study[index] for index in compared], [right[index] for index in compared], margin, folds)
    group_of = dict(zip(compared, groups, strict=True))
    return {
        "n": right[0].shape[1],
        "margin": margin,
        "candidates": [
            _candidate(
                *(study[index], right[index], id(study[index]) in selected, group_of.get(index)),
                *(networks[index], folds),
            )
            for index in order
        ],
        "pairs": pairs,
        "baselines": baselines,
        "committee": agreement.committee(),
        "missed_by_all": agreement.missed_by_all(),
        "suspicious_labels": agreement.suspicious_labels(),
        "sweeps": _sweeps(study),
    }


def _read(
    study: list[SeedGroup], selected: set[int]
) -> tuple[list[Right], list[list[dict]], Agreement, dict[str, Any], Rows | None]:
    """Read all predictions.

    Returns:
        Which images each candidate has right, (S, n), with folds a row for each pass over all of them; its networks'
        numbers; what the selected networks say together; what can be reached without a network; and the fold of each
        image, (n,), None without folds.

    Raises:
        UserError: a file is missing or damaged, or of other test images than the first one.
    """
    first = [_predictions(result) for result in passes(study[0].results)[0]]
    labels, files = np.concatenate([each.test_labels for each in first]), _files(first)
    classes = first[0].test_logits.shape[1]
    right, numbers, agreement = [], [], Agreement(labels, classes, files)
    for group in study:
        described, rows = {}, []
        for results in passes(group.results):
            networks = [_described(*pair, study[0].first) for pair in zip(results, first, strict=True)]
            rows.append(np.concatenate([network.right for network in networks]))
            for result, network in zip(results, networks, strict=True):
                described[result.seed] = {"accuracy": float(network.right.mean()), **network.described}
            if id(group) in selected:
                agreement.add(np.concatenate([network.probabilities for network in networks]))
        right.append(np.stack(rows))
        numbers.append([described[result.seed] for result in group.results])
    folds = None
    if study[0].folds:
        folds = np.repeat(np.arange(len(first)), [len(each.test_labels) for each in first])
    return right, numbers, agreement, _baselines(labels, first[0].validation_labels, classes), folds


def _predictions(result: Result) -> Predictions:
    return read_predictions(result.directory / paths.PREDICTIONS_FILE, result.metrics.spec_sha256)


def _described(result: Result, expected: Predictions, first: Result) -> Network:
    """Describe a network, and refuse it if its test images are not those of the experiment that was read first."""
    predictions = _predictions(result)
    if not np.array_equal(predictions.test_labels, expected.test_labels):
        raise UserError(
            f"{result.directory / paths.PREDICTIONS_FILE}: of other test images than"
            f" {first.directory / paths.PREDICTIONS_FILE}; start Snakemake, which evaluates again what is out of date,"
            " or delete the older one."
        )
    return describe(predictions)


def _files(folds: list[Predictions]) -> list[str] | None:
    """Return the names of the test images of all folds; None if they were no files."""
    return [file for fold in folds for file in fold.test_files or ()] or None


def _baselines(labels: Labels, validation_labels: Labels, classes: int) -> dict[str, Any]:
    """Return the accuracy of one answer for all test images, the commonest validation class, and of guessing."""
    majority = int(np.bincount(validation_labels, minlength=classes).argmax())
    accuracy = float((labels == majority).mean())
    return {"majority": {"class": majority, "accuracy": accuracy}, "chance": 1 / classes}


def _compared(study: list[SeedGroup], order: list[int], selected: set[int]) -> list[int]:
    """Return the candidates that are compared in pairs, in their order: those that stand for a model come first.

    If there are too many, validation accuracy decides, within both.
    """
    urgent = sorted(order, key=lambda index: (id(study[index]) not in selected, -study[index].validation_accuracy))
    kept = set(urgent[:COMPARED])
    return [index for index in order if index in kept]


def _candidate(
    group: SeedGroup,
    right: Right,
    is_selected: bool,
    letters_of: str | None,
    networks: list[dict],
    folds: Rows | None,
) -> dict[str, Any]:
    accuracies = right.mean(1)
    several = len(right) > 1
    if folds is not None:
        interval: tuple[SupportsFloat, SupportsFloat] = folds_interval(right, folds)
    else:
        interval = intervals.recipe_interval(right) if several else intervals.network_interval(right[0])
    return {
        "model": group.model,
        "recipe": group.recipe,
        "seeds": [result.seed for result in group.results],
        "accuracy": float(accuracies.mean()),
        "ci95": [float(bound) for bound in interval],
        "std": float(accuracies.std(ddof=1)) if several else None,
        "validation_accuracy": group.validation_accuracy,
        "selected": is_selected,
        "group": letters_of,
        "networks": [
            {
                "seed": result.seed,
                "validation_accuracy": result.metrics.validation.accuracy,
                **described,
            }
            for result, described in zip(group.results, networks, strict=True)
        ],
    }


def _pairs(
    study: list[SeedGroup], right: list[Right], margin: float, folds: Rows | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return all pairs of candidates as statistics.json has them, and the letters of each candidate."""
    seeds = [[result.seed for result in group.results] for group in study]
    places = list(combinations(range(len(study)), 2))
    differences = [_difference(right[a], right[b], seeds[a], seeds[b], folds) for a, b in places]
    corrected = paired.holm([each.p for each in differences])
    verdicts = [paired.verdict(each, p, margin) for each, p in zip(differences, corrected, strict=True)]
    different = np.zeros((len(study), len(study)), dtype=bool)
    pairs = []
    for (a, b), difference, p_holm, verdict in zip(places, differences, corrected, verdicts, strict=True):
        different[a, b] = different[b, a] = verdict in ("a", "b")
        number = 1 if difference.counts else min(len(seeds[a]), len(seeds[b]))
        runs = right[a].mean(1), right[b].mean(1)
        several = min(map(len, runs)) > 1
        pairs.append(
            {
                "a": [study[a].model, study[a].recipe],
                "b": [study[b].model, study[b].recipe],
                "seeds": number,
                "a_only": difference.counts and difference.counts[0],
                "b_only": difference.counts and difference.counts[1],
                "difference": difference.value,
                "ci95": list(difference.ci95),
                "ci90": list(difference.ci90),
                "p": difference.p,
                "p_holm": float(p_holm),
                "probability_a_beats_b": paired.probability_better(*runs) if several else None,
                "verdict": verdict,
                "settle": _settled(difference, number, right[a].shape[1], ALPHA / len(places), verdict),
            }
        )
    return pairs, letters(different)


def _difference(a: Right, b: Right, a_seeds: list[int], b_seeds: list[int], folds: Rows | None) -> Difference:
    """Compare two candidates: over all their folds or seeds, or two trained networks if one has a single seed.

    These have the same seed if the other one has it, too.
    """
    if folds is not None:
        return compare_folds(a, b, folds)
    if len(a) > 1 and len(b) > 1:
        return paired.compare_recipes(a, b)
    common = next((seed for seed in a_seeds if seed in b_seeds), None)
    row_a, row_b = (0, 0) if common is None else (a_seeds.index(common), b_seeds.index(common))
    return paired.compare_networks(a[row_a], b[row_b])


def _settled(difference: Difference, seeds: int, images: int, alpha: float, verdict: str) -> dict[str, Any] | None:
    """Return what would settle an open pair, at the level that Holm's correction asks of the first of all pairs."""
    if verdict != "open":
        return None
    if difference.variance is not None:
        return vars(settle.settle_recipes(difference.variance, seeds, images, alpha))
    assert difference.counts is not None
    return vars(settle.settle_networks(*difference.counts, images, alpha))


def _sweeps(study: list[SeedGroup]) -> list[dict[str, Any]]:
    """Return for each model with several recipes what the best of k of them is expected to reach on validation."""
    accuracies: dict[str, list[float]] = {}
    for group in study:
        accuracies.setdefault(group.model, []).append(group.validation_accuracy)
    return [
        {"model": model, "expected_best_validation": expected_best(values).tolist()}
        for model, values in accuracies.items()
        if len(values) > 1
    ]
