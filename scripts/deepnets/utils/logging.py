"""The project's logger, which writes to the terminal and, in a job, to the job's log file."""

import logging
from pathlib import Path

LOG = logging.getLogger("deepnets")


def log_to(path: str | Path | None) -> None:
    """Send LOG's messages to the terminal (stderr) and, if a path is given, to the end of that file."""
    logging.raiseExceptions = False  # a log on a full disk must not print tracebacks
    LOG.setLevel(logging.INFO)
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = [logging.StreamHandler()]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Names of files may have bytes that are no text.
        LOG.addHandler(logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace"))


def log_to_file_only(message: str) -> bool:
    """Send a message to the job's log file and not to the terminal; return whether there is such a file."""
    files = [handler for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]
    for file in files:
        file.handle(LOG.makeRecord(LOG.name, logging.INFO, "", 0, message, (), None))
    return bool(files)


def log_errors_of(process: str, path: str | Path | None) -> None:
    """Send only LOG's errors there, each after the name of this process; another process logs everything else."""
    log_to(path)
    LOG.setLevel(logging.ERROR)
    for handler in LOG.handlers:
        handler.setFormatter(logging.Formatter(f"{process}: %(message)s"))
