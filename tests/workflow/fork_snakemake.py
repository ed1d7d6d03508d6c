"""Run Snakemake again and again without importing it again, which takes longer than most dry runs.

Reads requests from stdin, a line of JSON each, {"folder": ..., "arguments": [...], "output": ..., "usable_cores": ...,
"memory_gb": ...}; runs each in its own process, in that folder, with what it prints in the file `output`, and as if it
had so many cores and so much memory (null: what it has); answers with a line that holds its exit code.
"""

import json
import os
import sys

# What Snakemake and the configuration import only when they run.
import pandas  # noqa: F401
import pydantic  # noqa: F401
import smart_open  # noqa: F401
import snakemake.profiles
import snakemake.report  # noqa: F401
import yaml  # noqa: F401
from snakemake.cli import main

for line in sys.stdin:
    request = json.loads(line)
    process = os.fork()
    if process == 0:
        os.chdir(request["folder"])
        if cores := request["usable_cores"]:
            os.sched_getaffinity = lambda process: set(range(cores))
        if memory := request["memory_gb"]:
            os.sysconf = {"SC_PAGE_SIZE": 10**6, "SC_PHYS_PAGES": 1000 * memory}.__getitem__
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, sys.stdout.fileno())
        os.dup2(output, sys.stderr.fileno())
        main(request["arguments"])
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
