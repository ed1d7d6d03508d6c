"""train.py and evaluate.py from end to end: MobileNetV2 on 60 images of 8x8 pixels."""

import contextlib
import csv
import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.special import logsumexp
from torchvision.models import MobileNetV2

import evaluate
import train
from deepnets.config.recipe import Recipe
from deepnets.evaluation import evaluate as evaluation
from deepnets.training import experiment, experiment_dir, launch
from deepnets.training.distributed import ProcessGroup
from deepnets.training.trainer import Trainer
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_file, sha256_text, write_json
from deepnets.utils.logging import LOG

EPOCHS = 6
SPEC = {
    "dataset": {"source": "sklearn_digits", "horizontal_flip": False},
    "model": {"architecture": "mobilenet_v2"},
    "recipe": Recipe(epochs=EPOCHS, batch_size=16, augment={"crop_padding": 1}).model_dump(),
    "seed": 3,
}
NAMES = {"dataset": "digits", "model": "mobilenet_v2", "recipe": "quick", "seed": 3}
JOB = {"spec": SPEC, "experiment": NAMES, "code": {"scripts/train.py": "a"}}
SUMMARY = {"parameters": 1814346, "mult_adds": 10}
CLASSES = ["zero", "one", "two"]


@pytest.fixture(autouse=True, scope="module")
def process_as_it_was():
    """Put back what the scripts switch on for their process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    deterministic, level = torch.are_deterministic_algorithms_enabled(), LOG.level
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    LOG.setLevel(level)


def call(main: Callable, *arguments) -> None:
    """Call, and close the log file that a script keeps open to the end of its process."""
    try:
        main(*arguments)
    finally:
        for handler in LOG.handlers:
            handler.close()
        LOG.handlers = []


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The dataset.json of a prepared dataset of three classes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 60), ("test", 21)):
        labels = np.arange(n) % 3
        images = rng.integers(60, size=(n, 8, 8, 1)) + 90 * (np.arange(8) // 3 == labels[:, None])[:, :, None, None]
        for kind, array in (("images", images.astype(np.uint8)), ("labels", labels.astype(np.int64))):
            path = folder / f"{part}_{kind}.npy"
            np.save(path, array)
            arrays[path.name] = {"sha256": sha256_file(path), "shape": list(array.shape), "dtype": str(array.dtype)}
    facts = {"classes": CLASSES, "input_shape": [1, 8, 8], "mean": [0.23], "std": [0.2]}
    write_json(folder / "dataset.json", {"schema_version": 1, "dataset": "tiny", "arrays": arrays, **facts})
    return folder / "dataset.json"


def train_arguments(data: Path, folder: Path, job: dict = JOB) -> list[str]:
    where = ["--job", json.dumps(job), "--data", str(data), "--output", str(folder)]
    return [*where, "--threads", "1", "--gpus", "0", "--log", str(folder / "log")]


def evaluate_arguments(data: Path, folder: Path, job: dict = JOB) -> list[str]:
    write_json(folder / "summary.json", SUMMARY)
    return [*train_arguments(data, folder, job), "--summary", str(folder / "summary.json")]


def finish(data: Path, folder: Path) -> Path:
    call(train.main, train_arguments(data, folder))
    call(evaluate.main, evaluate_arguments(data, folder))
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    """The folder of an experiment that nothing disturbed; not to be written to."""
    return finish(data, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished experiment, to be changed."""
    return shutil.copytree(finished, tmp_path / "copy")


def history(folder: Path) -> list[dict]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def result(folder: Path) -> dict:
    """What must not differ between two runs, byte for byte; of the history all but the times."""
    names = ("model.safetensors", "predictions.safetensors", "metrics.json")
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history(folder)]
    return {name: sha256_file(folder / name) for name in names} | {"history.csv": rows}


def timing(folder: Path) -> dict:
    return json.loads((folder / "timing.json").read_text())


def last_words(script, arguments: list[str], caplog) -> str:
    """Run a script that ends with a user's error; its one line."""
    caplog.clear()
    with pytest.raises(SystemExit) as end:
        call(run, lambda: script.main(arguments))
    assert end.value.code == 2
    error = caplog.records[-2]  # the last says to run the same command again
    assert error.exc_info is None
    assert "\n" not in error.getMessage()
    return error.getMessage()


# -- what is written -------------------------------------------------------------------------------------------------


def test_folder_holds_the_results_and_no_leftovers(finished):
    names = {path.name for path in finished.iterdir()} - {".train.lock"}
    results = {"model.safetensors", "history.csv", "timing.json", "predictions.safetensors", "metrics.json"}
    notes = {".train.sha256", ".evaluate.sha256"}
    assert names == results | notes | {"log", "summary.json"}


def test_history_has_a_row_per_epoch(finished):
    rows = history(finished)
    assert list(rows[0]) == [
        "epoch",
        "lr",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "seconds",
        "images_per_second",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert b"\r" not in (finished / "history.csv").read_bytes()


def test_timing_says_what_may_differ_between_runs(finished):
    said = timing(finished)
    keys = {"device", "device_name", "precision", "threads", "batch_size", "wall_seconds", "images_per_second"}
    assert said["processes"] == 1
    assert said.keys() >= keys | {"peak_memory_mb", "resumed_from_epochs", "versions"}
    assert (said["device"], said["threads"], said["batch_size"]) == ("cpu", 1, 16)
    assert said["precision"] in ("fp32", "bf16")
    assert said["resumed_from_epochs"] == []
    assert said["wall_seconds"] >= said["train_seconds"] > 0


def test_timing_says_which_memory_format_and_allocator_it_was(finished):
    glibc = platform.libc_ver()[0] == "glibc"
    said = timing(finished)
    assert (said["memory_format"], said["allocator"]) == (
        "channels_last",
        "keeps freed memory" if glibc else "default",
    )


def test_model_file_says_what_it_is(finished):
    with safe_open(finished / "model.safetensors", framework="pt") as file:
        facts = file.metadata()
        names = set(file.keys())
    assert facts["spec_sha256"] == sha256_text(canonical_json(SPEC))
    assert json.loads(facts["spec"]) == SPEC
    assert [json.loads(facts[key]) for key in ("classes", "input_shape", "mean", "std")] == [
        CLASSES,
        [1, 8, 8],
        [0.23],
        [0.2],
    ]
    assert "classifier.1.weight" in names


def test_metrics_keep_their_contract(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert (metrics["schema_version"], metrics["experiment"], metrics["spec"]) == (1, NAMES, SPEC)
    assert metrics["spec_sha256"] == sha256_text(canonical_json(SPEC))
    assert (metrics["model"], metrics["classes"]) == (SUMMARY, CLASSES)
    assert isinstance(metrics["warnings"], list)
    assert [metrics[part]["n"] for part in ("train", "validation", "test")] == [54, 6, 21]
    assert all(metrics[part].keys() >= {"n", "loss", "accuracy"} for part in ("train", "validation", "test"))
    detailed = {"precision_macro", "recall_macro", "f1_macro", "accuracy_ci95", "ece", "per_class", "confusion_matrix"}
    assert metrics["test"].keys() >= detailed


def test_predictions_are_those_of_the_metrics_in_the_order_of_the_data(finished, data):
    tensors = load_file(finished / "predictions.safetensors")
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "test_logits": (torch.float32, (21, 3)),
        "test_labels": (torch.int64, (21,)),
        "validation_logits": (torch.float32, (6, 3)),
        "validation_labels": (torch.int64, (6,)),
    }
    assert tensors["test_labels"].tolist() == np.load(data.parent / "test_labels.npy").tolist()
    metrics = json.loads((finished / "metrics.json").read_text())
    for part in ("test", "validation"):
        logits, labels = tensors[f"{part}_logits"].double().numpy(), tensors[f"{part}_labels"].numpy()
        loss = (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean()
        assert metrics[part]["loss"] == pytest.approx(loss, abs=1e-9)
        assert metrics[part]["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_evaluation_sees_the_validation_images_of_the_training(finished):
    metrics, last = json.loads((finished / "metrics.json").read_text()), history(finished)[-1]
    assert metrics["validation"]["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)
    assert metrics["validation"]["accuracy"] == float(last["val_accuracy"])


def test_large_training_part_is_measured_on_a_fixed_sample(data, copy, monkeypatch):
    monkeypatch.setattr(evaluation, "TRAIN_IMAGES", 20)
    call(evaluate.main, evaluate_arguments(data, copy))
    once = (copy / "metrics.json").read_bytes()
    call(evaluate.main, evaluate_arguments(data, copy))
    assert json.loads(once)["train"]["n"] == 20
    assert (copy / "metrics.json").read_bytes() == once


def test_log_has_a_line_per_epoch_with_the_time_left(finished):
    lines = (finished / "log").read_text().splitlines()
    assert lines[0] == "digits/mobilenet_v2/quick/seed3: 54 images, {}, 1 thread".format(timing(finished)["precision"])
    pattern = (
        r"digits/mobilenet_v2/quick/seed3: epoch 2/6  train loss \d\.\d{4} accuracy [\d.]+%  "
        r"validation loss \d+\.\d{4} accuracy [\d.]+%  \d+ images/s  \d+:\d\d left"
    )
    assert re.fullmatch(pattern, lines[2])
    assert sum(": epoch " in line for line in lines) == EPOCHS


# -- the same bytes, whatever happens --------------------------------------------------------------------------------


def test_two_runs_are_byte_identical(finished, data, tmp_path):
    assert result(finish(data, tmp_path)) == result(finished)


def start(root: Path, arguments: list[str]) -> subprocess.Popen:
    # A little less than its share of the processor: the signal is to come in the middle of the training.
    command = ["nice", "-n", "5", sys.executable, str(root / "scripts" / "train.py"), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_terminated_training_saves_says_so_and_goes_on_to_the_same_bytes(root, finished, data, tmp_path):
    with start(root, train_arguments(data, tmp_path)) as process:
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert "epoch 1/6" in lines[1]
        process.send_signal(signal.SIGTERM)
        lines += process.stderr
    assert process.returncode == 75
    assert all(line.startswith("digits/mobilenet_v2/quick/seed3: ") for line in lines)  # no warning of any library
    assert "interrupted; the same command continues" in lines[-1]
    assert not (tmp_path / "model.safetensors").exists()
    assert result(finish(data, tmp_path)) == result(finished)
    (resumed,) = timing(tmp_path)["resumed_from_epochs"]
    assert 1 < resumed < EPOCHS


@pytest.fixture
def interrupted(data, tmp_path, monkeypatch):
    """`interrupted(SIGINT)`: a folder in which a training was sent this signal in its fifth step."""

    def interrupt(number: int) -> Path:
        step, steps = Trainer._step, []

        def counted(self, *args):
            steps.append(step(self, *args))
            if len(steps) == 5:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Trainer, "_step", counted)
        with pytest.raises(SystemExit) as end:
            call(train.main, train_arguments(data, tmp_path))
        monkeypatch.undo()
        assert end.value.code == 75
        assert len(steps) == 5
        return tmp_path

    return interrupt


def test_interrupt_from_the_keyboard_stops_at_the_next_step_and_resumes(finished, data, interrupted):
    folder = interrupted(signal.SIGINT)
    assert result(finish(data, folder)) == result(finished)
    assert timing(folder)["resumed_from_epochs"] == [pytest.approx(5 / 3, abs=0.001)]
    assert len(history(folder)) == EPOCHS
    assert not (folder / ".resume").exists()


def test_state_of_other_code_is_not_resumed(data, interrupted, caplog):
    folder = interrupted(signal.SIGTERM)
    call(train.main, train_arguments(data, folder, JOB | {"code": {"scripts/train.py": "b"}}))
    assert "cannot resume from it (it was written by another configuration or version)" in caplog.text
    assert timing(folder)["resumed_from_epochs"] == []


# -- what a user must mend -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 7, 1000, 100_000], ids=["empty", "stub", "in-header", "in-weights"])
def test_damaged_weights_are_named_in_one_line(data, copy, caplog, size):
    os.truncate(copy / "model.safetensors", size)
    line = last_words(evaluate, evaluate_arguments(data, copy), caplog)
    assert re.search(r"model\.safetensors: damaged.*; delete it", line)


def test_missing_weights_are_named_in_one_line(data, copy, caplog):
    (copy / "model.safetensors").unlink()
    line = last_words(evaluate, evaluate_arguments(data, copy), caplog)
    assert "model.safetensors: the file is missing" in line


def test_weights_of_another_experiment_are_refused(data, copy, caplog):
    line = last_words(evaluate, evaluate_arguments(data, copy, JOB | {"spec": SPEC | {"seed": 4}}), caplog)
    assert "model.safetensors: was trained with other settings" in line


@pytest.fixture
def own_data(data, tmp_path) -> Path:
    """A copy of the dataset, to be damaged."""
    return shutil.copytree(data.parent, tmp_path / "data") / "dataset.json"


def test_training_never_opens_the_test_part(finished, own_data, tmp_path):
    for path in own_data.parent.glob("test_*.npy"):
        path.unlink()
    call(train.main, train_arguments(own_data, tmp_path / "seed"))
    assert sha256_file(tmp_path / "seed" / "model.safetensors") == sha256_file(finished / "model.safetensors")


def test_missing_test_part_is_named_by_the_evaluation(own_data, copy, caplog):
    (own_data.parent / "test_images.npy").unlink()
    assert "test_images.npy: damaged" in last_words(evaluate, evaluate_arguments(own_data, copy), caplog)


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy"])
def test_truncated_training_data_are_named_in_one_line(own_data, tmp_path, caplog, name):
    os.truncate(own_data.parent / name, 200)
    assert f"{name}: damaged" in last_words(train, train_arguments(own_data, tmp_path), caplog)


def test_diverged_training_ends_in_one_line_of_advice(data, tmp_path, caplog):
    recipe = SPEC["recipe"] | {"lr": 1e30, "warmup": 0.0}
    line = last_words(train, train_arguments(data, tmp_path, JOB | {"spec": SPEC | {"recipe": recipe}}), caplog)
    assert "the loss is not finite in epoch 1 of 6, with lr 1e+30: in the recipe of config.yaml, lower lr" in line
    assert not (tmp_path / "model.safetensors").exists()


def test_failed_compilation_is_one_line_that_names_the_setting(data, tmp_path, caplog, monkeypatch):
    def broken(*_graph):
        raise RuntimeError("no C++\ncompiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    job = JOB | {"spec": SPEC | {"recipe": SPEC["recipe"] | {"compile": True}}}
    line = last_words(train, train_arguments(data, tmp_path, job), caplog)
    assert "config.yaml: recipes.quick.compile: torch.compile failed on digits/mobilenet_v2/quick/seed3 (" in line
    assert "no C++ compiler" in line
    assert line.endswith("or set compile: false.")


def test_full_disk_at_the_end_is_one_line_and_costs_no_training(data, tmp_path, caplog, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    short = JOB | {"spec": SPEC | {"recipe": SPEC["recipe"] | {"epochs": 2}}}
    monkeypatch.setattr("deepnets.training.checkpoints.SAVE_SHARE", math.inf)  # save after every epoch, however short
    with monkeypatch.context() as patch:
        patch.setattr(experiment_dir, "save_tensors", full)
        line = last_words(train, train_arguments(data, tmp_path, short), caplog)
    assert "cannot write the results (No space left on device); free some disk space" in line
    call(train.main, train_arguments(data, tmp_path, short))
    assert timing(tmp_path)["resumed_from_epochs"] == [2.0]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_full_disk_is_one_line_from_each_script(root, data, copy, script):
    arguments = {"train": train_arguments, "evaluate": evaluate_arguments}[script](data, copy)
    done = subprocess.run(
        [sys.executable, str(root / f"scripts/{script}.py"), *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),  # bytes of any one file
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: .*File too large.*\nThen run the same command again", done.stderr, re.MULTILINE)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_batches_are_halved_until_they_fit_and_timing_says_so(data, tmp_path, monkeypatch, caplog):
    forward = MobileNetV2.forward

    def cramped(self, images):
        if self.training and len(images) > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return forward(self, images)

    monkeypatch.setattr(MobileNetV2, "forward", cramped)
    gentle = JOB | {"spec": SPEC | {"recipe": SPEC["recipe"] | {"lr": 1e-3}}}  # batch norm over four images is rough
    call(train.main, train_arguments(data, tmp_path, gentle))
    assert (timing(tmp_path)["batch_size"], timing(tmp_path)["accumulation"]) == (16, 4)
    assert "out of memory; continuing from the last saved state with each batch of 16 in 4 micro-batches" in caplog.text


def test_batches_that_cannot_be_halved_any_more_end_in_a_line(data, tmp_path, monkeypatch, caplog):
    def full(self, images):
        raise MemoryError

    monkeypatch.setattr(MobileNetV2, "forward", full)
    line = last_words(train, train_arguments(data, tmp_path), caplog)
    assert line.startswith("error: digits/mobilenet_v2/quick/seed3: out of memory even with 2 images at a time; ")


def test_of_several_processes_none_halves_its_batches_alone(data, tmp_path, monkeypatch):
    def full(*_arguments):
        raise MemoryError

    device, group = SimpleNamespace(precision="fp32", threads=1), ProcessGroup(0, 2)
    recipe = Recipe(**SPEC["recipe"])
    trainer = SimpleNamespace(fit=full, train_split=[], device=device, group=group, accumulation=2, recipe=recipe)
    monkeypatch.setattr(experiment, "_build_trainer", lambda *_arguments: trainer)
    monkeypatch.setattr(launch, "is_launched", lambda: True)
    monkeypatch.setattr(launch, "process_group", lambda: group)
    monkeypatch.setattr(experiment, "connected", lambda *_arguments, **_options: contextlib.nullcontext())
    with pytest.raises(UserError, match="out of memory; set accumulation: 4 in the recipe"):
        call(train.main, train_arguments(data, tmp_path))


def test_more_gpus_than_torch_sees_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(experiment, "acquire_gpus", lambda count: contextlib.nullcontext(["GPU-1"]))
    with pytest.raises(UserError, match="--gpus 4: torch sees 1 here; ask for fewer"):
        call(train.main, [*train_arguments(data, tmp_path), "--gpus", "4"])


def test_gpu_that_torch_cannot_use_is_told(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(experiment, "acquire_gpus", lambda count: contextlib.nullcontext(["GPU-1"]))
    monkeypatch.setattr(experiment, "_train", lambda *_arguments: None)
    call(train.main, [*train_arguments(data, tmp_path), "--gpus", "1"])
    assert "digits/mobilenet_v2/quick/seed3: on the CPU: torch cannot use the GPU" in caplog.text


@pytest.mark.parametrize("seen", [True, False])
def test_gpu_that_nobody_asked_for_is_told(data, tmp_path, monkeypatch, caplog, seen):
    caplog.set_level("INFO")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    monkeypatch.setattr(experiment, "_train", lambda *_arguments: None)
    call(train.main, train_arguments(data, tmp_path))
    assert ("on the CPU: no GPU was requested, though torch sees one; to use it" in caplog.text) == seen
