"""Run Snakemake and scripts many times in forks of one process: the imports take longer than most runs.

Each line of stdin is a request in JSON, {"folder": ..., "script": ..., "arguments": [...], "environ": {...}, "output":
..., "usable_cores": ..., "memory_gb": ..., "longest_sleep": ...}. A fork runs the script (null: Snakemake) in that
folder with these environment variables and prints into the file `output`. It sees the given number of cores and GB of
memory (null: those of the machine), and asyncio sleeps at most `longest_sleep` seconds (null: no limit). The answer is
a line with the exit code.
"""

import asyncio
import json
import os
import runpy
import sys
from pathlib import Path

# Snakemake and the configuration import these only when they run.
import pandas  # noqa: F401
import pydantic  # noqa: F401
import smart_open  # noqa: F401
import snakemake.profiles
import snakemake.report  # noqa: F401
import yaml  # noqa: F401
from snakemake.cli import main

asyncio_sleep = asyncio.sleep


def run(request: dict) -> None:
    """Run the request in this process."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    if cores := request["usable_cores"]:
        os.sched_getaffinity = lambda process: set(range(cores))
    if memory := request["memory_gb"]:
        os.sysconf = {"SC_PAGE_SIZE": 10**6, "SC_PHYS_PAGES": 1000 * memory}.__getitem__
    if longest := request["longest_sleep"]:
        asyncio.sleep = lambda seconds: asyncio_sleep(min(seconds, longest))
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    if script := request["script"]:
        sys.argv = [script, *request["arguments"]]
        sys.path.insert(0, str(Path(script).resolve().parent))
        runpy.run_path(script, run_name="__main__")
    else:
        main(request["arguments"])


for line in sys.stdin:
    process = os.fork()
    if process == 0:
        run(json.loads(line))
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
