"""Files that a job updates, `update(...)` in a rule, after the job has failed."""

import functools
from pathlib import Path
from typing import Any


def rerun_failed_updates(persistence: Any) -> None:
    """Have a failed job that was to update a file run again in the next run.

    Snakemake restores the file, and then records it as what the job wrote, so that it would not see that the file is
    out of date. Therefore the file is marked as incomplete, as after a kill.

    Args:
        persistence: the object through which Snakemake keeps its records.
    """
    restore, finished, restored = persistence.restore_output, persistence.finished, set[Path]()

    @functools.wraps(restore)
    def restore_and_note(path: Path) -> bool:
        is_restored = restore(path)
        if is_restored:
            restored.add(path)
        return is_restored

    @functools.wraps(finished)
    async def record(job: Any) -> None:
        await finished(job)
        if noted := restored & {Path(file) for file in job.output}:
            restored.difference_update(noted)
            persistence.started(job)

    persistence.restore_output, persistence.finished = restore_and_note, record
