"""The folder of an experiment: the lock that keeps other trainers out, and the files that training writes."""

import contextlib
import csv
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor, nn

from deepnets.config.experiment import OF_IMAGES, spec_sha256
from deepnets.training.owner_file import owner
from deepnets.training.trainer import Trainer
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums, recorded_checksum
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, error_names, remove_leftovers, write_json
from deepnets.utils.logging import LOG
from deepnets.utils.machine import in_batch_job
from deepnets.utils.tensors import load_tensors, save_tensors
from deepnets.utils.waiting import WAIT_SECONDS

_OTHER = "another process"  # that trains here and does not say which it is
_VALIDATION_FILE = "validation.safetensors"  # among the checkpoints, which the evaluation removes
# How a picture becomes the input of a network, for those who use a weights file without this program: as data/decode.py
# and Augmentation.normalise do it. `input_shape` is (C, H, W), `mean` and `std` have a value for each channel.
_PREPROCESSING = {
    "orientation": "upright, by EXIF",
    "transparency": "on white",
    "channels": "3: RGB; 1: gray, 0.299 R + 0.587 G + 0.114 B",
    "resize": "to (H, W), bilinear with antialiasing",
    "pixel_scale": 255,
    "normalise": "(pixel / pixel_scale - mean) / std",
}
_NOT_SQUARE = {  # the first thing that is done to a picture once it is upright, by the dataset's `non_square`
    "crop": "the largest centred square",
    "pad": "all of it, with black at two sides",
    "squash": "all of it, in other proportions",
}


def preprocessing(dataset_spec: dict) -> dict[str, object]:
    """How a picture of a dataset becomes the input of a network."""
    return {**_PREPROCESSING, "not_square": _NOT_SQUARE[dataset_spec.get("non_square", "crop")]}


def experiment_name(names: dict) -> str:
    """The name of an experiment in messages: digits/resnet50/quick/seed0."""
    return paths.EXPERIMENT_NAME.format(**names)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock an experiment's folder for this process, and wait for another trainer to finish.

    Snakemake's child processes can outlive it, and the next start would train the same experiment at the same time.
    Such a child ends within a minute. The jobs of a batch system run to their end, so a batch job waits as long as it
    may run. The kernel releases the lock when its process ends, however it ends.

    Raises:
        UserError: another trainer still runs, the message has its process and host; or the folder cannot be written.
    """
    lock, owner_file = FileLock(folder / ".train.lock"), folder / paths.OWNER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _acquire(lock, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot write here ({error.strerror}); make the folder writable.") from None
    try:
        remove_leftovers(folder)
        with error_names(owner_file):
            owner_file.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        (folder / paths.PROGRESS_FILE).unlink(missing_ok=True)
        owner_file.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    with contextlib.suppress(Timeout):
        lock.acquire(blocking=False)
        return
    LOG.warning("%s: waiting for %s, which trains here", folder, owner(folder, _OTHER))
    seconds, between = (-1, 1.0) if in_batch_job() else (WAIT_SECONDS, 0.05)
    try:
        lock.acquire(timeout=seconds, poll_interval=between)
    except Timeout:
        raise UserError(
            f"{folder}: {owner(folder, _OTHER)} is still training here; wait until it has finished, or end it: "
            "the next run continues from the last saved state."
        ) from None


def write_results(
    folder: Path, network: nn.Module, trainer: Trainer, spec: dict, metadata: dict, keeps_memory: bool
) -> None:
    """Write history.csv, timing.json and model.safetensors, the weights last.

    Args:
        folder: the experiment's folder.
        network: the trained network.
        trainer: the trainer after `fit`.
        spec: the experiment's spec.
        metadata: the content of dataset.json, with the mean and std that the network's inputs are normalised by, and
            what it was started from.
        keeps_memory: the return value of `device.disable_malloc_trim`.

    Raises:
        UserError: a file cannot be written (full disk, read-only folder).
    """
    history, timing, model = (folder / name for name in (paths.HISTORY_FILE, paths.TIMING_FILE, paths.MODEL_FILE))
    try:
        with record_checksums("train", history, timing, model):
            _write_history(history, trainer.progress.history)
            write_json(timing, _timing(trainer, keeps_memory))
            of_images = {key: metadata.get(key) for key in OF_IMAGES}
            how = preprocessing(spec["dataset"])
            texts = {"spec": spec, "spec_sha256": spec_sha256(spec), **of_images, "preprocessing": how}
            texts |= {key: metadata[key] for key in ("max_megapixels", "started_from") if metadata.get(key)}
            save_tensors(model, dict(network.state_dict()), texts)
        _hand_over(folder, trainer.validation_logits)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot write the results ({error.strerror}); free some disk space or make "
            "the folder writable: the next run continues from the last saved state."
        ) from None


def _hand_over(folder: Path, validation_logits: Tensor | None) -> None:
    """Leave the validation logits for the evaluation, which then need not compute them again."""
    file = folder / paths.CHECKPOINTS / _VALIDATION_FILE
    file.unlink(missing_ok=True)  # of an earlier training run
    if validation_logits is not None:
        file.parent.mkdir(exist_ok=True)
        save_tensors(file, {"logits": validation_logits}, {"model": recorded_checksum(folder / paths.MODEL_FILE)})


def handed_over_logits(folder: Path) -> Tensor | None:
    """The validation logits that training left, float32 (N, C); None if it left none, or if the weights changed since.

    Training leaves none if it was interrupted after its last epoch, or if `swa` made the final network after it.
    """
    try:
        tensors, metadata = load_tensors(folder / paths.CHECKPOINTS / _VALIDATION_FILE)
    except UserError:  # missing or damaged
        return None
    return tensors["logits"] if metadata.get("model") == recorded_checksum(folder / paths.MODEL_FILE) else None


def _write_history(path: Path, rows: list[dict]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _timing(trainer: Trainer, keeps_memory: bool) -> dict:
    """The content of timing.json: everything that may differ between two runs that compute the same thing.

    `runs` has every run that took part, from the first to the last one; what can differ among them is also given for
    the last one, and its seconds and memory for all.
    """
    progress, recipe, device = trainer.progress, trainer.recipe, trainer.device
    seconds = sum(row["seconds"] for row in progress.history)
    images = trainer.total_steps * trainer.batch_size
    return {
        **device.describe(),
        # Always these two: no network was measured slower with them. The precision depends on the device and the layer,
        # as some are slower in bfloat16; the threads depend on how many training runs share the cores.
        "memory_format": "channels_last",
        "allocator": "keeps freed memory" if keeps_memory else "default",
        "processes": trainer.group.world_size,
        "epochs": recipe.epochs,
        "batch_size": trainer.batch_size,
        "accumulation": trainer.accumulation,
        "train_seconds": round(seconds, 3),
        "wall_seconds": round(progress.wall_seconds, 3),
        "cpu_seconds": round(sum(run["cpu_seconds"] for run in progress.runs), 3),
        "images_per_second": round(images / seconds, 1),
        "peak_memory_mb": max(run["peak_memory_mb"] for run in progress.runs),
        "resumed_from_epochs": [run["from_epoch"] for run in progress.runs[1:]],
        "runs": [run | {key: round(run[key], 3) for key in ("seconds", "cpu_seconds")} for run in progress.runs],
    }


def load_model_file(path: str | Path, hint: str = "delete it") -> tuple[dict, dict]:
    """The weights of model.safetensors by name, and its metadata with every value decoded from JSON.

    Args:
        path: the file.
        hint: what to do if it is damaged or of another program.

    Raises:
        UserError: the file is missing, damaged or not written by this program.
    """
    tensors, metadata = load_tensors(path, hint)
    try:
        decoded = {key: value if key == "spec_sha256" else json.loads(value) for key, value in metadata.items()}
    except ValueError:
        raise UserError(f"{path}: not a model of this program; {hint}.") from None
    return tensors, decoded
