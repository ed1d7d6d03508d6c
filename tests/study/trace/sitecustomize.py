"""Python loads this by itself where its folder is on PYTHONPATH: each script of the project notes what it has loaded.

At its end a process adds a line to loaded.jsonl in its working directory: {"arguments": [...], "modules": [...],
"gpus": "0,1", "started": 1.5, "ended": 2.5}, with what CUDA_VISIBLE_DEVICES said then, and its clock in seconds.
"""

import atexit
import json
import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()


def note_modules() -> None:
    """Add this process's line, if it runs one of the scripts."""
    if Path(sys.argv[0]).parent.name == "scripts":
        note = {"arguments": sys.argv, "modules": list(sys.modules), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
        line = json.dumps(note | {"started": STARTED, "ended": time.monotonic()})
        with open("loaded.jsonl", "a") as file:
            file.write(f"{line}\n")


atexit.register(note_modules)
