"""A metric is declared in one place: one entry in the registry shows in metrics.json, the report and metrics.csv."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from deepnets.evaluation.metrics import ALL_SPLITS, METRICS, basic_metrics, detailed_metrics, of_split

# In a process of its own, because what reads metrics.json takes the registry when it is imported.
WITH_A_NEW_METRIC = """
import json, sys
import numpy as np
from deepnets.evaluation import metrics

new = metrics.Metric("balanced_accuracy", "Balanced acc. (%)", metrics.recall_macro)
metrics.METRICS += (new,)

import report
from deepnets.utils.files import read_json, write_json

path, arguments = sys.argv[1], sys.argv[2:]
content = read_json(path)
labels = np.arange(20) % 10
predicted = np.where(labels == 3, 0, labels)
content["test"] = metrics.detailed_metrics(np.eye(10, dtype=np.float32)[predicted], labels, content["classes"])
write_json(path, content)
report.main(arguments)
"""


def test_a_metric_added_to_the_registry_is_in_metrics_json_the_table_and_the_csv(
    experiment, report_arguments, root, tmp_path
):
    directory = experiment(dataset="mnist", n_test=20)
    command = [sys.executable, "-c", WITH_A_NEW_METRIC, directory / "metrics.json", *report_arguments(directory)]
    subprocess.run(command, check=True, cwd=root / "scripts")
    assert json.loads((directory / "metrics.json").read_text())["test"]["balanced_accuracy"] == 0.9
    lines = (tmp_path / "results/report.md").read_text().splitlines()
    header, _, run, published, difference = [line.split("|") for line in lines if line.startswith("|")][:5]
    column = header.index(" Balanced acc. (%) ")
    assert [row[column].strip() for row in (run, published, difference)] == ["90.00", "–", "–"]
    (row,) = csv.DictReader((tmp_path / "results/metrics.csv").read_text().splitlines())
    assert row["test_balanced_accuracy"] == "0.9"


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_a_split_has_the_metrics_that_are_declared_for_it(split):
    labels = np.arange(6) % 3
    values = basic_metrics(np.eye(3, dtype=np.float32)[labels], labels, split)
    assert list(values) == ["n", *(metric.name for metric in of_split(split))]


def test_the_test_split_has_all_metrics_and_what_has_a_row_for_each_class():
    labels = np.arange(6) % 3
    values = detailed_metrics(np.eye(3, dtype=np.float32)[labels], labels, ["a", "b", "c"])
    assert set(values) == {"n", *(metric.name for metric in METRICS), "accuracy_ci95", "per_class", "confusion_matrix"}


def test_a_metric_has_a_name_of_its_own():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_a_metric_has_columns_only_for_splits_that_it_is_computed_for():
    assert all(set(metric.columns) <= set(metric.splits) for metric in METRICS)


def test_lower_is_better_for_the_metrics_that_a_perfect_network_has_at_zero():
    labels = np.arange(6) % 3
    perfect = basic_metrics(100 * np.eye(3, dtype=np.float32)[labels], labels, "test")
    lower = {metric.name for metric in METRICS if metric.direction == "lower"}
    assert {name for name, value in perfect.items() if value == pytest.approx(0)} == lower
