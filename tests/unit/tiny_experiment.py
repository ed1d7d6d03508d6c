"""A tiny experiment for tests of training and evaluation: MobileNetV2 on 60 images of 8x8 pixels."""

import contextlib
import csv
import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deepnets.config.recipe import Recipe
from deepnets.evaluation.evaluate import evaluate_experiment
from deepnets.planning.code_digest import digests
from deepnets.training.experiment import TrainingRun, train_experiment
from deepnets.training.experiment_dir import load_model_file
from deepnets.utils import paths
from deepnets.utils.command_line import run
from deepnets.utils.files import sha256_file, write_json
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.tensors import save_tensors

ROOT = Path(__file__).resolve().parents[2]
NAME = "digits/mobilenet_v2/quick/seed3"
NAMES = {"dataset": "digits", "model": "mobilenet_v2", "recipe": "quick", "seed": 3}
EPOCHS = 6
SPEC = {
    "dataset": {"source": "sklearn_digits", "horizontal_flip": False},
    "model": {"architecture": "mobilenet_v2"},
    "recipe": Recipe(epochs=EPOCHS, batch_size=16, augment={"crop_padding": 1}).model_dump(),
    "seed": 3,
}
JOB = {"spec": SPEC, "experiment": NAMES, "code": digests(["scripts/train.py"], ROOT)}
CLASSES, INPUT_SHAPE = ["zero", "one", "two"], [1, 8, 8]
NETWORK = {"parameters": 1814346, "mult_adds": 10}
SUMMARY = {"spec": {"model": SPEC["model"], "input_shape": INPUT_SHAPE, "num_classes": len(CLASSES)}, **NETWORK}


def job_with(**changes: object) -> dict:
    """Return the job with another recipe: `job_with(epochs=2)`."""
    return JOB | {"spec": SPEC | {"recipe": SPEC["recipe"] | changes}}


def write_dataset(folder: Path) -> Path:
    """Write a prepared dataset of three classes, each with a bright column of its own; return its dataset.json."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, n in (("train", 60), ("test", 21)):
        labels = np.arange(n) % 3
        images = rng.integers(60, size=(n, 8, 8, 1)) + 90 * (np.arange(8) // 3 == labels[:, None])[:, :, None, None]
        for kind, array in (("images", images.astype(np.uint8)), ("labels", labels.astype(np.int64))):
            path = folder / f"{split}_{kind}.npy"
            np.save(path, array)
            arrays[path.name] = {"sha256": sha256_file(path), "shape": list(array.shape), "dtype": str(array.dtype)}
    metadata = {"classes": CLASSES, "input_shape": INPUT_SHAPE, "mean": [0.23], "std": [0.2], "max_megapixels": 100}
    start = {"schema_version": 1, "dataset": "digits", "spec": {"source": "sklearn_digits"}}
    write_json(folder / "dataset.json", {**start, "arrays": arrays, **metadata})
    return folder / "dataset.json"


def call(function: Callable, *arguments: Any, log: Path | None = None, **options: Any) -> None:
    """Call a function, and close the log file, which a script keeps open to the end of its process.

    Args:
        function: the `main` of a script; or, with `log`, what a script calls.
        log: where the script would have sent the messages.
    """
    if log is not None:
        log_to(log)
    try:
        function(*arguments, **options)
    finally:
        for handler in LOG.handlers:
            handler.close()
        LOG.handlers = []


def train(data: Path, folder: Path, job: dict = JOB, **options: Any) -> None:
    """Train in a folder, on the CPU unless the options differ."""
    training = TrainingRun(job, data, folder, **{"gpus": 0, "log": folder / "log"} | options)
    call(train_experiment, training, log=training.log)


def evaluate(data: Path, folder: Path, job: dict = JOB) -> None:
    """Evaluate what was trained in a folder."""
    write_json(folder / "summary.json", SUMMARY | {"spec": SUMMARY["spec"] | {"model": job["spec"]["model"]}})
    call(evaluate_experiment, job, data, folder / "summary.json", folder, gpus=0, log=folder / "log")


def finish(data: Path, folder: Path) -> Path:
    """Train and evaluate in a folder; return it."""
    train(data, folder)
    evaluate(data, folder)
    return folder


def set_temperature(folder: Path, temperature: float, mistakes: bool = True) -> np.ndarray:
    """Write validation logits of an experiment that have this temperature; return its test logits, float32 (21, 3).

    They are right in 4 of 5 images, and by them, divided by the temperature, the predicted class has 80 %: 8 / (8 + 2).
    """
    file = folder / "predictions.safetensors"
    stored, spec_sha256 = load_file(file), load_model_file(folder / "model.safetensors")[1]["spec_sha256"]
    labels = torch.arange(15) % 3
    predicted = torch.where((torch.arange(15) % 5 == 0) & mistakes, (labels + 1) % 3, labels)
    logits = temperature * math.log(8) * torch.eye(3)[predicted]
    tensors = stored | {"validation_logits": logits, "validation_labels": labels}
    save_tensors(file, tensors, {"spec_sha256": spec_sha256})
    return stored["test_logits"].numpy()


def experiment_folder(root: Path) -> Path:
    """Return the folder in which the scripts put the experiment's results."""
    return root / paths.EXPERIMENT.format(**NAMES)


def arguments(data: Path, root: Path, job: dict = JOB) -> list[str]:
    """Return the command line of train.py and of evaluate.py for the experiment below `root`; write what they read."""
    folder = root / "data/digits"
    if not folder.exists():
        folder.parent.mkdir(parents=True)
        folder.symlink_to(data.parent)
    write_json(root / paths.SUMMARY_JSON.format(**NAMES), SUMMARY)
    write_json(root / "job.json", job)
    return [NAME, "--job", str(root / "job.json"), "--root", str(root), "--gpus", "0", "--log", str(root / "log")]


def error_line(caplog: pytest.LogCaptureFixture, function: Callable, *arguments: Any) -> str:
    """Run a function, as a script does, up to a user's error; return the one line of it."""
    caplog.clear()
    with pytest.raises(SystemExit) as end:
        run(lambda: function(*arguments))
    assert end.value.code == 2
    error = caplog.records[-2]  # the last one asks to run the same command again
    assert error.exc_info is None
    assert "\n" not in error.getMessage()
    return error.getMessage()


def history(folder: Path) -> list[dict]:
    """Read history.csv."""
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def timing(folder: Path) -> dict:
    """Read timing.json."""
    return json.loads((folder / "timing.json").read_text())


@contextlib.contextmanager
def restored_process() -> Iterator[None]:
    """Restore what training changes in its process: signal handlers, torch's determinism."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    deterministic = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fill
