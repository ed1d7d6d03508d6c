"""Folds and a search from end to end: real training runs of a tiny network."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from report_numbers import Checker

pytestmark = pytest.mark.slow  # a dozen training runs of two seconds each


@pytest.fixture
def tiny(new_study, tmp_path):
    """A project whose config.yaml has these sections on top of a tiny network and its recipe."""

    def make(**sections):
        folder = new_study(tmp_path / "project")
        recipe = {"epochs": 2, "batch_size": 64, "lr": 0.05}
        config = {"study": "first", "models": {"small": {"architecture": "small_cnn"}}, "recipes": {"brief": recipe}}
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, **sections}))
        return folder

    return make


def test_each_fold_is_trained_once_and_reported_with_the_others(tiny, snakemake, root):
    entry = {"datasets": ["digits"], "models": ["small"], "recipe": "brief", "seeds": [0, 1, 2]}
    folder = tiny(datasets={"digits": {"source": "sklearn_digits", "folds": 3}}, studies={"first": [entry]})
    done = snakemake(folder, "results/report.md", cores=2)
    assert done.returncode == 0, done.stdout
    metrics = [
        json.loads((folder / f"results/digits/small/brief/seed{seed}/metrics.json").read_text()) for seed in range(3)
    ]
    assert [each["spec"]["dataset"]["fold"] for each in metrics] == [0, 1, 2]
    assert sum(each["test"]["n"] for each in metrics) == 1797
    statistics = json.loads((folder / "results/digits/comparison/statistics.json").read_text())
    right = sum(each["test"]["n"] * each["test"]["accuracy"] for each in metrics)
    assert statistics["n"] == 1797
    assert statistics["candidates"][0]["accuracy"] == pytest.approx(right / 1797)
    report = (folder / "results/report.md").read_text(encoding="utf-8")
    assert "1,797 test images, each predicted by a network that was not trained on it" in report
    folders = [folder / f"results/digits/small/brief/seed{seed}" for seed in range(3)]
    assert Checker(folder, folders, root / "workflow/published.csv").check(report)["Brier score"] > 10
    (folder / ".snakemake/metadata").rename(folder / "gone")  # then the files alone say what they were made by
    again = snakemake(folder, "results/report.md", "--dry-run")
    assert not re.findall(r"^Job \d+: (?:Train|Evaluate|Prepare)", again.stdout, re.MULTILINE), again.stdout


def test_search_ends_with_the_best_values_and_continues(tiny):
    pytest.importorskip("optuna")
    search = {"dataset": "digits", "model": "small", "recipe": "brief", "values": {"lr": {"low": 0.001, "high": 0.3}}}
    searches = {"rates": {**search, "trials": 4, "parallel": 4, "early_stopping": 0.5}}
    studies = {"first": [{"datasets": ["digits"], "models": ["small"], "recipe": "brief"}]}
    folder = tiny(datasets={"digits": {"source": "sklearn_digits"}}, studies=studies, searches=searches)
    command = [sys.executable, "scripts/search.py", "rates", "--cores", "2"]

    def run() -> str:
        done = subprocess.run(
            command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    best = re.search(r"rates: the best is trial \d \(lr .*", run())
    record = json.loads((folder / "results/search-rates.json").read_text())
    assert sorted(each["state"] for each in record["trials"]) == ["done", "done", "stopped", "stopped"]
    again = run()
    assert best[0] in again
    assert "Train small" not in again
