"""Hooks that act when Snakemake really runs, and not when it only reads the workflow.

While a Snakefile is read, a real run cannot be distinguished from `-n`, `--lint`, `--dag` or `--report`, and reading
must change nothing on the disk. So all writing happens in wrappers around three methods of Snakemake's workflow object.
Snakemake 9 calls them in this order: `execute`, for a run or a dry run; `_prepare_dag`; `_build_dag`, after which the
jobs are known.
"""

import fcntl
import functools
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from snakemake.exceptions import LockException, WorkflowError
from snakemake.io import IOFile

from deepnets.planning.job import Job
from deepnets.planning.job_files import write_code_digests, write_job_file
from deepnets.planning.requests import Requests
from deepnets.planning.snakemake_patches import (
    LOCKS,
    adapt_report,
    failure_since,
    rerun_failed_updates,
    restore_target_jobs,
    retry_no_divergence,
    survive_other_ends,
    train_after_summaries,
)
from deepnets.utils import paths
from deepnets.utils.checksums import find_corrupted
from deepnets.utils.errors import UserError
from deepnets.utils.files import error_names

ALIVE = Path(".snakemake/alive")
REASON_LENGTH = 200  # characters
LINES = 20  # about files of one kind; the others are counted
FAILURES = 5  # repeated at the end of a run


class RunHooks:
    """The hooks in one call of Snakemake: a real run repairs what was damaged and writes the files of its jobs.

    Args:
        workflow: Snakemake's workflow object.
        requests: the requests of the study's jobs; the folders of their files are searched for corrupted files.
    """

    def __init__(self, workflow: Any, requests: Requests):
        self.workflow, self.requests, self.jobs = workflow, requests, requests.jobs
        self.running = False  # whether jobs will run; a dry run only says what would
        self.alive: TextIO | None = None
        self.is_second = False  # whether another run was going on in this folder, on this machine, when this one began
        self.began = time.time()  # before any of its jobs

    def install(self) -> None:
        """Wrap the three methods of the workflow object, and adapt the page of `snakemake --report`."""
        adapt_report(sys.modules.get("snakemake.report.html_reporter"))
        self._wrap("execute", before=self._before_execution, if_fails=self._explain_failure)
        self._wrap("_prepare_dag", before=self._restore_target_jobs, after=self._force)
        self._wrap("_build_dag", after=self._order_and_write)

    def _wrap(
        self,
        name: str,
        before: Callable[..., None] | None = None,
        after: Callable[[], None] | None = None,
        if_fails: Callable[[WorkflowError], None] | None = None,
    ) -> None:
        method = getattr(self.workflow, name)

        @functools.wraps(method)
        def call(*args: Any, **named: Any) -> Any:
            if before:
                before(**named)
            try:
                result = method(*args, **named)
            except WorkflowError as error:
                if if_fails:
                    if_fails(error)
                raise
            if after:
                after()
            return result

        setattr(self.workflow, name, call)

    def _before_execution(self, executor_plugin: Any, **_settings: Any) -> None:
        common = executor_plugin.common_settings
        self.running = not (common.dryrun_exec or common.touch_exec)
        if self.running:
            _write_or_exit(self._hold_folder)
            retry_no_divergence()

    def _hold_folder(self) -> None:
        """Remove the locks of a killed run, and hold a kernel lock (flock) for as long as this process lives.

        If the kernel lock can be acquired exclusively, no other Snakemake is running here: a lock that Snakemake itself
        left then belongs to a run that was killed. On a shared disk, a run of another machine may be alive, so only
        locks of this machine's runs are removed.
        """
        ALIVE.parent.mkdir(exist_ok=True)
        self.alive = open(ALIVE, "a+")  # noqa: SIM115 - held for as long as this process lives
        is_first = self.workflow.is_main_process and _lock(self.alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_first:
            with error_names(ALIVE):
                self._take_over(self.alive)
        has_locks = _lock(self.alive, fcntl.LOCK_SH)
        self.is_second = self.workflow.is_main_process and has_locks and not is_first

    def _take_over(self, alive: TextIO) -> None:
        """Remove what earlier runs on this machine left: their locks, if they were killed, and their jobs' files."""
        locks = list(LOCKS.glob("*.lock"))
        alive.seek(0)
        if locks and alive.read().partition(" ")[0] != platform.node():
            return
        for lock in locks:
            lock.unlink(missing_ok=True)
            _print(f"{lock}: left by a run that was killed; removed")
        alive.truncate(0)
        alive.write(f"{platform.node()} {os.getpid()}")
        alive.flush()
        for file in Path(paths.JOBS).glob("*.json"):
            file.unlink(missing_ok=True)

    def _explain_failure(self, error: WorkflowError) -> None:
        """Say which run holds the folder, or repeat what failed jobs said last: it may have scrolled away."""
        if isinstance(error, LockException):
            if self.is_second:
                sys.exit(f"another run is going on in this folder{_first_run()}; wait for it, or stop it")
            return
        failed = (
            getattr(getattr(self.workflow, "scheduler", None), "failed", ()) if self.workflow.is_main_process else ()
        )
        logs = sorted({str(log) for job in failed for log in job.log})
        last = {log: failure_since(log, self.began) for log in logs}
        lines = [f"failed: {line} ({log})" for log, line in last.items() if line is not None]
        for line in lines[:FAILURES]:
            _print(line)
        if len(lines) > FAILURES:
            _print(f"and {len(lines) - FAILURES} more failed; make status shows them")

    def _restore_target_jobs(self, **_settings: Any) -> None:
        restore_target_jobs(self.workflow)

    def _force(self) -> None:
        """Have files rebuilt that, as Snakemake itself does not see, are not what config.yaml asks for."""
        survive_other_ends(self.workflow.persistence)
        rerun_failed_updates(self.workflow.persistence)
        if not self.workflow.is_main_process:
            return
        suffixes = ["", *self._asked_by_name()]
        for suffix in suffixes:
            for line in self.jobs.unforeseen_training(suffix):
                _print(line)
        planned = [job for suffix in suffixes for job in self.jobs.of_study(suffix)]
        self._force_corrupted(planned)
        self._force_made_otherwise(planned)

    def _asked_by_name(self) -> list[str]:
        """Return the suffixes of the studies whose reports are targets by their names."""
        targets, reports = set(self.workflow.dag.targetfiles), paths.OUTPUTS["report"]
        return [
            suffix
            for suffix in (f"-{name}" for name in self.jobs.config.studies)
            if not targets.isdisjoint(str(self.jobs.root / path.format(suffix=suffix)) for path in reports)
        ]

    def _force_made_otherwise(self, planned: Iterable[Job]) -> None:
        """Have files rebuilt that were made by another spec; a line for each that no other line is about.

        Neither Snakemake, which has no record of it, nor `_force_corrupted` has one then.
        """
        from deepnets.planning.made_by import made_otherwise  # it imports the user's networks

        lines = []
        for job, differing in made_otherwise(self.jobs, planned):
            outputs = [str(self.jobs.root / path) for path in job.outputs]
            is_new = self.workflow.dag.forcefiles.isdisjoint(outputs)
            self.workflow.dag.forcefiles.update(outputs)
            if is_new and self.workflow.persistence.metadata(IOFile(outputs[0])) is None:
                lines.append(f"{outputs[0]}: made with other settings ({'; '.join(differing)}); to be rebuilt")
        for line in lines[:LINES]:
            _print(line)
        if len(lines) > LINES:
            _print(f"and {len(lines) - LINES} more")

    def _force_corrupted(self, planned: Sequence[Job]) -> None:
        """Have corrupted files rebuilt: Snakemake itself looks at times alone.

        In a real run they are moved out of the way, before Snakemake looks which files there are.
        """
        root = self.jobs.root
        folders = sorted({(root / job.outputs[0]).parent for job in planned})
        not_required = {
            str(root / path) for job in planned for path in set(job.outputs) - set(job.required_outputs(root))
        }
        try:
            corrupted = [file for folder in folders for file in find_corrupted(folder, remember=self.running)]
            for file in corrupted:
                _print(f"{file}: damaged, not what was written there; to be rebuilt")
                if self.running:
                    aside = file.replace(file.with_name(f"{file.name}.damaged"))
                    _print(f"{file}: moved to {aside}")
        except OSError as error:
            sys.exit(f"{error.filename}: cannot be read or moved ({error.strerror}); change its permissions")
        self.workflow.dag.forcefiles.update({str(file) for file in corrupted} - not_required)

    def _order_and_write(self) -> None:
        """Put the jobs into order; write what each depends on, the digests of code, and which training runs will be."""
        if not self.workflow.is_main_process:
            return
        train_after_summaries(self.workflow.dag, self.jobs)
        if not self.running:
            return
        _write_or_exit(write_code_digests)
        for job in self.workflow.dag.needrun_jobs():
            params = job.params
            if hasattr(params, "job_file"):  # otherwise a rule of another workflow, or without a script
                _write_or_exit(write_job_file, params.job_file, params.job)
        _write_or_exit(self.requests.write_study_plan)


def exit_plainly(function: Callable) -> Callable:
    """Wrap a function for a rule: a user's mistake ends in plain lines, without Snakemake's own around them."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except UserError as error:
            sys.exit(str(error))

    return call


def _first_run() -> str:
    """Return the process of the run that came into this folder first, and since when it runs; "" if it has ended.

    On a disk that machines share, it may be a run of another machine, whose processes are not seen here.
    """
    try:
        node, _, pid = ALIVE.read_text().partition(" ")
        if is_here := node == platform.node():
            os.kill(int(pid), 0)  # only asks
        where = f"pid {int(pid)}{'' if is_here else f' on {node}'}"
        return f" ({where}, since {time.strftime('%H:%M', time.localtime(ALIVE.stat().st_mtime))})"
    except (OSError, ValueError, OverflowError):
        return ""


def _lock(file: TextIO, kind: int) -> bool:
    """Acquire a kernel lock; return False if another process has it, or if the file system has no locks."""
    try:
        fcntl.flock(file, kind)
    except OSError:
        return False
    return True


def _write_or_exit(write: Callable[..., None], *args: Any) -> None:
    try:
        write(*args)
    except OSError as error:
        sys.exit(f"{error.filename}: cannot be written ({error.strerror}); free some disk space or change permissions")


def _print(line: str) -> None:
    print(line, file=sys.stderr)


def shorten_reason(record: logging.LogRecord) -> bool:
    """Cut the reason of a job that lists many files, for Snakemake's logger: the report's names each of the study's.

    Returns:
        True: the record is logged.
    """
    reason = str(getattr(record, "reason", None) or "")
    if len(reason) > REASON_LENGTH:
        kept = reason[:REASON_LENGTH].rpartition(", ")[0] or reason[:REASON_LENGTH]
        record.reason = f"{kept}, ... ({reason.count(', ') - kept.count(', ')} more)"
    return True
