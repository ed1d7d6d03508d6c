"""An error that a user can fix ends training or evaluation in one line that names it; a lack of memory is handled."""

import contextlib
import math
import os
import re
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from small_trainer import network, trainer
from tiny_experiment import (
    JOB,
    SPEC,
    arguments,
    error_line,
    evaluate,
    experiment_folder,
    job_with,
    timing,
    train,
)
from torchvision.models import MobileNetV2

from deepnets.config.recipe import Recipe
from deepnets.planning.snakemake_patches import DIVERGED
from deepnets.training import experiment, experiment_dir, launch
from deepnets.training.device import Device
from deepnets.training.distributed import ProcessGroup
from deepnets.training.state import Progress
from deepnets.training.trainer import Trainer
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file

pytestmark = pytest.mark.usefixtures("process_as_it_was")


# -- what a user can fix ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 7, 1000, 100_000], ids=["empty", "stub", "in-header", "in-weights"])
def test_damaged_weights_are_named_in_one_line(data, copy, caplog, size):
    os.truncate(copy / "model.safetensors", size)
    line = error_line(caplog, evaluate, data, copy)
    assert re.search(r"model\.safetensors: damaged.*; delete it", line)


def test_missing_weights_are_named_in_one_line(data, copy, caplog):
    (copy / "model.safetensors").unlink()
    line = error_line(caplog, evaluate, data, copy)
    assert "model.safetensors: the file is missing" in line


def test_weights_of_another_experiment_are_refused(data, copy, caplog):
    line = error_line(caplog, evaluate, data, copy, JOB | {"spec": SPEC | {"seed": 4}})
    assert "model.safetensors: made with other settings (seed was 3, is 4)" in line


@pytest.fixture
def own_data(data, tmp_path) -> Path:
    """Return a copy of the dataset, which tests may damage."""
    return shutil.copytree(data.parent, tmp_path / "data") / "dataset.json"


def test_training_never_opens_the_test_split(finished, own_data, tmp_path):
    for path in own_data.parent.glob("test_*.npy"):
        path.unlink()
    train(own_data, tmp_path / "seed")
    assert sha256_file(tmp_path / "seed" / "model.safetensors") == sha256_file(finished / "model.safetensors")


def test_missing_test_split_is_named_by_the_evaluation(own_data, copy, caplog):
    (own_data.parent / "test_images.npy").unlink()
    assert "test_images.npy: damaged" in error_line(caplog, evaluate, own_data, copy)


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy"])
def test_truncated_training_data_are_named_in_one_line(own_data, tmp_path, caplog, name):
    os.truncate(own_data.parent / name, 200)
    assert f"{name}: damaged" in error_line(caplog, train, own_data, tmp_path)


def test_diverged_training_ends_in_one_line_of_advice(data, tmp_path, caplog):
    line = error_line(caplog, train, data, tmp_path, job_with(lr=100, warmup=0.0))
    # The words by which Snakemake knows, on a cluster, that a retry would do no good.
    assert f"{DIVERGED} in epoch 1 of 6, with lr 100.0: in the recipe of config.yaml, lower lr" in line
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "advised", "left_out"),
    [
        ({"precision": "bf16"}, ["lower lr", "clip_norm: 1.0", "precision: fp32"], []),
        ({"precision": "fp32"}, ["lower lr", "clip_norm: 1.0"], ["precision"]),
        ({"precision": "fp32", "clip_norm": 2.0}, ["lower lr"], ["precision", "clip_norm"]),
    ],
)
def test_divergence_is_answered_with_what_the_recipe_does_not_have_yet(options, advised, left_out):
    diverging = trainer(lr=1e30, warmup=0.0, **options)
    diverging.device = Device(torch.device("cpu"), options["precision"], 1, True)
    diverging.progress.step = 1
    with pytest.raises(UserError, match="the loss is not finite in epoch") as error:
        diverging._refuse_divergence(0, math.nan)
    assert all(word in str(error.value) for word in advised)
    assert not any(word in str(error.value) for word in left_out)


def test_the_lr_is_not_blamed_for_a_loss_that_was_never_finite(checkpoints):
    model = network()
    model[-1].weight.data.fill_(math.inf)
    with pytest.raises(UserError, match="before any weight has changed, so the lr is not the cause") as error:
        trainer(model, precision="fp32").fit(checkpoints)
    assert "lower lr" not in str(error.value)


def test_failed_compilation_is_one_line_that_names_the_setting(data, tmp_path, caplog, monkeypatch):
    def broken(*_graph):
        raise RuntimeError("no C++\ncompiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    job = job_with(compile=True)
    line = error_line(caplog, train, data, tmp_path, job)
    assert "config.yaml: recipes.quick.compile: torch.compile failed on digits/mobilenet_v2/quick/seed3 (" in line
    assert "no C++ compiler" in line
    assert line.endswith("or set compile: false.")


def test_full_disk_at_the_end_is_one_line_and_costs_no_training(data, tmp_path, caplog, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    short = job_with(epochs=2)
    monkeypatch.setattr("deepnets.training.checkpoints.SAVE_SHARE", math.inf)  # save after every epoch, however short
    with monkeypatch.context() as patch:
        patch.setattr(experiment_dir, "save_tensors", full)
        line = error_line(caplog, train, data, tmp_path, short)
    assert "cannot write the results (No space left on device); free some disk space" in line
    train(data, tmp_path, short)
    assert timing(tmp_path)["resumed_from_epochs"] == [2.0]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_full_disk_is_one_line_from_each_script(root, data, finished, tmp_path, script):
    if script == "evaluate":
        shutil.copytree(finished, experiment_folder(tmp_path))
    done = subprocess.run(
        [sys.executable, str(root / f"scripts/{script}.py"), *arguments(data, tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),  # bytes of any one file
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: .*File too large.*\nThen run the same command again", done.stderr, re.MULTILINE)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_batches_are_halved_until_they_fit_and_timing_json_has_the_number(data, tmp_path, monkeypatch, caplog):
    forward = MobileNetV2.forward

    def cramped(self, images):
        if self.training and len(images) > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return forward(self, images)

    monkeypatch.setattr(MobileNetV2, "forward", cramped)
    gentle = job_with(lr=1e-3)  # batch norm over four images is rough
    train(data, tmp_path, gentle)
    assert (timing(tmp_path)["batch_size"], timing(tmp_path)["accumulation"]) == (16, 4)
    assert "out of memory; continuing from the last saved state with each batch of 16 in 4 micro-batches" in caplog.text


def test_batches_that_cannot_be_halved_any_more_end_in_a_line(data, tmp_path, monkeypatch, caplog):
    def full(*_arguments):
        raise MemoryError

    monkeypatch.setattr(Trainer, "_step", full)
    line = error_line(caplog, train, data, tmp_path)
    assert line.startswith("error: digits/mobilenet_v2/quick/seed3: out of memory even with 2 images at a time; ")


def test_of_several_processes_none_halves_its_batches_alone(data, tmp_path, monkeypatch):
    def full(*_arguments):
        raise MemoryError

    device, group = SimpleNamespace(precision="fp32", threads=1), ProcessGroup(0, 2)
    recipe = Recipe(**SPEC["recipe"])
    steps = {"progress": Progress(), "steps_per_epoch": 1, "total_steps": 6, "batch_size": 64, "accumulation": 2}
    images = MagicMock(image_size=8)  # the thread that writes the progress reads it
    out_of_memory = SimpleNamespace(fit=full, train_split=images, device=device, group=group, recipe=recipe, **steps)
    monkeypatch.setattr(experiment, "_build_trainer", lambda *_arguments: (out_of_memory, None))
    monkeypatch.setattr(launch, "is_launched", lambda: True)
    monkeypatch.setattr(launch, "process_group", lambda: group)
    monkeypatch.setattr(experiment, "connected", lambda *_arguments, **_options: contextlib.nullcontext())
    with pytest.raises(UserError, match=r"out of memory; set accumulation: 4 in the recipe \(the [^)]*\)\.$"):
        train(data, tmp_path)
    with pytest.raises(UserError, match="or ask for more GPUs"):
        train(data, tmp_path, gpus=2)
    out_of_memory.accumulation = 32  # two images at a time
    with pytest.raises(UserError, match="out of memory even with 2 images at a time"):
        train(data, tmp_path)


def test_more_gpus_than_torch_sees_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(experiment, "acquire_gpus", lambda _count, _name: contextlib.nullcontext(["GPU-1"]))
    with pytest.raises(UserError, match="--gpus 4: torch sees 1 here; ask for fewer"):
        train(data, tmp_path, gpus=4)


def test_gpu_that_torch_cannot_use_is_reported(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(experiment, "acquire_gpus", lambda _count, _name: contextlib.nullcontext(["GPU-1"]))
    monkeypatch.setattr(experiment, "_train", lambda *_arguments: None)
    train(data, tmp_path, gpus=1)
    assert "digits/mobilenet_v2/quick/seed3: on the CPU: torch cannot use the GPU" in caplog.text


@pytest.mark.parametrize("seen", [True, False])
def test_gpu_that_nobody_asked_for_is_reported(data, tmp_path, monkeypatch, caplog, seen):
    caplog.set_level("INFO")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    monkeypatch.setattr(experiment, "_train", lambda *_arguments: None)
    train(data, tmp_path)
    assert ("on the CPU: no GPU was requested, though torch sees one; to use it" in caplog.text) == seen
