"""The project's log lines: to the terminal and, for a job, to its log file."""

import logging
from pathlib import Path

LOG = logging.getLogger("deepnets")


def log_to(path: str | Path | None) -> None:
    """Send LOG's lines to the terminal (stderr) and, if named, to the end of a file."""
    logging.raiseExceptions = False  # a log on a full disk is no reason for a page about it
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler()]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        LOG.addHandler(logging.FileHandler(path, mode="a", encoding="utf-8"))


def log_errors_of(process: str, path: str | Path | None) -> None:
    """Send LOG's errors alone, with the process's name, to the same places: it helps another, which speaks for both."""
    log_to(path)
    LOG.setLevel(logging.ERROR)
    for handler in LOG.handlers:
        handler.setFormatter(logging.Formatter(f"{process}: %(message)s"))
