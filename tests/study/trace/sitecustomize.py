"""Python loads this by itself where its folder is on PYTHONPATH: each script of the project notes what it has loaded.

At its end a process adds a line to loaded.jsonl in its working directory: {"arguments": [...], "modules": [...]}.
"""

import atexit
import json
import sys
from pathlib import Path


def note_modules() -> None:
    """Add this process's line, if it runs one of the scripts."""
    if Path(sys.argv[0]).parent.name == "scripts":
        line = json.dumps({"arguments": sys.argv, "modules": list(sys.modules)})
        with open("loaded.jsonl", "a") as file:
            file.write(f"{line}\n")


atexit.register(note_modules)
