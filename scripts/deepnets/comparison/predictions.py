"""Read predictions.safetensors without torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from deepnets.evaluation.metrics import Labels, Logits
from deepnets.utils.errors import UserError


@dataclass(frozen=True)
class Predictions:
    """The logits (N, C) and labels (N,) of two splits of one experiment."""

    test_logits: Logits
    test_labels: Labels
    validation_logits: Logits
    validation_labels: Labels


def read_predictions(path: Path, spec_sha256: str) -> Predictions:
    """Read the predictions of an experiment.

    Args:
        path: of the file.
        spec_sha256: of the experiment's spec, which the file must have, too.

    Raises:
        UserError: it is missing or damaged, or of another spec.
    """
    names = [f"{split}_{kind}" for split in ("test", "validation") for kind in ("logits", "labels")]
    try:
        with safetensors.safe_open(path, framework="np") as file:
            found, metadata = {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the next run rebuilds it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it.") from None
    if metadata.get("spec_sha256") != spec_sha256:
        raise UserError(f"{path}: of other settings than metrics.json next to it; delete both.")
    for split in ("test", "validation"):
        _check(path, split, found[f"{split}_logits"], found[f"{split}_labels"])
    return Predictions(**found)


def _check(path: Path, split: str, logits: NDArray, labels: NDArray) -> None:
    fits = logits.ndim == 2 and labels.shape == logits.shape[:1] and len(labels) > 0
    if not fits or logits.dtype != np.float32 or labels.dtype != np.int64:
        shapes = f"{logits.dtype} {logits.shape} and {labels.dtype} {labels.shape}"
        raise UserError(f"{path}: damaged ({split}_logits and {split}_labels are {shapes}); delete it.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise UserError(f"{path}: damaged ({split}_labels are not all from 0 to {logits.shape[1] - 1}); delete it.")
