"""Read predictions.safetensors without torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from deepnets.evaluation.metrics import Labels, Logits
from deepnets.utils import paths
from deepnets.utils.errors import UserError

_OF_EXAMPLES = ["example_index", "example_images"]


@dataclass(frozen=True)
class Predictions:
    """The logits (N, C) and labels (N,) of two splits of one experiment.

    `test_files`: the names of the test images; None if they were no files.
    """

    test_logits: Logits
    test_labels: Labels
    validation_logits: Logits
    validation_labels: Labels
    test_files: list[str] | None


def read_predictions(path: Path, spec_sha256: str) -> Predictions:
    """Read the predictions of an experiment.

    Args:
        path: of the file.
        spec_sha256: of the experiment's spec, which the file must have, too.

    Raises:
        UserError: it is missing or damaged, or of another spec.
    """
    found, metadata = _read_splits(path, spec_sha256, "test", "validation")
    return Predictions(**found, test_files=_test_files(path, metadata, len(found["test_labels"])))


def read_validation(path: Path, spec_sha256: str) -> tuple[Logits, Labels]:
    """Read the logits (N, C) and labels (N,) of the validation split alone; arguments and errors as above."""
    found, _ = _read_splits(path, spec_sha256, "validation")
    return found["validation_logits"], found["validation_labels"]


def read_test(path: Path) -> tuple[Logits, Labels]:
    """Read the logits (N, C) and labels (N,) of the test split alone, of whatever spec.

    Raises:
        UserError: the file is missing or damaged.
    """
    found, _ = _read_splits(path, None, "test")
    return found["test_logits"], found["test_labels"]


def _read_splits(path: Path, spec_sha256: str | None, *splits: str) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Read and check logits and labels, and that they are of this spec; None: of any."""
    found, metadata = _read(path, [f"{split}_{kind}" for split in splits for kind in ("logits", "labels")])
    if spec_sha256 not in (None, metadata.get("spec_sha256")):
        raise UserError(
            f"{path}: of other settings than metrics.json or {paths.MODEL_FILE} next to it; start Snakemake, which"
            " rebuilds it, or delete it."
        )
    for split in splits:
        _check(path, split, found[f"{split}_logits"], found[f"{split}_labels"])
    return found, metadata


def _test_files(path: Path, metadata: dict[str, str], images: int) -> list[str] | None:
    if "test_files" not in metadata:
        return None
    try:
        files = json.loads(metadata["test_files"])
    except ValueError:
        files = []
    if len(files) != images:
        raise UserError(f"{path}: damaged (test_files are not the names of {images} images); delete it.")
    return files


def read_examples(path: Path) -> dict[int, NDArray[np.uint8]]:
    """Return the test images that an experiment's predictions bring: index in the split -> uint8 (h, w, C).

    Raises:
        UserError: the file is missing or damaged.
    """
    found, _ = _read(path, _OF_EXAMPLES)
    pictures = found["example_images"].transpose(0, 2, 3, 1)
    return dict(zip(found["example_index"].tolist(), pictures, strict=True))


def _read(path: Path, names: Sequence[str]) -> tuple[dict[str, NDArray], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the next run rebuilds it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it.") from None


def _check(path: Path, split: str, logits: NDArray, labels: NDArray) -> None:
    fits = logits.ndim == 2 and labels.shape == logits.shape[:1] and len(labels) > 0
    if not fits or logits.dtype != np.float32 or labels.dtype != np.int64:
        shapes = f"{logits.dtype} {logits.shape} and {labels.dtype} {labels.shape}"
        raise UserError(f"{path}: damaged ({split}_logits and {split}_labels are {shapes}); delete it.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise UserError(f"{path}: damaged ({split}_labels are not all from 0 to {logits.shape[1] - 1}); delete it.")
