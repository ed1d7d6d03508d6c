"""What every test may rely on: one thread, a clean environment, and a way to call Snakemake."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before the first import of numpy or torch: tests are small, several threads only make them slower and less repeatable.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "agg"

# Variables by which the outside would steer the project's own commands: `make test` exports MAKEFLAGS, for one.
STEERING = ("DEEPNETS_", "SNAKEMAKE_", "MAKE", "MFLAGS", "TORCH_BACKEND", "CORES", "STUDY")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, to be read and never written."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def clean_environ() -> Iterator[None]:
    """Keep os.environ as it is for the next test, and free of what would steer this one."""
    before = dict(os.environ)
    for variable in before:
        if variable.startswith(STEERING):
            del os.environ[variable]
    # What a shell line calls `python` is the Python that runs the tests, activated or not.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before.get("PATH", os.defpath)])
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call Snakemake in a folder: `snakemake(folder, "--dry-run", "all")`, output and errors together in `.stdout`."""

    def call(folder: Path, *arguments: str, cores: int = 1) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", str(cores)]
        return subprocess.run(
            command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240
        )

    return call
