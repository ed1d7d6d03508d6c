"""Weights and resume states on disk: safetensors, never pickle; a file is whole or it is not there."""

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

RESUME_FORMAT = 1


class CheckpointDir:
    """The resume states of one training: the newest two, each checked before it is believed.

    A state is `state-<step>.safetensors`, all that is saved, and, written last, `state-<step>.json` with its checksum:
    without the second file the first does not count. The folder is no output of any rule, so that Snakemake leaves it
    alone.

    Args:
        folder: where the states are; made at the first save.
        key: hash of the spec and the code; a state with another key is never loaded.
        say: takes one line for the user.
    """

    def __init__(self, folder: str | Path, key: str, say: Callable[[str], None]):
        self.folder, self.key, self.say = Path(folder), key, say
        self.seconds_of_last_save = 0.0

    def save(self, step: int, tensors: dict[str, Tensor], progress: dict) -> None:
        """Save a state and drop all but the two newest; a full disk costs the new state only, never an old one.

        Args:
            step: optimizer steps done; names the state and orders it.
            tensors: everything that is a tensor.
            progress: everything else, JSON-able.
        """
        start = time.monotonic()
        weights, marker = self._files(step)
        try:
            save_tensors(weights, tensors, {"progress": json.dumps(progress, allow_nan=False)})  # rows keep their order
            write_json(marker, {"format": RESUME_FORMAT, "key": self.key, "sha256": sha256_file(weights)})
        except OSError as error:
            self.say(f"warning: {weights}: could not save the state to resume from ({error}).")
        self._sweep(step)
        self.seconds_of_last_save = time.monotonic() - start

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        """The newest state that is whole and of this key, as (tensors, progress), or None where there is none."""
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
                self.say(f"warning: {weights}: cannot resume from it ({error}); trying the one before.")
        return None

    def _sweep(self, step: int) -> None:
        """Remove all but the two newest states up to `step`, and what a killed or failed save has left.

        A later state is damaged or of another configuration, else the training had gone on from it.
        """
        newest = [number for number in self._steps() if number <= step][:2]
        keep = {file for number in newest for file in self._files(number)}
        files = self.folder.iterdir() if self.folder.is_dir() else []
        for file in sorted(set(files) - keep):  # "json" sorts first: a state without its marker does not count
            with contextlib.suppress(OSError):  # what cannot be removed costs space, nothing else
                file.unlink()

    def _files(self, step: int) -> tuple[Path, Path]:
        return self.folder / f"state-{step}.safetensors", self.folder / f"state-{step}.json"

    def _steps(self) -> list[int]:
        """Steps of all states with a marker, newest first, by number and not by name."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted((int(m[1]) for m in map(re.compile(r"state-(\d+)\.json").fullmatch, names) if m), reverse=True)
