"""Training and evaluation from end to end: the files that they write, the same bytes after any interruption."""

import csv
import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.special import logsumexp
from tiny_experiment import (
    CLASSES,
    EPOCHS,
    JOB,
    NAME,
    NAMES,
    NETWORK,
    SPEC,
    arguments,
    call,
    evaluate,
    experiment_folder,
    finish,
    history,
    job_with,
    timing,
    train,
)

import evaluate as evaluate_script
import train as train_script
from deepnets.data.splits import Split
from deepnets.evaluation import evaluate as evaluation
from deepnets.evaluation.examples import HITS, keep_examples
from deepnets.evaluation.results import read_timing
from deepnets.planning.study_time import write_study_plan
from deepnets.training import device
from deepnets.training.inference import predict
from deepnets.training.trainer import Trainer
from deepnets.utils import paths
from deepnets.utils.files import canonical_json, sha256_file, sha256_text

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def result(folder: Path) -> dict:
    """Return what must not differ between two runs, byte for byte; of the history all but the times."""
    names = ("model.safetensors", "predictions.safetensors", "predictions.csv", "metrics.json")
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history(folder)]
    return {name: sha256_file(folder / name) for name in names} | {"history.csv": rows}


# -- what is written -------------------------------------------------------------------------------------------------


def test_folder_holds_the_results_and_no_leftovers(finished):
    names = {path.name for path in finished.iterdir()} - {".train.lock"}
    trained = {"model.safetensors", "history.csv", "timing.json"}
    evaluated = {"predictions.safetensors", "predictions.csv", "metrics.json"}
    notes = {".train.sha256", ".evaluate.sha256"}
    assert names == trained | evaluated | notes | {"log", "summary.json"}


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
        metadata = file.metadata()
        names = set(file.keys())
    assert metadata["spec_sha256"] == sha256_text(canonical_json(SPEC))
    assert json.loads(metadata["spec"]) == SPEC
    assert [json.loads(metadata[key]) for key in ("classes", "input_shape", "mean", "std")] == [
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
    assert (metrics["model"], metrics["classes"]) == (NETWORK, CLASSES)
    assert isinstance(metrics["warnings"], list)
    assert [metrics[split]["n"] for split in ("train", "validation", "test")] == [54, 6, 21]
    assert all(metrics[split].keys() >= {"n", "loss", "accuracy"} for split in ("train", "validation", "test"))
    detailed = {"precision_macro", "recall_macro", "f1_macro", "accuracy_ci95", "ece", "per_class", "confusion_matrix"}
    assert metrics["test"].keys() >= detailed


def test_metrics_have_the_size_of_the_weights_file(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["weights_bytes"] == (finished / "model.safetensors").stat().st_size > 4 * NETWORK["parameters"]


def test_predictions_are_those_of_the_metrics_in_the_order_of_the_data(finished, data):
    tensors = load_file(finished / "predictions.safetensors")
    right = int((tensors["test_logits"].argmax(1) == tensors["test_labels"]).sum())
    kept = 21 - right + min(right, HITS)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "test_logits": (torch.float32, (21, 3)),
        "test_labels": (torch.int64, (21,)),
        "validation_logits": (torch.float32, (6, 3)),
        "validation_labels": (torch.int64, (6,)),
        "example_index": (torch.int64, (kept,)),
        "example_images": (torch.uint8, (kept, 1, 8, 8)),
    }
    assert tensors["test_labels"].tolist() == np.load(data.parent / "test_labels.npy").tolist()
    metrics = json.loads((finished / "metrics.json").read_text())
    for split in ("test", "validation"):
        logits, labels = tensors[f"{split}_logits"].double().numpy(), tensors[f"{split}_labels"].numpy()
        loss = (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean()
        assert metrics[split]["loss"] == pytest.approx(loss, abs=1e-9)
        assert metrics[split]["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_table_has_what_the_network_says_of_each_test_image(finished):
    tensors = load_file(finished / "predictions.safetensors")
    probability, predicted = tensors["test_logits"].double().softmax(1).max(1)
    with open(finished / "predictions.csv", newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["index", "file", "label", "predicted", "probability"]
    assert [row[:4] for row in rows] == [
        [str(index), "", CLASSES[label], CLASSES[found]]
        for index, (label, found) in enumerate(zip(tensors["test_labels"], predicted, strict=True))
    ]
    assert [float(row[4]) for row in rows] == pytest.approx(probability.tolist(), abs=5.1e-7)


def test_predictions_keep_images_that_figures_show(finished, data):
    tensors = load_file(finished / "predictions.safetensors")
    index, images = tensors["example_index"], np.load(data.parent / "test_images.npy")
    assert (tensors["example_images"].permute(0, 2, 3, 1).numpy() == images[index]).all()
    confidence = tensors["test_logits"].softmax(1).amax(1)[index].tolist()
    right = (tensors["test_logits"].argmax(1) == tensors["test_labels"])[index].tolist()
    mistakes = right.index(True)
    assert not any(right[:mistakes])
    assert all(right[mistakes:])
    assert confidence[:mistakes] == sorted(confidence[:mistakes], reverse=True)
    assert confidence[mistakes:] == sorted(confidence[mistakes:])


def test_large_images_are_kept_smaller():
    images = Split.of_arrays(np.full((3, 100, 100, 3), 7, np.uint8), np.arange(3))
    kept = keep_examples(np.eye(3, dtype=np.float32), np.arange(3), images)
    assert kept["example_images"].shape == (3, 3, 64, 64)
    assert kept["example_images"].unique().tolist() == [7]


def test_evaluation_sees_the_validation_images_of_the_training(finished):
    metrics, last = json.loads((finished / "metrics.json").read_text()), history(finished)[-1]
    assert metrics["validation"]["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)
    assert metrics["validation"]["accuracy"] == float(last["val_accuracy"])


def predicted_images(monkeypatch) -> list[int]:
    """Return the numbers of images that the evaluation predicts, filled while it runs."""
    numbers: list[int] = []
    monkeypatch.setattr(
        evaluation, "predict", lambda *given, **options: numbers.append(len(given[1])) or predict(*given, **options)
    )
    return numbers


def test_validation_logits_of_the_training_are_not_computed_again(data, tmp_path, monkeypatch):
    folder, numbers = tmp_path / "run", predicted_images(monkeypatch)
    train(data, folder)
    evaluate(data, folder)
    once = result(folder)
    evaluate(data, folder)  # the logits are gone with the checkpoints
    assert numbers == [54, 21, 6, 54, 21]
    assert result(folder) == once


@pytest.mark.parametrize("change", ["other weights", "damaged", "averaged after the last epoch"])
def test_validation_logits_of_other_weights_are_not_used(data, tmp_path, monkeypatch, change):
    folder, numbers = tmp_path / "run", predicted_images(monkeypatch)
    job = job_with(weight_averaging="swa", averaging_start=0.5) if "averaged" in change else JOB
    train(data, folder, job)
    handed_over = folder / ".resume/validation.safetensors"
    if change == "other weights":
        content = handed_over.read_bytes()
        train(data, folder, job_with(lr=0.01))
        job = job_with(lr=0.01)
        handed_over.write_bytes(content)
    elif change == "damaged":
        handed_over.write_bytes(handed_over.read_bytes()[:-5])
    evaluate(data, folder, job)
    assert numbers == [6, 54, 21]


def test_large_training_split_is_measured_on_a_fixed_sample_and_judged_by_the_labels_of_all(data, copy, monkeypatch):
    judged, warnings = [], evaluation.advice.warnings
    monkeypatch.setattr(evaluation, "TRAIN_IMAGES", 20)
    monkeypatch.setattr(
        evaluation.advice, "warnings", lambda **given: judged.append(given["labels"]) or warnings(**given)
    )
    evaluate(data, copy)
    once = (copy / "metrics.json").read_bytes()
    evaluate(data, copy)
    assert (json.loads(once)["train"]["n"], json.loads(once)["train"]["of"]) == (20, 54)
    assert (copy / "metrics.json").read_bytes() == once
    assert len(judged[0]["train"]) == 54


def test_logits_that_are_not_finite_are_null_losses_and_a_warning(data, copy, monkeypatch):
    def with_a_nan(*arguments, **options):
        logits = predict(*arguments, **options)
        logits[0] = torch.nan
        return logits

    monkeypatch.setattr(evaluation, "predict", with_a_nan)
    evaluate(data, copy)
    metrics = json.loads((copy / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert [metrics[split]["loss"] for split in ("train", "validation", "test")] == [None] * 3
    assert "1 image of the test split got logits with NaN or infinity" in " ".join(metrics["warnings"])
    assert "test loss not finite accuracy " in (copy / "log").read_text()


def test_mirror_averages_stand_next_to_the_plain_metrics(data, copy, monkeypatch):
    plain = json.loads((copy / "metrics.json").read_text())
    tensors = load_file(copy / "predictions.safetensors")
    mirrored = {}

    def kept(model, split, *rest, **options):
        logits = predict(model, split, *rest, **options)
        if options["mirrored"]:
            flipped = replace(split, images=split.images.flip(2))  # (N, H, W, C)
            assert torch.equal(logits, predict(model, flipped, *rest))
            mirrored[len(split)] = logits.double().softmax(1)
        return logits

    monkeypatch.setattr(evaluation, "predict", kept)
    evaluate(data, copy, JOB | {"test_time_augmentation": "mirror"})
    metrics = json.loads((copy / "metrics.json").read_text())
    averaged = metrics.pop("mirror_averaged")
    assert metrics == plain | {"test_time_augmentation": "mirror"}
    assert plain["test_time_augmentation"] == "none"
    assert averaged["test"].keys() == plain["test"].keys() - {"per_class", "confusion_matrix"}
    for split, number in (("validation", 6), ("test", 21)):
        labels = tensors[f"{split}_labels"]
        mean = (tensors[f"{split}_logits"].double().softmax(1) + mirrored[number]) / 2
        assert averaged[split]["accuracy"] == pytest.approx((mean.argmax(1) == labels).double().mean().item())
        loss = -mean[torch.arange(number), labels].log().mean().item()
        assert averaged[split]["loss"] == pytest.approx(loss, abs=1e-9)


def test_log_has_a_line_per_epoch_with_the_time_left(finished):
    lines = (finished / "log").read_text().splitlines()
    assert lines[0] == f"{NAME}: 54 images, {timing(finished)['precision']}, 1 thread"
    pattern = (
        rf"{NAME}: epoch 2/6  train loss \d\.\d{{4}} accuracy [\d.]+%  "
        r"validation loss \d+\.\d{4} accuracy [\d.]+%  \d+ images/s  \d+:\d\d left"
    )
    assert re.fullmatch(pattern, lines[2])
    assert sum(": epoch " in line for line in lines) == EPOCHS


def test_epoch_lines_have_the_studys_time_left_where_the_plan_names_this_run_and_another(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = "results/digits/vgg16/quick/seed0"
    write_study_plan({paths.EXPERIMENT.format(**NAMES): 1, other: 100_000}, side_by_side=2)
    call(train_script.main, arguments(data, tmp_path))
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if ": epoch " in line]
    assert len(lines) == EPOCHS
    for line, row in zip(lines, history(experiment_folder(tmp_path)), strict=True):
        # This run takes EPOCHS * seconds instead of one second, and so does the other, in proportion; two run at once.
        total = EPOCHS * float(row["seconds"])
        left = ((EPOCHS - int(row["epoch"])) * float(row["seconds"]) + 100_000 * total) / 2
        minutes = re.search(r" left, study: about (\d+) min left$", line)
        assert minutes, line
        assert int(minutes[1]) == pytest.approx(left / 60, rel=0.01)


# -- the same bytes, whatever happens --------------------------------------------------------------------------------


def test_two_runs_are_byte_identical(finished, data, tmp_path):
    assert result(finish(data, tmp_path)) == result(finished)


def start(root: Path, options: list[str]) -> subprocess.Popen:
    # A little less than its share of the processor: the signal must come before training ends.
    command = ["nice", "-n", "5", sys.executable, str(root / "scripts" / "train.py"), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_terminated_training_saves_and_the_same_command_continues_to_the_same_bytes(root, finished, data, tmp_path):
    options, folder = arguments(data, tmp_path), experiment_folder(tmp_path)
    with start(root, options) as process:
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert "epoch 1/6" in lines[1]
        process.send_signal(signal.SIGTERM)
        lines += process.stderr
    assert process.returncode == 75
    assert all(line.startswith(f"{NAME}: ") for line in lines)  # no warning of any library
    assert "interrupted; the same command continues" in lines[-1]
    assert not (folder / "model.safetensors").exists()
    call(train_script.main, options)
    call(evaluate_script.main, options)
    assert result(folder) == result(finished)
    (resumed,) = timing(folder)["resumed_from_epochs"]
    assert 1 < resumed < EPOCHS


@pytest.fixture
def interrupted(data, tmp_path, monkeypatch):
    """Send a signal to a training run in its fifth step: `interrupted(SIGINT) -> its folder`."""

    def interrupt(number: int) -> Path:
        step, steps = Trainer._step, []

        def counted(self, *args):
            steps.append(step(self, *args))
            if len(steps) == 5:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Trainer, "_step", counted)
        with pytest.raises(SystemExit) as end:
            train(data, tmp_path)
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


def test_timing_has_every_run_that_took_part(data, interrupted, monkeypatch):
    folder = interrupted(signal.SIGTERM)
    monkeypatch.setattr(device, "usable_cores", lambda: 2)
    train(data, folder, threads=2)
    said = timing(folder)
    first, second = said["runs"]
    assert (first["threads"], second["threads"], said["threads"]) == (1, 2, 2)
    assert (first["to_epoch"], second["to_epoch"]) == (second["from_epoch"], EPOCHS)
    for name, total in (("seconds", "wall_seconds"), ("cpu_seconds", "cpu_seconds")):
        assert said[total] == pytest.approx(first[name] + second[name], abs=0.002)
    assert 0 < said["cpu_seconds"] == read_timing(folder / "timing.json").cpu_seconds
    assert read_timing(folder / "timing.json").conditions[0].threads == 1


def test_state_of_other_code_is_not_resumed(data, interrupted, caplog):
    folder = interrupted(signal.SIGTERM)
    train(data, folder, JOB | {"code": {"scripts/train.py": "b"}})
    assert "cannot resume from it (it was written by another configuration or version)" in caplog.text
    assert timing(folder)["resumed_from_epochs"] == []
