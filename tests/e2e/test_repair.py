"""A failure names the broken file. After the fix that its message gives, the next run succeeds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build

EXPERIMENT = "results/shapes/small/gentle/seed0"
METRICS = f"{EXPERIMENT}/metrics.json"


@pytest.fixture
def fail(study, snakemake) -> Callable[[str], str]:
    """Run to a target that cannot be built; return the output."""

    def run(target: str) -> str:
        done = snakemake(study, target)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout
        assert not (study / target).exists()
        return done.stdout

    return run


@pytest.fixture
def build(study, snakemake, terminal) -> Callable[..., Path]:
    def run(*targets: str) -> Path:
        done = snakemake(study, *targets, cores=2)
        assert done.returncode == 0, done.stdout
        terminal.append(done.stdout)
        return study / targets[0]

    return run


@pytest.fixture
def terminal() -> list[str]:
    """Return the list that gets the output of each build."""
    return []


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def assert_moved_aside(name: str, output: str) -> None:
    """Assert that a run has reported a damaged file, and where it has moved it."""
    assert f"{name}: damaged, not what was written there; to be rebuilt\n" in output
    assert f"{name}: moved to {name}.damaged\n" in output


def test_an_image_that_has_changed_unnoticed_is_named_and_can_be_restored(study, fail, build):
    image = study / "shapes/train/a|b/3.png"
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b".")
    delete(study / "data/shapes/dataset.json")
    assert "error: shapes/train/a|b/3.png: not the file that " in fail("data/shapes/dataset.json")
    image.write_bytes(content)
    assert build("data/shapes/dataset.json").is_file()


def test_a_file_that_is_no_image_is_named_and_leaves_nothing_incomplete(study, fail, build):
    image = study / "shapes/test/<script>/0.png"
    content = image.read_bytes()
    image.write_bytes(b"no image")
    delete(study / "data/shapes/raw.json", study / "data/shapes/dataset.json")
    assert "shapes/test/<script>/0.png" in fail("data/shapes/dataset.json")
    assert not list((study / "data/shapes").glob("*.npy"))
    image.write_bytes(content)
    delete(study / "data/shapes/raw.json")
    assert build("data/shapes/dataset.json").is_file()


def test_damaged_arrays_are_named_and_rebuilt(study, finished_study, build, terminal):
    arrays = study / "data/shapes/train_images.npy"
    os.truncate(arrays, 5000)
    delete(study / EXPERIMENT / "history.csv")
    build(f"{EXPERIMENT}/history.csv")
    assert_moved_aside("data/shapes/train_images.npy", terminal[-1])
    assert arrays.read_bytes() == (finished_study / "data/shapes/train_images.npy").read_bytes()


REST = ("predictions.safetensors", "predictions.csv", "history.csv")  # in make test-all


@pytest.mark.parametrize(
    "name", ["model.safetensors", "metrics.json", *(pytest.param(name, marks=pytest.mark.full) for name in REST)]
)
def test_a_file_with_a_flipped_bit_is_named_and_rebuilt_to_the_last_byte(study, finished_study, build, terminal, name):
    file = study / EXPERIMENT / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    build(*{METRICS, f"{EXPERIMENT}/{name}"})  # metrics.json is built last
    assert_moved_aside(f"{EXPERIMENT}/{name}", terminal[-1])
    assert (file.parent / f"{name}.damaged").read_bytes() == content
    for name in ("model.safetensors", "predictions.safetensors", "predictions.csv", "metrics.json"):
        assert (study / EXPERIMENT / name).read_bytes() == (finished_study / EXPERIMENT / name).read_bytes(), name


def test_damage_without_a_checksum_is_named_by_the_job_that_reads_the_file(study, fail, build):
    weights = study / EXPERIMENT / "model.safetensors"
    os.truncate(weights, 1000)
    delete(study / EXPERIMENT / ".train.sha256", study / METRICS)
    message = fail(METRICS)
    assert f"error: {EXPERIMENT}/model.safetensors: damaged" in message
    assert "Then run the same command again" in message
    delete(weights)
    assert build(METRICS).is_file()
