"""The workflow as part of others' work: as a module, from other folders, in folders with awkward names."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deepnets.config.yaml_reader import merge, read

pytestmark = pytest.mark.slow

IMPORTING = """
module deepnets:
    snakefile: {snakefile!r}
    config: config["classification"]
    prefix: "deep"

use rule * from deepnets as deepnets_*

rule all:
    default_target: True
    input: "deep/results/report.md", "own.txt"

rule own:
    output: "own.txt"
    params: job="their own"
    shell: "echo {{params.job}} > {{output}}"
"""
STUDY = {
    "study": "tiny",
    "models": {"small": {"architecture": "small_cnn"}},
    "recipes": {"brief": {"epochs": 1, "batch_size": 64}},
    "studies": {"tiny": [{"datasets": ["digits"], "models": ["small"], "recipe": "brief"}]},
}
# A space, quotes of both kinds, what a shell, Snakemake or Make takes for a variable, and letters beyond ASCII.
AWKWARD = 'it\'s "a" $HOME {x} ünï 猫'


@pytest.fixture
def repository(checkout, root, tmp_path) -> Path:
    folder = checkout(tmp_path / "repository")
    shutil.copy2(root / "tests/study/small_cnn.py", folder / "scripts/deepnets/models")
    return folder


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environ = {**os.environ, **environ}
    return subprocess.run(command, cwd=folder, env=environ, text=True, timeout=300, capture_output=True)


def test_another_workflow_builds_a_small_study_through_a_module(repository, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.yaml").write_text(yaml.safe_dump({"classification": STUDY, "theirs": 1}))
    snakefile = os.path.relpath(repository / "Snakefile", mine)
    (mine / "Snakefile").write_text('configfile: "config.yaml"\n' + IMPORTING.format(snakefile=snakefile))
    done = run(mine)
    assert done.returncode == 0, done.stderr
    report = (mine / "deep/results/report.md").read_text()
    assert "small" in report
    for image in ("digits/small/brief/seed0/figures/confusion_matrix.png", "digits/comparison/accuracy.png"):
        assert image in report
        assert (mine / "deep/results" / image).is_file()
    assert (mine / "own.txt").read_text() == "their own\n"
    assert not (mine / "results").exists()
    assert not (mine / "data").exists()
    assert "Nothing to be done" in run(mine).stderr


def test_module_of_the_page_makes_a_plan(checkout, root, tmp_path):
    checkout(tmp_path / "deeper-networks")
    page = (root / "docs/how-to/another-workflow.md").read_text(encoding="utf-8")
    (tmp_path / "Snakefile").write_text(re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1])
    [option] = re.findall(r"`(--workflow-profile \S+)`", page)
    done = run(tmp_path, "--dry-run", *option.split(), "conclusions")
    planned = done.stdout + done.stderr
    assert done.returncode == 0, planned
    assert re.search(r"^deepnets_train +4$", planned, re.MULTILINE), planned


def configured(folder: Path) -> Path:
    """Make the small study the one that config.yaml names."""
    config = read(folder / "config.yaml").content
    (folder / "config.yaml").write_text(json.dumps(merge(config, STUDY)))  # JSON is YAML
    return folder


def test_study_is_built_in_a_folder_with_an_awkward_name(repository, tmp_path):
    folder = configured(repository).rename(tmp_path / AWKWARD)
    done = run(folder, "results/report.md", PATH="/usr/bin:/bin")  # no environment is activated
    assert done.returncode == 0, done.stderr
    assert (folder / "results/report.md").is_file()


@pytest.mark.parametrize("snakefile", [pytest.param("Snakefile", marks=pytest.mark.full), "workflow/Snakefile"])
def test_study_is_built_from_another_folder(repository, tmp_path, snakefile):
    configured(repository)
    done = run(tmp_path, "--snakefile", str(repository / snakefile), "--directory", str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "there/results/report.md").is_file()
    assert not (repository / "results").exists()
    again = run(tmp_path, "--snakefile", str(repository / snakefile), "--directory", str(tmp_path / "there"))
    assert "Nothing to be done" in again.stderr
