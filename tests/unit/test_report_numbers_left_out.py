"""Every number of reports that leave out runs or rows, recomputed from the files of made-up experiments by other code.

Runs do not count where folds are not finished; rows have no room in tables of large studies.
"""

import re
from collections import Counter
from math import comb

import pytest
from made_up_results import predict, write_experiment, write_exported, write_in_fold
from report_numbers import Checker

from deepnets.comparison import statistics
from deepnets.reporting import behaviour, cost, cost_tables, exports, missing, pairs, settings, tables
from deepnets.reporting.study import Missing
from deepnets.utils import paths

PUBLISHED = paths.REPOSITORY / paths.PUBLISHED

IN_FOLDS = (
    ("mobilenet_v2", "quick", 2.2),
    ("resnet50", "quick", 2.5),
    ("resnet50", "long", 1.9),
    ("vgg16", "long", 3.0),
)
FINISHED = {  # the seeds of each of them; seeds 3 to 5 are of the same folds as seeds 0 to 2
    "two of three folds": ([0, 1], [0, 1], [0, 1], [0, 1]),
    "a fold of one network": ([0, 1, 2], [0, 1], [0, 1, 2], [0, 1, 2]),
    "one fold": ([0, 1, 2], [0, 1, 2], [1], [1, 4]),
    "one fold twice": ([0, 1, 2, 3], [0, 3], [0, 1, 2, 3, 4, 5], [0, 2, 3, 5]),
    "a repetition": ([0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5]),
    "none of all": ([0, 1], [1, 2], [0, 2], [0, 1, 2]),
    "none of two": ([0, 1], [2, 5], [2], [0, 1, 2]),
}


@pytest.mark.parametrize("seeds", FINISHED.values(), ids=FINISHED)
def test_where_folds_are_missing_every_number_is_that_of_the_folds_that_count(tmp_path, write_report, seeds):
    folders, left = [], {}
    for (model, recipe, skill), finished in zip(IN_FOLDS, seeds, strict=True):
        for seed in range(6):
            if seed in finished:
                folders.append(write_in_fold(tmp_path / "results", "mnist", model, recipe, seed, skill))
            else:
                left[f"mnist/{model}/{recipe}/seed{seed}"] = "waiting"
    unfinished = [Missing(*each) for each in left.items()]
    report = write_report(*folders, optional=("latency", "robustness"), missing=unfinished)
    assert "Networks are missing for some folds." in report
    compared = Checker(tmp_path, folders, PUBLISHED, missing=left).check(report)
    least = {"Group": 60, "p (Holm)": 12, "Brier score": 30, "Corrupted": 12, "F1 (%)": 800, "State": len(left)}
    assert all(compared[kind] >= number for kind, number in least.items()), compared


RUNS = (
    *(("mobilenet_v2", "quick", seed, 2.6) for seed in range(2)),
    *(("resnet50", "quick", seed, 2.55) for seed in range(2)),
    *(("resnet50", "long,lr=0.03", seed, 3.2) for seed in range(2)),
    ("resnet50", "mild,lr=0.02", 0, 3.0),
    ("vgg16", "quick", 0, 1.5),
    ("inception_v3", "quick", 0, 2.0),
)
ROWS = ("Brier score", "Corrupted", "Multiply-adds", "Largest difference", "Training runs", "Used for", "Architecture")


@pytest.mark.parametrize(
    ("in_results", "compared", "of_pairs", "of_classes", "of_others"), [(5, 4, 4, 6, 2), (3, 5, 7, 1, 1)]
)
def test_where_tables_leave_out_rows_every_number_is_that_of_the_rows_that_come_first(
    tmp_path, write_report, monkeypatch, in_results, compared, of_pairs, of_classes, of_others
):
    limits = {
        (statistics, "COMPARED"): compared,
        (tables, "RUNS"): in_results,
        (pairs, "_ROWS"): of_pairs,
        (behaviour, "_CLASSES"): of_classes,
        **{(each, "ROWS"): of_others for each in (behaviour, cost, cost_tables, exports, missing, settings, tables)},
    }
    for (module, name), number in limits.items():
        monkeypatch.setattr(module, name, number)
    folders = []
    for place, (model, recipe, seed, skill) in enumerate(RUNS):
        values = {"lr": float(recipe.partition("lr=")[2] or 0.05), "wall_seconds": 37.4 * (place + 1)}
        folders.append(write_experiment(tmp_path / "results", "mnist", model, recipe, seed, n_test=400, **values))
        predict(folders[-1], skill)
        write_exported(folders[-1], "export", bytes=1_000_000 + 20_000 * place)
        write_exported(folders[-1], "export_fp16", bytes=500_000 + 10_000 * place)
    left = {f"mnist/vgg16/quick/seed{seed}": "waiting" for seed in (1, 2, 3)}
    unfinished = [Missing(*each) for each in left.items()]
    report = write_report(*folders, optional=("latency", "robustness"), missing=unfinished)
    most = {"in results": in_results, "compared": compared, "p (Holm)": of_pairs, "F1 (%)": of_classes}
    most |= dict.fromkeys((*ROWS, "State"), of_others)
    found = Checker(tmp_path, folders, PUBLISHED, most=most, missing=left).check(report)
    assert set(found) == {*most} - {"in results", "compared"} | {"Group"}
    left_out = {
        "candidates": 6 - in_results,
        "pairs": comb(compared, 2) - of_pairs,
        **{f"classes of {folder}": 10 - of_classes for folder in folders},
        **dict.fromkeys(("calibration", "corruptions", "parameters", "costs", "options of networks"), 4 - of_others),
        "exported files": 2 * len(folders) - of_others,
        **dict.fromkeys(("recipes", "missing experiments"), 3 - of_others),
    }
    assert Counter(map(int, re.findall(r"(?:has|are|leaves out) (\d+) more", report))) == Counter(left_out.values())
