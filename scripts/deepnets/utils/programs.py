"""How programs of this Python's environment are called, for the commands in messages."""

import os
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """How to call a program of this environment here: by its name if that finds it, else by its path.

    Args:
        name: `snakemake`, for example; `python` is the running Python.
    """
    own, found = Path(sys.executable).with_name(name), shutil.which(name)
    if not own.exists() or (found and Path(found).parent.resolve() == own.parent.resolve()):
        return name
    inside = own.is_relative_to(Path.cwd())
    return os.path.relpath(own) if inside else str(own)
