"""Snakemake's locks, where one run starts as another ends: the end of a run removes the folder of all locks."""

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCKS = Path(".snakemake/locks")
ATTEMPTS, PAUSE_SECONDS = 5, 0.1


def survive_other_ends(persistence: Any) -> None:
    """Have Snakemake try again to read, write or delete its locks when their folder goes meanwhile.

    Args:
        persistence: the object through which Snakemake keeps its records. Stores without a folder of locks, and those
            of an older Snakemake, are left as they are.
    """
    if hasattr(persistence, "_lockdir"):
        for name in ("_read_locks", "_delete_locks", "_write_locks"):
            if hasattr(persistence, name):
                setattr(persistence, name, _again(getattr(persistence, name), makes_folder=name == "_write_locks"))


def _again(method: Callable, makes_folder: bool) -> Callable:
    @functools.wraps(method)
    def call(*args: Any) -> list:
        args = tuple(arg if isinstance(arg, str) else list(arg) for arg in args)  # a generator gives its items once
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(OSError):
                if makes_folder:
                    LOCKS.mkdir(parents=True, exist_ok=True)
                return list(method(*args) or ())
            time.sleep(PAUSE_SECONDS)
        return list(method(*args) or ())

    return call
