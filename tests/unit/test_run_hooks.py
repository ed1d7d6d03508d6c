"""What a real run of Snakemake does to the disk before its jobs start, and which errors it reports."""

import errno
import fcntl
import json
import os
import platform
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from snakemake.exceptions import LockException, WorkflowError

from deepnets.planning.run_hooks import RunHooks
from deepnets.utils.command_line import TRY_AGAIN_LINE

FINGERPRINT = json.dumps({"code": {}})


class BrokenJob:
    """A job with a function for a param that fails."""

    @property
    def params(self):
        raise AttributeError("no such name in the function of a param")


def hooks_of(*jobs: object) -> RunHooks:
    """Return the hooks of a run with these jobs."""
    dag = SimpleNamespace(dependencies={}, depending={}, _n_until_ready={}, needrun_jobs=lambda: iter(jobs))
    requests = SimpleNamespace(jobs=SimpleNamespace(root=Path()), write_study_plan=lambda: None)
    hooks = RunHooks(SimpleNamespace(is_main_process=True, dag=dag), requests)
    hooks.running = True
    return hooks


def job_with(**params: str) -> SimpleNamespace:
    return SimpleNamespace(output=[], wildcards_dict={}, params=SimpleNamespace(**params))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_each_job_of_this_workflow_gets_its_file():
    hooks_of(job_with(), job_with(threads="2"), job_with(job_file="a.json", job=FINGERPRINT))._order_and_write()
    assert [file.name for file in Path().glob("*.json")] == ["a.json"]
    assert Path("a.json").read_text() == FINGERPRINT


def test_an_error_in_a_param_is_not_hidden():
    broken = BrokenJob()
    broken.output, broken.wildcards_dict = [], {}
    with pytest.raises(AttributeError, match="in the function of a param"):
        hooks_of(broken)._order_and_write()


def start() -> None:
    """Start a real run without jobs; its process would hold the file of the kernel lock to its end."""
    hooks, settings = hooks_of(), SimpleNamespace(dryrun_exec=False, touch_exec=False)
    try:
        hooks._before_execution(SimpleNamespace(common_settings=settings))
    finally:
        hooks.alive.close()


def test_a_lock_that_cannot_be_removed_is_named():
    lock = Path(".snakemake/locks/0.input.lock")
    lock.mkdir(parents=True)  # a folder, which is not removed like a file
    Path(".snakemake/alive").write_text(platform.node())
    with pytest.raises(SystemExit, match=rf"^{lock}: cannot be written \("):
        start()


def test_a_file_system_without_locks_is_left_as_it_is(monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("deepnets.planning.run_hooks.retry_no_divergence", lambda: None)  # it changes Snakemake
    lock = Path(".snakemake/locks/0.input.lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    Path(".snakemake/alive").write_text(platform.node())
    start()
    assert lock.exists()


def run_that_raises(error: WorkflowError, *failed: SimpleNamespace) -> RunHooks:
    """Return the hooks of a run that ends with an error after these jobs have failed."""

    def execute():
        raise error

    hooks = hooks_of()
    hooks.workflow.execute, hooks.workflow.scheduler = execute, SimpleNamespace(failed=failed)
    hooks._wrap("execute", if_fails=hooks._explain_failure)
    return hooks


def test_a_failed_run_repeats_at_its_end_what_its_failed_jobs_said_last(capsys):
    names = [*map(str, range(7)), "before", "stopped", "gone"]
    hooks = run_that_raises(WorkflowError("a job failed"), *(SimpleNamespace(log=[f"{name}.log"]) for name in names))
    for name in names[:-1]:
        Path(f"{name}.log").write_text(f"error: wrong {name}\n{TRY_AGAIN_LINE}\n")
        os.utime(f"{name}.log", (0, hooks.began - 60 if name == "before" else hooks.began + 60))
    Path("stopped.log").write_text("saved after step 3\n")  # by Ctrl-C, without an error
    with pytest.raises(WorkflowError):
        hooks.workflow.execute()
    assert capsys.readouterr().err.splitlines() == [
        *(f"failed: error: wrong {number} ({number}.log)" for number in range(5)),
        "and 2 more failed; make status shows them",
    ]


def test_a_second_run_names_the_process_that_holds_the_folder():
    hooks = run_that_raises(LockException())
    first = hooks_of()
    try:
        first._hold_folder()
        hooks._hold_folder()
        with pytest.raises(
            SystemExit, match=rf"^another run is going on .* \(pid {os.getpid()}, since \d\d:\d\d\); wait"
        ):
            hooks.workflow.execute()
        Path(".snakemake/alive").write_text(f"{platform.node()} {2**22 + 1}")  # above any process id
        with pytest.raises(SystemExit, match=r"^another run is going on in this folder; wait for it, or stop it$"):
            hooks.workflow.execute()
        Path(".snakemake/alive").write_text(f"other-{platform.node()} {2**22 + 1}")
        with pytest.raises(SystemExit, match=rf"\(pid {2**22 + 1} on other-{platform.node()}, since \d\d:\d\d\); wait"):
            hooks.workflow.execute()
    finally:
        first.alive.close()
        hooks.alive.close()


def test_where_no_other_run_is_seen_a_lock_keeps_snakemakes_own_message(monkeypatch):
    alone, without_locks = run_that_raises(LockException()), run_that_raises(LockException())
    try:
        alone._hold_folder()
        with pytest.raises(LockException, match="--unlock"):
            alone.workflow.execute()
        monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
        without_locks._hold_folder()
        with pytest.raises(LockException, match="--unlock"):
            without_locks.workflow.execute()
    finally:
        alone.alive.close()
        without_locks.alive.close()
