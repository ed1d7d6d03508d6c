"""Commands in messages can be copied: a program is called by its path where its name does not find it."""

import sys

import pytest

from deepnets.utils.programs import program


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A stand-in of the environment whose Python runs; the working directory has it as .venv."""
    folder = tmp_path / "study/.venv/bin"
    folder.mkdir(parents=True)
    for name in ("python", "snakemake"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path / "study")
    return folder


def test_a_program_of_an_environment_that_is_not_activated_has_its_path(environment, tmp_path, monkeypatch):
    assert program("snakemake") == ".venv/bin/snakemake"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program("snakemake") == str(environment / "snakemake")


def test_an_activated_environment_needs_the_name_alone(environment, monkeypatch):
    monkeypatch.setenv("PATH", str(environment))
    assert (program("snakemake"), program("python")) == ("snakemake", "python")


def test_a_program_of_the_same_name_elsewhere_is_not_meant(environment, tmp_path):
    (tmp_path / "snakemake").touch(mode=0o755)
    assert program("snakemake") == ".venv/bin/snakemake"
    (environment / "snakemake").unlink()  # this environment has none
    assert program("snakemake") == "snakemake"
