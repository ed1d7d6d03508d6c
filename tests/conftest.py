"""What every test may rely on: one thread, a clean environment, a way to call Snakemake, and a finished study."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from csv import DictReader
from pathlib import Path

import pytest

from deepnets.utils.machine import BATCH_JOB

# Before the first import of numpy or torch: tests are small, several threads only make them slower and less repeatable.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "agg"

# Variables by which the outside would steer the project's own commands: `make test` exports MAKEFLAGS, for one, and a
# batch system says that it has started the tests.
STEERING = ("DEEPNETS_", "SNAKEMAKE_", "MAKE", "MFLAGS", "TORCH_BACKEND", "CORES", "STUDY", "CUDA_VISIBLE_DEVICES")
STEERING += BATCH_JOB


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, to be read and never written."""
    return Path(__file__).resolve().parent.parent


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what would steer a test, where a shell line calls the Python that runs the tests."""
    kept = {name: value for name, value in environ.items() if not name.startswith(STEERING)}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])}


@pytest.fixture(autouse=True)
def clean_environ() -> Iterator[None]:
    """Keep os.environ as it is for the next test, and free of what would steer this one."""
    before = dict(os.environ)
    replace_environ(clean(before))
    yield
    replace_environ(before)


def replace_environ(environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call Snakemake in a folder: `snakemake(folder, "--dry-run", "all")`, output and errors together in `.stdout`."""

    def call(folder: Path, *arguments: str, cores: int | None = 1, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, *(["--cores", str(cores)] if cores else [])],
            cwd=folder,
            env={**clean(os.environ), **environ},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
        )

    return call


@pytest.fixture(scope="session")
def fake_gpus() -> Callable[[Path, int], tuple[dict[str, str], list[str]]]:
    """A machine with GPUs, as far as anyone asks without torch: `fake_gpus(folder, 2) -> environment, UUIDs`."""

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


# -- a study of the tests' own, built once -----------------------------------------------------------------------------

CHECKOUT = ("Makefile", "Snakefile", "config.yaml", "pyproject.toml", "requirements.txt", "environment.yml")
CHECKOUT_FOLDERS = ("profiles", "scripts", "workflow")
# Class names that a shell, HTML, Markdown or Matplotlib would take for more than a name.
CLASSES = ("a;touch x", "$(touch x)", "<script>", "a|b", r"$\frac$ ünïcödé")


@pytest.fixture(scope="session")
def checkout(root: Path) -> Callable[[Path], Path]:
    """Copy what a clone would have into a folder, without results: `checkout(folder) -> folder`."""

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
    """Make the study of tests/study in a folder, nothing built: `new_study(folder) -> folder`."""

    def make(folder: Path) -> Path:
        checkout(folder)
        shutil.copy2(root / "tests/study/config.yaml", folder)
        shutil.copy2(root / "tests/study/small_cnn.py", folder / "scripts/deepnets/models")
        draw_shapes(folder / "shapes")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_study(root: Path, new_study, snakemake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of tests/study, built to its report; to be read and copied, never written."""
    folder = new_study(tmp_path_factory.mktemp("finished") / "study")
    threads = ("--set-threads", "prepare=1", "train=1", "evaluate=1")  # so that two jobs run at once
    done = snakemake(folder, *threads, cores=2, PYTHONPATH=str(root / "tests/study/trace"))
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished study, with its times and Snakemake's records, to be changed at will."""
    folder = shutil.copytree(finished_study, tmp_path / "study", symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path], list[str]]:
    """Which results differ between two folders of an experiment, times aside: `differing(folder, other) -> names`."""

    def rows(folder: Path) -> list[dict]:
        with open(folder / "history.csv", newline="", encoding="utf-8") as file:
            times = {"seconds", "images_per_second"}
            return [{key: row[key] for key in row.keys() - times} for row in DictReader(file)]

    def names(folder: Path, other: Path) -> list[str]:
        exact = ("model.safetensors", "predictions.safetensors", "metrics.json")
        found = [name for name in exact if (folder / name).read_bytes() != (other / name).read_bytes()]
        return found + ["history.csv"] * (rows(folder) != rows(other))

    return names


def draw_shapes(folder: Path) -> None:
    """Draw a dataset of five classes, each brighter than the one before."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for part, count in (("train", 16), ("test", 4)):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                image = rng.integers(40 * label, 40 * label + 60, (16, 16), dtype=np.uint8)
                Image.fromarray(image).save(folder / part / name / f"{index}.png")
