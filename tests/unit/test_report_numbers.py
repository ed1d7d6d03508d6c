"""Every number of a report's tables, recomputed from the files of made-up experiments by other code."""

import ast
import re
from collections import Counter

import pytest
from made_up_results import LOST, predict, write_experiment, write_exported, write_in_fold, write_latency
from report_numbers import Checker

from deepnets.reporting import cost, cost_tables, experiments
from deepnets.utils import paths
from deepnets.utils.files import read_json, write_json

IMAGES = 400
RUNS = [
    *(("mobilenet_v2", "quick", seed, 2.6) for seed in range(3)),
    *(("resnet50", "quick", seed, 2.55) for seed in range(3)),
    *(("resnet50", "long,lr=0.03", seed, 3.2) for seed in range(2)),
    ("vgg16", "quick", 0, 1.5),
]

_FIRST_DIGIT = re.compile(r"(?<![\d.,])\d")  # of a number


@pytest.fixture
def folders(tmp_path):
    """The experiments of a study of three networks, two recipes and up to three seeds, two with exported files."""
    folders = []
    for place, (model, recipe, seed, skill) in enumerate(RUNS):
        seconds, epochs = 37.4 * (place + 1), 8 if recipe == "quick" else 20
        options = {"n_test": IMAGES, "epochs": epochs, "wall_seconds": seconds}
        folders.append(write_experiment(tmp_path / "results", "mnist", model, recipe, seed, **options))
        predict(folders[-1], skill)
        write_latency(folders[-1], 0.0021 * (place + 1))
        logs = tmp_path / paths.LOGS / "mnist" / model / recipe / f"seed{seed}"
        logs.mkdir(parents=True)
        for stage, share in (("train", 1.1), ("evaluate", 0.1)):
            (logs / f"{stage}.benchmark.tsv").write_text(f"s\th:m:s\n{share * seconds:.4f}\t0:00:00\n")
    write_exported(folders[0], "export_int8", **LOST)
    write_exported(folders[-1], "export_program", bytes=1_230_000, largest_difference=2.3e-6)
    return folders


@pytest.fixture
def study(tmp_path, folders, write_report):
    """The report and the checker of the study."""
    report = write_report(*folders, optional=("latency", "robustness"))
    return report, Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED)


def test_every_number_of_every_table_is_that_of_the_predictions_and_times(study):
    report, checker = study
    compared = checker.check(report)
    # Made-up results have no images, and few runs, all finished.
    of_images = {"Training and validation", "Images"}
    assert set(compared) == {*checker.kinds} - of_images - {"Training runs", "Files", "Page", "State"}
    least = {
        "Group": 100,
        "p (Holm)": 32,
        "Brier score": 30,
        "Corrupted": 12,
        "F1 (%)": 900,
        "Multiply-adds": 18,
        "Largest difference": 13,
        "Stage": 6,
    }
    assert all(compared[kind] >= number for kind, number in least.items()), compared


def test_where_runs_have_no_rows_of_their_own_the_costs_of_each_network_are_those_of_the_files(
    tmp_path, folders, write_report, monkeypatch
):
    for module in (cost, cost_tables):
        monkeypatch.setattr(module, "ROWS", len(folders) - 1)
    report = write_report(*folders, optional=("latency", "robustness"))
    compared = Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED).check(report)
    assert compared["Training runs"] >= 18
    assert "Peak memory (MB)" not in compared


def test_of_many_experiments_every_number_of_the_report_and_of_its_pages_is_that_of_the_files(
    tmp_path, folders, write_report, monkeypatch
):
    for limit, number in {"_IN_FULL": len(folders) - 1, "_ROWS": 5, "ROWS": 5}.items():
        monkeypatch.setattr(experiments, limit, number)
    report = write_report(*folders, optional=("latency", "robustness"))
    checker = Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED)
    compared = checker.check(report)
    assert (compared["Files"], "F1 (%)" in compared) == (5, False)
    pages = [page.read_text() for page in (tmp_path / "results/report.pages").rglob("*.md")]
    of_pages = sum((Counter(checker.check(page)) for page in pages), Counter())
    assert (len(pages), of_pages["Page"]) == (len(folders) + 1, 2 * len(folders))
    assert of_pages["F1 (%)"] >= 900


def test_means_of_mirror_averages_are_those_of_the_runs_that_have_them(tmp_path, folders, write_report):
    for folder, accuracy in zip(folders[:3], (0.9, 0.91, 0.97), strict=True):
        metrics = read_json(folder / paths.METRICS_FILE)
        test = {key: metrics["test"][key] for key in metrics["test"].keys() - {"per_class", "confusion_matrix"}}
        averaged = {"validation": metrics["validation"], "test": test | {"accuracy": accuracy}}
        write_json(folder / paths.METRICS_FILE, metrics | {"mirror_averaged": averaged})
    report = write_report(*folders)
    checker = Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED)
    assert checker.check(report)["Group"] > 100
    assert report.count("| 92.67 |") == 1
    with pytest.raises(AssertionError, match="Mirror-averaged test acc"):
        checker.check(report.replace("| 92.67 |", "| 92.68 |"))


def test_with_folds_every_number_is_that_of_the_images_of_all_folds_together(tmp_path, write_report):
    folders = []
    for model, recipe, seeds, skill in (
        ("mobilenet_v2", "quick", 3, 2.2),
        ("resnet50", "quick", 6, 2.5),
        ("resnet50", "long", 6, 2.4),
        ("vgg16", "long", 3, 2.5),
    ):
        for seed in range(seeds):
            folders.append(write_in_fold(tmp_path / "results", "mnist", model, recipe, seed, skill))
    report = write_report(*folders, optional=("latency", "robustness"))
    assert "ResNet50 (quick), 3 folds, 2 times" in report
    compared = Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED).check(report)
    least = {"Group": 70, "p (Holm)": 24, "Brier score": 30, "Corrupted": 12, "F1 (%)": 2000}
    assert all(compared[kind] >= number for kind, number in least.items()), compared


def test_equivalent_and_open_pairs_are_those_of_the_90_percent_intervals_and_the_margin(
    tmp_path, folders, write_report
):
    report = write_report(*folders, optional=("latency", "robustness"), margin=0.1)
    assert "| equivalent |" in report
    checker = Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED, margin=0.1)
    assert checker.check(report)["p (Holm)"] >= 32
    with pytest.raises(AssertionError, match="Verdict"):
        Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED).check(report)
    # A pair's 90 % interval by the variance of tests, which decides, has this bound inside; that of intervals has not.
    report = write_report(*folders, margin=0.032)
    Checker(tmp_path, folders, paths.REPOSITORY / paths.PUBLISHED, margin=0.032).check(report)


def test_a_wrong_number_and_one_that_nobody_recomputes_are_found(study):
    report, checker = study
    changes = {
        "\n| New | Value |\n| --- | ---: |\n| x | 1 |\n": "nobody recomputes the table with",
        report.replace("| AURC (%) |", "| New (%) |"): "nobody recomputes '",
        report.replace("| VGG-16 | <code>vgg16", "| VGG-19 | <code>vgg16"): "nobody recomputes the row",
        re.sub(r"(?m)^\| 3 \| 40 \|.*\n", "", report): "has no row for",
    }
    for changed, message in changes.items():
        with pytest.raises(AssertionError, match=message):
            checker.check(changed)
    lines = re.finditer(r"(?m)^\|.*$", report.partition("## Provenance")[0])
    first_digits = [place.start() for line in lines for place in _FIRST_DIGIT.finditer(report, *line.span())]
    for place in first_digits[:: len(first_digits) // 60]:
        digit = (int(report[place]) + 5) % 10
        with pytest.raises(AssertionError):
            checker.check(f"{report[:place]}{digit}{report[place + 1 :]}")


@pytest.mark.parametrize("name", ["recomputed", "report_behaviour", "report_cells", "report_costs", "report_numbers"])
def test_what_recomputes_uses_nothing_of_the_library(name):
    tree = ast.parse((paths.REPOSITORY / f"tests/unit/{name}.py").read_text(encoding="utf-8"))
    imported = [each.module for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    imported += [alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names]
    assert imported
    assert not [module for module in imported if module.startswith("deepnets")]
