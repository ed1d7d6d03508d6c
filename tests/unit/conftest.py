"""Shared by several tests: a study without training, the tiny experiment, the small trainer."""

from __future__ import annotations

import csv
import importlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binomtest

from deepnets import models
from deepnets.evaluation.history import HISTORY_COLUMNS
from deepnets.reporting import report
from deepnets.utils.files import canonical_json, sha256_text, write_json

if TYPE_CHECKING:
    from download_server import Server

    from deepnets.training.checkpoints import CheckpointDir

ARCHITECTURES = {  # parameters, size in MB
    "vgg16": (134_308_810, 541.73),
    "inception_v3": (21_805_226, 91.03),
    "resnet50": (23_519_690, 105.99),
    "mobilenet_v2": (1_814_346, 9.11),
}
RECIPE = {
    "epochs": 8,
    "batch_size": 64,
    "optimizer": "sgd",
    "lr": 0.05,
    "clip_norm": None,
    "augment": {"rotation": 10.0, "horizontal_flip": True, "mixup": 0.0},
}


def write_experiment(
    results: Path,
    dataset: str = "digits",
    model: str = "resnet50",
    recipe: str = "quick",
    seed: int = 0,
    *,
    accuracy: float = 0.97,
    n_test: int = 360,
    classes: list[str] | None = None,
    epochs: int = 8,
    lr: float = 0.05,
    wall_seconds: float = 60.0,
    warnings: list[str] | None = None,
    architecture: str | None = None,
    device_name: str = "Some CPU",
    threads: int = 2,
    flips: bool = True,
) -> Path:
    """Write metrics.json, history.csv and timing.json of one experiment; return its directory."""
    rng = np.random.default_rng([seed, len(model), n_test])
    directory = results / dataset / model / recipe / f"seed{seed}"
    classes = classes or [str(digit) for digit in range(10)]
    architecture = architecture or (model if model in ARCHITECTURES else "resnet50")
    spec = {
        "dataset": {"source": dataset, "horizontal_flip": flips},
        "model": {"architecture": architecture},
        "recipe": {**RECIPE, "epochs": epochs, "lr": lr},
        "seed": seed,
    }
    metrics = {
        "schema_version": 1,
        "experiment": {"dataset": dataset, "model": model, "recipe": recipe, "seed": seed},
        "spec": spec,
        "spec_sha256": sha256_text(canonical_json(spec)),
        "classes": classes,
        "model": _network_facts(architecture),
        "train": {"n": 1293, "loss": 0.01447, "accuracy": 0.9958},
        "validation": {"n": 144, "loss": 0.05, "accuracy": accuracy, "balanced_accuracy": accuracy},
        "test": _test_metrics(rng, accuracy, n_test, classes),
        "warnings": warnings or [],
    }
    write_json(directory / "metrics.json", metrics)
    _write_history(directory / "history.csv", rng, accuracy, epochs, wall_seconds)
    write_json(directory / "timing.json", _timing(device_name, threads, epochs, wall_seconds))
    return directory


def _network_facts(architecture: str) -> dict:
    parameters, size_mb = ARCHITECTURES[architecture]
    return {
        "parameters": parameters,
        "trainable_parameters": parameters,
        "mult_adds": 10**8,
        "size_mb": size_mb,
        "weights_mb": parameters * 4 / 1e6,
        "input_size": [1, 1, 28, 28],
    }


def _timing(device_name: str, threads: int, epochs: int, wall_seconds: float) -> dict:
    return {
        "device": "cpu",
        "device_name": device_name,
        "precision": "fp32",
        "threads": threads,
        "deterministic": True,
        "accumulation": 1,
        "train_seconds": 0.9 * wall_seconds,
        "wall_seconds": wall_seconds,
        "images_per_second": 1293 * epochs / wall_seconds,
        "peak_memory_mb": 900.5,
        "resumed_from_epochs": [],
        "versions": {"python": "3.12.1", "torch": "2.15.0"},
    }


def _test_metrics(rng: np.random.Generator, accuracy: float, n: int, classes: list[str]) -> dict:
    true = np.arange(n) % len(classes)
    predicted = true.copy()
    wrong = rng.permutation(n)[: n - round(accuracy * n)]
    predicted[wrong] = (true[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (true, predicted), 1)
    correct, named, there = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    precision, recall = correct / np.maximum(named, 1), correct / np.maximum(there, 1)
    f1 = 2 * correct / np.maximum(named + there, 1)
    interval = binomtest(int(correct.sum()), n).proportion_ci(0.95, "wilson")
    return {
        "n": n,
        "loss": float(2.3 * (1 - accuracy) + 0.01),
        "accuracy": float(correct.sum() / n),
        "balanced_accuracy": float(recall[there > 0].mean()),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        "accuracy_ci95": [interval.low, interval.high],
        "ece": 0.011,
        "per_class": [
            {"class": name, "n": int(there[i]), "precision": precision[i], "recall": recall[i], "f1": f1[i]}
            for i, name in enumerate(classes)
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _write_history(path: Path, rng: np.random.Generator, accuracy: float, epochs: int, wall_seconds: float) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        for epoch in range(1, epochs + 1):
            done = epoch / epochs
            gap = np.exp(-5 * done) * 0.8
            writer.writerow(
                [
                    epoch,
                    round(0.05 * min(5 * done, 1.25 * (1 - done)), 6),
                    round(0.02 + 2.5 * gap, 5),
                    round(accuracy * (1 - gap) + 0.003, 5),
                    round(0.05 + 2.4 * gap + rng.uniform(0, 0.05), 5),
                    round(accuracy * (1 - gap * rng.uniform(0.9, 1.1)), 5),
                    round(wall_seconds / epochs, 3),
                    round(1293 * epochs / wall_seconds, 1),
                ]
            )


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write one finished experiment below tmp_path/results: `experiment(model="vgg16", seed=1) -> its directory`."""
    return lambda *args, **kwargs: write_experiment(tmp_path / "results", *args, **kwargs)


def report_spec(root: Path, *directories: Path, study: str = "demo", datasets: dict | None = None) -> dict:
    """Return what the report of experiments depends on; each is given by its directory below `root`."""
    nothing = {"variant_of": None, "note": None, "own_files": None}
    described = {directory.parts[-4]: nothing for directory in directories}
    described |= {name: nothing | values for name, values in (datasets or {}).items()}
    experiments = [directory.relative_to(root).as_posix() for directory in directories]
    return {"study": study, "datasets": described, "experiments": experiments}


@pytest.fixture
def report_arguments(tmp_path: Path) -> Callable[..., list[str]]:
    """Return the command line that writes the report of experiments; each is given by its directory."""

    def arguments(*directories: Path) -> list[str]:
        job = tmp_path / "job.json"
        write_json(job, {"spec": report_spec(tmp_path, *directories), "code": {}})
        return ["demo", "--job", str(job), "--root", str(tmp_path)]

    return arguments


@pytest.fixture
def write_report(tmp_path: Path) -> Callable[..., str]:
    """Write the report of experiments below tmp_path/results; return its text. Each is given by its directory."""

    def write(*directories: Path, template: Path | None = None, **options) -> str:
        files = {} if template is None else {"template": template}
        report.write_report(report_spec(tmp_path, *directories, **options), tmp_path, **files)
        return (tmp_path / "results/report.md").read_text(encoding="utf-8")

    return write


# -- a user's network --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write a user's module next to the architectures: `own_module(text, name="my_net")`."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])

    def write(text: str, name: str = "my_net") -> None:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in [name for name in sys.modules if name.startswith("deepnets.models.my_")]:
        del sys.modules[name]


# -- the tiny experiment, trained once ---------------------------------------------------------------------------------
# These fixtures import inside: torch takes seconds, and most tests run without it.


@pytest.fixture(scope="module")
def process_as_it_was() -> Iterator[None]:
    """Restore what training changes in its process."""
    from tiny_experiment import restored_process

    with restored_process():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the dataset.json of the tiny dataset."""
    from tiny_experiment import write_dataset

    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory, process_as_it_was: None) -> Path:
    """Return the folder of an experiment that nothing disturbed; tests do not write to it."""
    from tiny_experiment import finish

    return finish(data, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished experiment, which tests may change."""
    return shutil.copytree(finished, tmp_path / "copy")


# -- the small trainer -------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointDir:
    from small_trainer import checkpoints_in

    return checkpoints_in(tmp_path)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., tuple[dict, list[dict]]]:
    """Train, through as many interruptions as asked for: see `small_trainer.fit_through`."""
    from small_trainer import fit_through

    return partial(fit_through, tmp_path)


# -- the server that downloads are tried against -----------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a small file on the loopback interface; attempts follow each other without a pause."""
    from download_server import Server

    monkeypatch.setattr("deepnets.data.download.BACKOFF_SECONDS", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
