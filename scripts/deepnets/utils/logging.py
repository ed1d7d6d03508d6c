"""The project's logger, which writes to the terminal and, in a job, to the job's log file."""

import logging
from pathlib import Path

LOG = logging.getLogger("deepnets")


def log_to(path: str | Path | None) -> None:
    """Send LOG's messages to the terminal (stderr) and, if a path is given, to the end of that file."""
    logging.raiseExceptions = False  # a log on a full disk must not print tracebacks
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler()]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        LOG.addHandler(logging.FileHandler(path, mode="a", encoding="utf-8"))


def log_errors_of(process: str, path: str | Path | None) -> None:
    """Send only LOG's errors there, each after the name of this process; another process logs everything else."""
    log_to(path)
    LOG.setLevel(logging.ERROR)
    for handler in LOG.handlers:
        handler.setFormatter(logging.Formatter(f"{process}: %(message)s"))
