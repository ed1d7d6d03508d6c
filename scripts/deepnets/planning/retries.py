"""Retries of failed jobs, `retries:` of a profile: not of a training run that has diverged, which would do so again.

All other failures are retried: a batch system's Snakemake knows only that a job has failed, and what fails on one node,
for memory or a full disk, may succeed on the next one.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from snakemake.jobs import Job

DIVERGED = "the loss is not finite"  # in the last line of a trainer whose loss is not


def retry_no_divergence() -> None:
    """Have Snakemake, from now on, give no retry to a job whose log ends with a divergence."""
    started, retries = time.time(), Job.restart_times.fget

    def restart_times(job: Any) -> int:
        return 0 if any(_has_diverged(Path(log), started) for log in job.log) else retries(job)

    Job.restart_times = property(restart_times)


def _has_diverged(log: Path, since: float) -> bool:
    """Whether a job's log ends with a divergence, and was written since this time, in seconds since 1970.

    A job that a node loses before it starts still has the log of an earlier run.
    """
    from deepnets.planning.status import last_line_of_failure, tail  # it imports the user's networks

    with contextlib.suppress(OSError):
        return log.stat().st_mtime >= since and DIVERGED in (last_line_of_failure(tail(log), "") or "")
    return False
