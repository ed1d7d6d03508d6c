"""Checkpoints to resume from: safetensors, never pickle; a file is complete or absent."""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file, write_json
from deepnets.utils.tensors import load_tensors, save_tensors
from deepnets.utils.waiting import SAVE_SECONDS, SAVE_SHARE, SAVED_BYTES_PER_SECOND

RESUME_FORMAT = 2


class CheckpointDir:
    """The checkpoints of one training run: the newest two, each verified before it is used.

    A checkpoint is `state-<step>.safetensors`, which holds everything, and `state-<step>.json` with its checksum. The
    second file is written last; without it the first is ignored. No rule declares the folder as an output, so
    Snakemake leaves it alone.

    Args:
        folder: where the checkpoints are; created by the first save.
        key: hash of the spec and the code; a checkpoint with another key is never loaded.
        log: takes one line for the user.
    """

    def __init__(self, folder: str | Path, key: str, log: Callable[[str], None]):
        self.folder, self.key, self.log = Path(folder), key, log
        self.seconds_of_last_save = 0.0

    def save(self, step: int, tensors: dict[str, Tensor], progress: dict) -> None:
        """Save a checkpoint and remove all but the two newest; a full disk never costs an older one.

        Args:
            step: optimizer steps done; names and orders the checkpoint.
            tensors: everything that is a tensor.
            progress: everything else, JSON-able.
        """
        start = time.monotonic()
        weights, marker = self._files(step)
        try:
            save_tensors(weights, tensors, {"progress": json.dumps(progress, allow_nan=False)})  # rows keep their order
            write_json(marker, {"format": RESUME_FORMAT, "key": self.key, "sha256": sha256_file(weights)})
        except OSError as error:
            self.log(f"warning: {weights}: could not save the state to resume from ({error}).")
        self._remove_old(step)
        self.seconds_of_last_save = time.monotonic() - start

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        """The newest complete checkpoint with this key, as (tensors, progress); None if no such checkpoint exists."""
        for step in self._steps():
            weights, marker = self._files(step)
            try:
                state = json.loads(marker.read_text())
                if (state["format"], state["key"]) != (RESUME_FORMAT, self.key):
                    raise ValueError("it was written by another configuration or version")
                if sha256_file(weights) != state["sha256"]:
                    raise ValueError("its checksum does not match")
                tensors, metadata = load_tensors(weights)
                return tensors, json.loads(metadata["progress"])
            except (OSError, ValueError, KeyError, TypeError, UserError) as error:
                self.log(f"warning: {weights}: cannot resume from it ({error}); trying the one before.")
        return None

    def _remove_old(self, step: int) -> None:
        """Remove all but the two newest checkpoints up to `step`, and leftovers of a killed or failed save.

        A later checkpoint is damaged or of another configuration; otherwise training would have resumed from it.
        """
        newest = [number for number in self._steps() if number <= step][:2]
        keep = {file for number in newest for file in self._files(number)}
        files = self.folder.iterdir() if self.folder.is_dir() else []
        for file in sorted(set(files) - keep):  # "json" sorts first: without its marker a checkpoint is ignored
            with contextlib.suppress(OSError):  # a file that cannot be removed costs space, nothing else
                file.unlink()

    def _files(self, step: int) -> tuple[Path, Path]:
        return self.folder / f"state-{step}.safetensors", self.folder / f"state-{step}.json"

    def _steps(self) -> list[int]:
        """Steps of all checkpoints with a marker, newest first, by number and not by name."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted((int(m[1]) for m in map(re.compile(r"state-(\d+)\.json").fullmatch, names) if m), reverse=True)


class SaveTimer:
    """When the next checkpoint is due, so that saving takes at most SAVE_SHARE of the time.

    Args:
        checkpoints: knows how long the last save took.
        weight_bytes: bytes of all weights, to estimate the time of the first save.
    """

    def __init__(self, checkpoints: CheckpointDir, weight_bytes: int):
        self.checkpoints = checkpoints
        self.first_save_seconds = 2 * weight_bytes / SAVED_BYTES_PER_SECOND  # weights and momentum
        self.restart()

    def restart(self) -> None:
        """Count the time from now."""
        self.last_save = time.monotonic()

    def is_due(self, within_epoch: bool = False) -> bool:
        """Whether it is time to save; within an epoch, at most every SAVE_SECONDS."""
        interval = (self.checkpoints.seconds_of_last_save or self.first_save_seconds) / SAVE_SHARE
        return time.monotonic() - self.last_save > (max(SAVE_SECONDS, interval) if within_epoch else interval)
