"""How far a training run is, in a small file in the experiment's folder: `make status` reads it on any machine."""

import contextlib
import functools
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepnets.config.recipe import ProgressiveResizing
from deepnets.training.resizing import image_size_at
from deepnets.training.trainer import Trainer
from deepnets.utils import paths
from deepnets.utils.waiting import PROGRESS_SECONDS

Point = tuple[float, int]  # a moment in seconds, and the optimizer steps that were done by then


@contextlib.contextmanager
def progress_in_file(folder: Path, trainer: Trainer) -> Iterator[None]:
    """Write the progress into the experiment's folder, now and every PROGRESS_SECONDS until the `with` block ends.

    A thread writes it, also while a long step or the validation runs: the file's time shows that the run is alive.
    """
    ended = threading.Event()

    def write_until_the_end() -> None:
        first: Point | None = None
        while True:
            first = first or _first_point(trainer)
            _write(folder / paths.PROGRESS_FILE, progress_of(trainer, first))
            if ended.wait(PROGRESS_SECONDS):
                return

    thread = threading.Thread(target=write_until_the_end, name="progress file", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def progress_of(trainer: Trainer, first: Point | None) -> dict[str, Any]:
    """The progress of a training run, as JSON.

    Args:
        trainer: the trainer, while `fit` runs in another thread.
        first: a point of this run; times are estimated from the steps since then, with their validation and saving,
            and where images grow, by the pixels of each step's images.

    Returns:
        `epochs` and `epochs_done`, the current one as a fraction; `val_accuracy` of the last full epoch;
        `images_per_second` of the current epoch, or of the last one; `seconds_left` and `seconds` of the whole run,
        from its start to its end. What is not known yet is None.
    """
    progress = trainer.progress
    rows, steps = progress.history, _steps_done(trainer)
    last = rows[-1] if rows else {"val_accuracy": None, "images_per_second": None}
    speed = progress.step * trainer.batch_size / progress.seconds if progress.seconds else last["images_per_second"]
    work = _work_before(trainer.total_steps, trainer.train_split.image_size, trainer.recipe.progressive_resizing)
    pace = None  # seconds for a unit of work
    if first is not None and steps > first[1]:
        pace = (time.monotonic() - first[0]) / (work[steps] - work[first[1]])
    return {
        "epochs": trainer.recipe.epochs,
        "epochs_done": round(steps / trainer.steps_per_epoch, 3),
        "val_accuracy": last["val_accuracy"],
        "images_per_second": speed,
        "seconds_left": None if pace is None else pace * (work[-1] - work[steps]),
        "seconds": None if pace is None else pace * work[-1],
    }


@functools.cache
def _work_before(total_steps: int, full_size: int, resizing: ProgressiveResizing | None) -> Sequence[int]:
    """The work before each step, and at last that of all: a step's is its images' pixels, or 1 if no image grows."""
    if resizing is None:
        return range(total_steps + 1)
    sizes = (image_size_at(step, total_steps, full_size, resizing) for step in range(total_steps))
    return list(itertools.accumulate((size**2 for size in sizes), initial=0))


def _first_point(trainer: Trainer) -> Point | None:
    """Now, unless the trainer has not begun, or may still be reading what an earlier run saved."""
    return (time.monotonic(), _steps_done(trainer)) if trainer.progress.runs else None


def _steps_done(trainer: Trainer) -> int:
    done = trainer.progress.epoch * trainer.steps_per_epoch + trainer.progress.step
    return min(done, trainer.total_steps)  # the last epoch may be shorter


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write the file at once; unlike `write_json` without changing the umask, which is that of all threads."""
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(OSError):  # a full disk: training itself reports it
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(path)
