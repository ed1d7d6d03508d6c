"""Compare a study's models and recipes on one dataset: results/{dataset}/comparison/statistics.json."""

from itertools import combinations
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from deepnets.comparison import intervals, paired, settle
from deepnets.comparison.aggregate import SeedGroup
from deepnets.comparison.folds import Rows, compare_folds, folds_interval
from deepnets.comparison.paired import ALPHA, Difference, Right
from deepnets.comparison.ranking import letters
from deepnets.comparison.sweeps import expected_best
from deepnets.comparison.tested import Tested, read_study
from deepnets.evaluation.results import Result, check_specs, read_metrics, read_timing
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.files import write_json

SCHEMA_VERSION = 1
COMPARED = 50  # candidates in pairs: 1,225 of them; more would find nothing after Holm's correction
_NOTHING_SHARED = Difference(0.0, ci95=(-1.0, 1.0), ci90=(-1.0, 1.0), p=1.0)  # by two that have no fold in common


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
    study = read_study(results)
    # The best first; their accuracy on the test images decides nothing but the order.
    ranked = sorted(study.candidates, key=lambda each: -float(each.on(each.folds).mean()))
    compared = _compared(ranked)
    pairs, groups = _pairs(compared, margin)
    group_of = dict(zip(map(id, compared), groups, strict=True))
    return {
        "n": len(study.agreement.labels),
        "margin": margin,
        "folds": study.folds,
        "candidates": [_candidate(each, group_of.get(id(each))) for each in ranked],
        "pairs": pairs,
        "baselines": study.baselines,
        "committee": study.agreement.committee(),
        "missed_by_all": study.agreement.missed_by_all(),
        "suspicious_labels": study.agreement.suspicious_labels(),
        "sweeps": _sweeps([each.group for each in study.candidates]),
    }


def _compared(ranked: list[Tested]) -> list[Tested]:
    """Return the candidates that are compared in pairs, in their order: those that stand for a model come first.

    If there are too many, validation accuracy decides, within both.
    """
    urgent = sorted(ranked, key=lambda each: (not each.selected, -each.group.validation_accuracy))
    kept = {id(each) for each in urgent[:COMPARED]}
    return [each for each in ranked if id(each) in kept]


def _candidate(tested: Tested, letters_of: str | None) -> dict[str, Any]:
    right, folds = tested.on(tested.folds), tested.rows(tested.folds)
    accuracies = right.mean(1)
    several = len(right) > 1
    if folds is not None:
        interval: tuple[SupportsFloat, SupportsFloat] = folds_interval(right, folds)
    else:
        interval = intervals.recipe_interval(right) if several else intervals.network_interval(right[0])
    return {
        "model": tested.group.model,
        "recipe": tested.group.recipe,
        "seeds": [result.seed for result in tested.group.results],
        "accuracy": float(accuracies.mean()),
        "ci95": [float(bound) for bound in interval],
        "std": float(accuracies.std(ddof=1)) if several else None,
        "validation_accuracy": tested.group.validation_accuracy,
        "selected": tested.selected,
        "group": letters_of,
        "networks": tested.networks,
        "pooled": tested.pooled,
    }


def _pairs(candidates: list[Tested], margin: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Return all pairs of candidates as statistics.json has them, and the letters of each candidate."""
    places = list(combinations(range(len(candidates)), 2))
    compared = [_pair(candidates[a], candidates[b]) for a, b in places]
    tested = [number for number, (_, described) in enumerate(compared) if described["n"]]
    alpha = ALPHA / max(1, len(tested))
    corrected = np.ones(len(compared))  # pairs without a common fold are not tested
    corrected[tested] = paired.holm([compared[number][0].p for number in tested])
    different = np.zeros((len(candidates), len(candidates)), dtype=bool)
    pairs = []
    for (a, b), (difference, described), p_holm in zip(places, compared, corrected, strict=True):
        verdict = paired.verdict(difference, p_holm, margin)
        different[a, b] = different[b, a] = verdict in ("a", "b")
        pairs.append(
            {
                "a": [candidates[a].group.model, candidates[a].group.recipe],
                "b": [candidates[b].group.model, candidates[b].group.recipe],
                **described,
                "a_only": difference.counts and difference.counts[0],
                "b_only": difference.counts and difference.counts[1],
                "difference": difference.value,
                "ci95": list(difference.ci95),
                "ci90": list(difference.ci90),
                "p": difference.p,
                "p_holm": float(p_holm),
                "verdict": verdict,
                "settle": _settled(difference, described, alpha) if verdict == "open" and described["n"] else None,
            }
        )
    return pairs, letters(different)


def _pair(a: Tested, b: Tested) -> tuple[Difference, dict[str, Any]]:
    """Compare two candidates on the images of the folds that both have.

    Returns:
        Their difference, and on what it was found: how many images, folds (0 without folds) and networks of each.
    """
    folds = sorted(a.right.keys() & b.right.keys())
    if not folds:
        return _NOTHING_SHARED, {"n": 0, "folds": 0, "seeds": 0, "probability_a_beats_b": None}
    right_a, right_b = a.on(folds), b.on(folds)
    difference = _difference(right_a, right_b, list(a.right[folds[0]]), list(b.right[folds[0]]), a.rows(folds))
    passes = min(len(right_a), len(right_b))
    return difference, {
        "n": right_a.shape[1],
        "folds": 0 if a.group.first.fold is None else len(folds),
        "seeds": 1 if difference.counts else passes * len(folds),
        "probability_a_beats_b": paired.probability_better(right_a.mean(1), right_b.mean(1)) if passes > 1 else None,
    }


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


def _settled(difference: Difference, described: dict[str, Any], alpha: float) -> dict[str, Any]:
    """Return what would settle an open pair, at the level that Holm's correction asks of the first of all pairs.

    `described`: as from `_pair`.
    """
    if difference.variance is None:
        assert difference.counts is not None
        return vars(settle.settle_networks(*difference.counts, described["n"], alpha))
    if described["folds"] > 1:
        return vars(settle.settle_folds(difference.variance, described["folds"], alpha))
    return vars(settle.settle_recipes(difference.variance, described["seeds"], described["n"], alpha))


def _sweeps(study: list[SeedGroup]) -> list[dict[str, Any]]:
    """Return for each model with several recipes what the best of k of them is expected to reach on validation.

    Only recipes with the most epochs are trials of equal cost. Those with fewer, as of a trial that a search stopped
    early, would make the first trials look worse, and more trials look as if they gained more, than is true.
    """
    longest: dict[str, float] = {}
    for group in study:
        longest[group.model] = max(longest.get(group.model, 0), group.first.epochs)
    accuracies: dict[str, list[float]] = {model: [] for model in longest}
    for group in study:
        if group.first.epochs == longest[group.model]:
            accuracies[group.model].append(group.validation_accuracy)
    return [
        {"model": model, "expected_best_validation": expected_best(values).tolist()}
        for model, values in accuracies.items()
        if len(values) > 1
    ]
