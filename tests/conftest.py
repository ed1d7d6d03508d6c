"""The base of every test: one thread, a clean environment, a call of Snakemake, and a finished study."""

import logging
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from csv import DictReader
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

from deepnets.utils.logging import LOG
from deepnets.utils.machine import BATCH_JOB, usable_cores, usable_memory_mb

# Before the first import of numpy or torch: tests are small, several threads only make them slower and less repeatable.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "agg"

# These variables would change what the project's commands do: `make test` exports MAKEFLAGS, for example, and a batch
# system sets its own in every job.
STEERING = ("DEEPNETS_", "SNAKEMAKE_", "MAKE", "MFLAGS", "TORCH_BACKEND", "CORES", "STUDY", "CUDA_VISIBLE_DEVICES")
STEERING += ("CONFIGFILE", "EXPERIMENT", "PORT", *BATCH_JOB)


WORKER_MB = 3000  # memory for each pytest worker, with the jobs that its tests start


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `pytest --full` run the tests that are marked so."""
    parser.addoption("--full", action="store_true", help="also run the tests marked full, as `make test-all` does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked full, but with --full."""
    if not config.getoption("full"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("full")])
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers of `pytest -n auto`: one for each core that tests may use, if memory is enough."""
    return max(1, min(usable_cores(), (usable_memory_mb() or WORKER_MB) // WORKER_MB))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root. Tests read it and never write to it."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def skip() -> Callable[[str], NoReturn]:
    """Skip tests because of what this machine lacks: `skip("needs Chromium")`.

    `make test-browser` and `make test-cluster` set MUST_RUN: they are for these tests alone, which then fail.
    """
    return pytest.fail if os.environ.get("MUST_RUN") else pytest.skip


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove the variables that would change a test; shell lines then call the Python that runs the tests."""
    kept = {name: value for name, value in environ.items() if not name.startswith(STEERING)}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])}


@pytest.fixture(autouse=True)
def clean_environ() -> Iterator[None]:
    """Give each test a clean os.environ, and restore the old one afterwards."""
    before = dict(os.environ)
    replace_environ(clean(before))
    yield
    replace_environ(before)


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """Give each test a logger as a new process has it, whatever the tests before have set."""
    handlers, LOG.handlers = LOG.handlers, []
    LOG.setLevel(logging.NOTSET)
    yield
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = handlers
    LOG.setLevel(logging.NOTSET)


def replace_environ(environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call Snakemake in a folder: `snakemake(folder, "--dry-run", "all")`. Its `.stdout` also holds the errors."""

    def call(folder: Path, *arguments: str, cores: int | None = 1, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, *(["--cores", str(cores)] if cores else [])],
            cwd=folder,
            env={**clean(os.environ), **environ},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,  # seconds; a busy machine takes minutes for the study
        )

    return call


@pytest.fixture(scope="session")
def fake_gpus() -> Callable[[Path, int], tuple[dict[str, str], list[str]]]:
    """Fake the GPUs that nvidia-smi lists (torch sees none of them): `fake_gpus(folder, 2) -> environment, UUIDs`."""

    def make(folder: Path, count: int) -> tuple[dict[str, str], list[str]]:
        uuids = [f"GPU-{uuid.uuid4()}" for _ in range(count)]
        lines = [f"GPU {number}: Fake GPU (UUID: {name})" for number, name in enumerate(uuids)]
        program = folder / "bin" / "nvidia-smi"
        program.parent.mkdir(parents=True)
        program.write_text("\n".join(["#!/bin/sh", *(f"echo '{line}'" for line in lines), ""]))
        program.chmod(0o755)
        path = os.pathsep.join([str(program.parent), clean(os.environ)["PATH"]])
        return {"PATH": path, "DEEPNETS_LOCKS": str(folder)}, uuids

    return make


# -- the study of tests/study, built once for all tests ----------------------------------------------------------------

CHECKOUT = ("Makefile", "Snakefile", "config.yaml", "pyproject.toml", "requirements.txt", "environment.yml")
CHECKOUT_FOLDERS = ("profiles", "scripts", "workflow")
# Class names that mean something to a shell, to HTML, to Markdown or to Matplotlib.
CLASSES = ("a;touch x", "$(touch x)", "<script>", "a|b", r"$\frac$ ünïcödé")


@pytest.fixture(scope="session")
def checkout(root: Path) -> Callable[[Path], Path]:
    """Copy the files of a clone into a folder, without results: `checkout(folder) -> folder`."""

    def copy(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in CHECKOUT:
            shutil.copy2(root / name, folder)
        for name in CHECKOUT_FOLDERS:
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        return folder

    return copy


@pytest.fixture(scope="session")
def new_study(root: Path, checkout) -> Callable[[Path], Path]:
    """Set up the study of tests/study in a folder and build nothing: `new_study(folder) -> folder`."""

    def make(folder: Path) -> Path:
        checkout(folder)
        shutil.copy2(root / "tests/study/config.yaml", folder)
        shutil.copy2(root / "tests/study/small_cnn.py", folder / "scripts/deepnets/models")
        draw_shapes(folder / "shapes")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_study(root: Path, new_study, snakemake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the study of tests/study up to its report. Tests read and copy it; they never write to it.

    It takes half a minute. The first worker that needs it builds it; the others wait for it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # it holds the folders of all workers
    folder, built = shared / "finished_study", shared / "finished_study.built"
    with FileLock(shared / "finished_study.lock"):
        if not built.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a worker that failed
            new_study(folder)
            threads = ("--set-threads", "prepare=1", "train=1", "evaluate=1")  # so that two jobs run at once
            done = snakemake(folder, *threads, cores=2, PYTHONPATH=str(root / "tests/study/trace"))
            assert done.returncode == 0, done.stdout
            built.touch()
    return folder


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Iterator[Path]:
    """Copy the finished study, with its file times and Snakemake's records. A test may change the copy."""
    folder = shutil.copytree(finished_study, tmp_path / "study", symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path], list[str]]:
    """Compare the results of two experiment folders, without times: `differing(folder, other) -> file names`."""

    def rows(folder: Path) -> list[dict]:
        with open(folder / "history.csv", newline="", encoding="utf-8") as file:
            times = {"seconds", "images_per_second"}
            return [{key: row[key] for key in row.keys() - times} for row in DictReader(file)]

    def names(folder: Path, other: Path) -> list[str]:
        exact = ("model.safetensors", "predictions.safetensors", "predictions.csv", "metrics.json")
        found = [name for name in exact if (folder / name).read_bytes() != (other / name).read_bytes()]
        return found + ["history.csv"] * (rows(folder) != rows(other))

    return names


def draw_shapes(folder: Path) -> None:
    """Draw a dataset of five classes; each class is brighter than the previous one."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for split, count in (("train", 16), ("test", 4)):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                image = rng.integers(40 * label, 40 * label + 60, (16, 16), dtype=np.uint8)
                Image.fromarray(image).save(folder / split / name / f"{index}.png")
