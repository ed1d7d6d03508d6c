"""Event files for TensorBoard: a copy of history.csv that can be watched while it grows. Nothing reads them here."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deepnets.utils.errors import UserError

# Columns of history.csv, and what TensorBoard calls them; what stands before the slash shares a section of its page.
TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "lr": "training/learning rate",
    "images_per_second": "training/images per second",
}


def event_file(folder: Path | None) -> "EventFile":
    """A new event file in a folder, instead of those of earlier runs; None: one that is never written.

    Raises:
        UserError: the package tensorboard is missing, or the folder cannot be written.
    """
    return EventFile(None if folder is None else _writer(folder))


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            f"--tensorboard: needs the package tensorboard ({error}): python -m pip install tensorboard; or set"
            " tensorboard: false in config.yaml."
        ) from None
    for old in folder.glob("events.out.tfevents.*"):
        with contextlib.suppress(OSError):
            old.unlink()
    try:
        return SummaryWriter(str(folder))
    except OSError as error:
        raise UserError(f"{folder}: cannot write event files here ({error.strerror}); set tensorboard: false") from None


class EventFile:
    """The rows of a history as events; closed at the end of a `with` block.

    Args:
        writer: a SummaryWriter of torch; None: nothing is written.
    """

    def __init__(self, writer: Any):
        self.writer, self.rows = writer, 0

    def write(self, history: Sequence[dict]) -> None:
        """Write the rows of history.csv that are not written yet: of a resumed run also those of earlier runs."""
        if self.writer is None:
            return
        with contextlib.suppress(OSError):  # a full disk must not end the training run for a copy of its history
            for number, row in enumerate(history[self.rows :], self.rows + 1):
                for column, tag in TAGS.items():
                    self.writer.add_scalar(tag, row[column], number)
            self.writer.flush()
        self.rows = len(history)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()
