"""Reading the workflow changes nothing on the disk; a dry run says what a real run would repair."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # the first test builds the study

METRICS = "results/shapes/small/gentle/seed0/metrics.json"
# Snakemake's own notes of each call.
OWN_NOTES = (".snakemake/log", ".snakemake/iocache")
LOCK = ".snakemake/locks/0.output.lock"

READING = {
    "dry run": ("--dry-run",),
    "dry run of one file": ("--dry-run", METRICS),
    "lint": ("--lint",),
    "graph": ("--dag",),
    "rule graph": ("--rulegraph",),
    "file graph": ("--filegraph",),
    "summary": ("--summary",),
    "rules": ("--list-rules",),
    "target rules": ("--list-target-rules",),
    "changes": ("--list-params-changes",),
    "untracked files": ("--list-untracked",),
}


@pytest.fixture
def damaged_study(study: Path) -> Path:
    """A finished study with a corrupted file, and with the lock of a run that was killed."""
    (study / METRICS).write_text("{}")
    (study / LOCK).parent.mkdir(exist_ok=True)
    (study / LOCK).write_text("results/report.md\n")
    return study


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and content of every file, without Snakemake's own notes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(OWN_NOTES) and "__pycache__" not in path.parts:
            found[name] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@pytest.mark.parametrize("arguments", READING.values(), ids=READING)
def test_reading_leaves_every_byte_as_it_was(damaged_study, snakemake, arguments):
    before = state(damaged_study)
    done = snakemake(damaged_study, *arguments)
    assert done.returncode == 0, done.stdout
    if "--dry-run" in arguments:
        assert f"{METRICS}: damaged" in done.stdout
    assert state(damaged_study) == before


def test_why_leaves_every_byte_as_it_was_and_names_the_damaged_file(damaged_study):
    before = state(damaged_study)
    command = [sys.executable, "scripts/why.py"]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=damaged_study, env=environ, capture_output=True, text=True)
    assert f"evaluate: damaged: {METRICS}" in done.stdout
    assert state(damaged_study) == before


@pytest.mark.parametrize("command", [["status.py"], ["compare_states.py", "results", "results/metrics.csv"]])
def test_status_and_compare_leave_every_byte_as_it_was(study, command):
    before = state(study)
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for folder in (study / "results", study / "logs"):
        folder.chmod(0o555)
    script, *arguments = command
    call = [sys.executable, f"scripts/{script}", *arguments]
    done = subprocess.run(call, cwd=study, env=environ, capture_output=True, text=True)
    for folder in (study / "results", study / "logs"):
        folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 experiments: 3 done" in done.stdout or "| the same |" in done.stdout
    assert state(study) == before


def test_report_page_leaves_every_byte_as_it_was(study, snakemake, tmp_path):
    before = state(study)
    done = snakemake(study, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout
    assert state(study) == before


def test_dry_run_without_records_says_what_was_made_with_other_settings_and_changes_nothing(study, snakemake):
    shutil.rmtree(study / ".snakemake/metadata")
    config = (study / "config.yaml").read_text()
    (study / "config.yaml").write_text(config.replace("size: 16", "size: 12"))
    damaged = "results/shapes/small/summary.json"
    (study / damaged).write_text("{}")
    before = state(study)
    planned = snakemake(study, "--dry-run").stdout
    reason = "made with other settings (size was 16, is 12); to be rebuilt"
    assert f"data/shapes/dataset.json: {reason}" in planned
    assert f"{METRICS}: made with other settings (dataset.size was 16, is 12); to be rebuilt" in planned
    assert f"{damaged}: damaged" in planned
    assert f"{damaged}: made with other settings" not in planned
    assert state(study) == before


def test_dry_run_says_what_a_real_run_repairs_and_the_real_run_repairs_it(damaged_study, snakemake):
    whole = hashlib.sha256((damaged_study / "results/metrics.csv").read_bytes()).hexdigest()
    planned = snakemake(damaged_study, "--dry-run").stdout
    assert f"{METRICS}: damaged, not what was written there; to be rebuilt" in planned
    assert "Evaluate small on shapes, recipe gentle, seed 0" in planned
    done = snakemake(damaged_study)
    assert done.returncode == 0, done.stdout
    assert f"{METRICS}: moved to {METRICS}.damaged" in done.stdout
    assert f"{LOCK}: left by a run that was killed; removed" in done.stdout
    assert (damaged_study / f"{METRICS}.damaged").read_text() == "{}"
    assert hashlib.sha256((damaged_study / "results/metrics.csv").read_bytes()).hexdigest() == whole
    assert "Nothing to be done" in snakemake(damaged_study).stdout
