"""The commands around a study, on a finished one: make report again, unlock, summary, the one-page report."""

import shutil
import subprocess
import sys

import pytest


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_report_a_second_time_does_nothing(study):
    (study / ".venv").symlink_to(sys.prefix)
    installed = ["--assume-old", ".venv/.installed"]  # the tests' own environment, however it was made
    done = subprocess.run(["make", *installed, "report", "CORES=2"], cwd=study, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr


@pytest.mark.parametrize("command", [["--unlock"], ["--summary"]])
def test_what_people_need_around_a_run_works_without_cores(study, snakemake, command):
    done = snakemake(study, *command, cores=None)
    assert done.returncode == 0, done.stdout


def test_one_page_with_all_figures_is_written(study, snakemake):
    done = snakemake(study, "--report", "results/report.html", cores=None)
    assert done.returncode == 0, done.stdout
    page = (study / "results/report.html").read_text(encoding="utf-8")
    assert "learning curves" in page
    assert "first" in page  # the study's name, in the methods paragraph
