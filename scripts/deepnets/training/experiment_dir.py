"""The files of a trained experiment: who may write them, and what is in them."""

import contextlib
import csv
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from deepnets.config.experiment import spec_sha256
from deepnets.training.trainer import Trainer
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, remove_leftovers, write_json
from deepnets.utils.logging import LOG
from deepnets.utils.machine import in_batch_job
from deepnets.utils.tensors import load_tensors, save_tensors

WAIT_SECONDS = 60.0
RESUME_FOLDER = ".resume"  # in the experiment's folder; no output of any rule, so that Snakemake leaves it alone


def label(names: dict) -> str:
    """An experiment for the terminal: digits/resnet50/quick/seed0."""
    return "{dataset}/{model}/{recipe}/seed{seed}".format(**names)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold an experiment's folder for this process alone, waiting for another trainer to leave it.

    Snakemake's own children can outlive it, and the next start would train the same experiment beside them. These end
    within a minute. The jobs of a batch system go on to their end, so that a job waits for as long as it may run. The
    lock is the kernel's: it ends with its process, however that dies.

    Raises:
        UserError: another trainer is still at it, named by its process and host; or the folder cannot be written.
    """
    lock, owner = FileLock(folder / ".train.lock"), folder / ".train.owner"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _acquire(lock, folder, owner)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write here ({error.strerror}); make it writable, then run the same command again."
        ) from None
    try:
        remove_leftovers(folder)
        owner.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, folder: Path, owner: Path) -> None:
    with contextlib.suppress(Timeout):
        lock.acquire(blocking=False)
        return
    LOG.warning("%s: waiting for %s, which trains here", folder, _read(owner))
    seconds, between = (-1, 1.0) if in_batch_job() else (WAIT_SECONDS, 0.05)
    try:
        lock.acquire(timeout=seconds, poll_interval=between)
    except Timeout:
        raise UserError(
            f"{folder}: {_read(owner)} is still training here; wait until it has finished, or end it, "
            "then run the same command again: it goes on from the last saved state."
        ) from None


def _read(owner: Path) -> str:
    try:
        return owner.read_text() or "another process"
    except OSError:
        return "another process"


def write_results(
    folder: Path, network: nn.Module, trainer: Trainer, spec: dict, info: dict, keeps_memory: bool
) -> None:
    """Write history.csv, timing.json and model.safetensors, the weights last.

    Args:
        folder: the experiment's folder.
        network: the trained network.
        trainer: knows how the training went.
        spec: the experiment's spec.
        info: the dataset's facts, from dataset.json.
        keeps_memory: what `hardware.disable_malloc_trim` returned.

    Raises:
        UserError: a file cannot be written (full disk, read-only folder).
    """
    history, timing, model = (folder / name for name in ("history.csv", "timing.json", "model.safetensors"))
    try:
        with record_checksums("train", history, timing, model):
            _write_history(history, trainer.progress.history)
            write_json(timing, _timing(trainer, keeps_memory))
            facts = {key: info[key] for key in ("classes", "input_shape", "mean", "std")}
            save_tensors(model, dict(network.state_dict()), {"spec": spec, "spec_sha256": spec_sha256(spec), **facts})
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot write the results ({error.strerror}); free some disk space or make "
            "the folder writable, then run the same command again: it goes on from the last saved state."
        ) from None


def _write_history(path: Path, rows: list[dict]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _timing(trainer: Trainer, keeps_memory: bool) -> dict:
    """What timing.json says: all that may differ between two runs that compute the same thing."""
    progress, recipe, hardware = trainer.progress, trainer.recipe, trainer.hardware
    seconds = sum(row["seconds"] for row in progress.history)
    images = trainer.steps_per_epoch * trainer.batch_size * recipe.epochs
    return {
        **hardware.describe(),
        # Nothing chooses these two: no network was measured slower with them. Precision is chosen, by device and layer,
        # as bfloat16 is slower in some; threads are, by how many trainings share the cores.
        "memory_format": "channels_last",
        "allocator": "keeps freed memory" if keeps_memory else "default",
        "processes": trainer.processes.count,
        "epochs": recipe.epochs,
        "batch_size": trainer.batch_size,
        "accumulation": trainer.accumulation,
        "train_seconds": round(seconds, 3),
        "wall_seconds": round(progress.wall_seconds, 3),
        "images_per_second": round(images / seconds, 1),
        "peak_memory_mb": round(hardware.peak_memory_mb(), 1),
        "resumed_from_epochs": progress.resumed_from,
    }


def load_model_file(path: str | Path) -> tuple[dict, dict]:
    """The weights of model.safetensors by name, and its metadata with every value decoded.

    Raises:
        UserError: the file is missing, damaged or of another program.
    """
    tensors, metadata = load_tensors(path)
    try:
        decoded = {key: value if key == "spec_sha256" else json.loads(value) for key, value in metadata.items()}
    except ValueError:
        raise UserError(f"{path}: not a model of this program; delete it and run the same command again.") from None
    return tensors, decoded
