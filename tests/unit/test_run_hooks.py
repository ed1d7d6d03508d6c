"""What a real run of Snakemake does to the disk before its jobs start, and which errors it reports."""

import errno
import fcntl
import json
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepnets.planning.run_hooks import RunHooks

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
