"""A lock that two processes cannot hold at once; the kernel releases it when its process ends, however it ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from deepnets.utils.logging import LOG


@contextlib.contextmanager
def hold_lock(file: Path, does: str) -> Iterator[None]:
    """Hold the lock of a file; wait for a process that a killed Snakemake left here.

    Args:
        file: the lock file; its folder is made.
        does: what the other process does, for the message: "prepares the same dataset".
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        LOG.warning("%s: waiting for another process, which %s", file.parent, does)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
