"""Calls of Snakemake that need no new process: what would it do, or what would it ask SLURM for?"""

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

JOB = re.compile(r"^Job \d+: (?!The study is complete$)(.*)$", re.MULTILINE)


class Run(NamedTuple):
    """The output and the exit code of a run."""

    output: str
    returncode: int

    @property
    def jobs(self) -> set[str]:
        """The messages of the planned jobs."""
        assert self.returncode == 0, self.output
        return set(JOB.findall(self.output))


class ForkServer:
    """Runs Snakemake and scripts in forks of one process that has loaded them: fork_snakemake.py."""

    def __init__(self, process: subprocess.Popen, output: Path):
        self.process, self.output = process, output

    def __call__(
        self,
        folder: Path,
        *arguments: str,
        script: str | None = None,
        usable_cores: int | None = None,
        memory_gb: int | None = None,
        longest_sleep: float | None = None,
        **environ: str,
    ) -> Run:
        """Run Snakemake, or the script, in a folder; `environ` is added to the environment of the tests."""
        request = {
            "folder": str(folder),
            "script": script,
            "arguments": arguments,
            "environ": {**os.environ, **environ},
            "output": str(self.output),
            "usable_cores": usable_cores,
            "memory_gb": memory_gb,
            "longest_sleep": longest_sleep,
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return Run(returncode=int(self.process.stdout.readline()), output=self.output.read_text())


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Start the server: `fork_server(folder, *arguments, script=None) -> Run`."""
    command = [sys.executable, Path(__file__).with_name("fork_snakemake.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ForkServer(process, tmp_path_factory.mktemp("fork_server") / "output")
        process.stdin.close()


@pytest.fixture(scope="session")
def dry_run(fork_server: ForkServer) -> Callable[..., Run]:
    """Call `snakemake --dry-run` in a folder: `dry_run(folder, *arguments, cores=1)`.

    `usable_cores`, `memory_gb`: as on a machine that has them. `cores=None`: without --cores.
    """

    def run(folder: Path, *arguments: str, cores: int | None = 1, **options) -> Run:
        return fork_server(folder, "--dry-run", *arguments, *(["--cores", str(cores)] if cores else []), **options)

    return run


@pytest.fixture(scope="session")
def run_why(fork_server: ForkServer) -> Callable[..., Run]:
    """Call scripts/why.py in a folder: `run_why(folder, *arguments)`."""
    return partial(fork_server, script="scripts/why.py")


@pytest.fixture(scope="session")
def clone(checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkout in which nothing has run. Tests only call dry runs in it, which leave nothing behind."""
    return checkout(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a folder with the archive that only the user can supply, as far as a plan looks into it."""
    folder = tmp_path_factory.mktemp("archives")
    with tarfile.open(folder / "cifar10-jpeg.tar.xz", "w:xz") as archive:
        for label in range(10):
            archive.addfile(tarfile.TarInfo(f"train/{label}/1.jpg"))
    return str(folder)


@pytest.fixture
def own_clone(checkout, tmp_path: Path) -> Path:
    """Make a checkout that one test may change."""
    return checkout(tmp_path / "clone")


@pytest.fixture
def edited_clone(own_clone: Path) -> Callable[..., Path]:
    """Replace texts in the config.yaml of a checkout: `edited_clone((old, new), ...) -> folder`."""

    def edit(*changes: tuple[str, str]) -> Path:
        text = (own_clone / "config.yaml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (own_clone / "config.yaml").write_text(text)
        return own_clone

    return edit
