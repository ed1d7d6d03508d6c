"""Break something, run: the failure names it. Do what it says, run again: all is well."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # whoever comes first builds the study: a minute on one core

EXPERIMENT = "results/shapes/small/gentle/seed0"
METRICS = f"{EXPERIMENT}/metrics.json"


@pytest.fixture
def fail(study, snakemake) -> Callable[[str], str]:
    """Run to a target that cannot be made; what the terminal says."""

    def run(target: str) -> str:
        done = snakemake(study, target)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout
        assert not (study / target).exists()
        return done.stdout

    return run


@pytest.fixture
def build(study, snakemake) -> Callable[[str], Path]:
    def run(target: str) -> Path:
        done = snakemake(study, target)
        assert done.returncode == 0, done.stdout
        return study / target

    return run


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def test_an_image_that_has_changed_unseen_is_named_and_can_be_put_back(study, fail, build):
    image = study / "shapes/train/a|b/3.png"
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b".")
    delete(study / "data/shapes/dataset.json")
    assert "error: shapes/train/a|b/3.png: not the file that " in fail("data/shapes/dataset.json")
    image.write_bytes(content)
    assert build("data/shapes/dataset.json").is_file()


def test_an_image_that_is_none_is_named_and_leaves_nothing_half_written(study, fail, build):
    image = study / "shapes/test/<script>/0.png"
    content = image.read_bytes()
    image.write_bytes(b"no image")
    delete(study / "data/shapes/raw.json", study / "data/shapes/dataset.json")
    assert "shapes/test/<script>/0.png" in fail("data/shapes/dataset.json")
    assert not list((study / "data/shapes").glob("*.npy"))
    image.write_bytes(content)
    delete(study / "data/shapes/raw.json")
    assert build("data/shapes/dataset.json").is_file()


def test_damaged_arrays_are_named_and_made_again(study, finished_study, fail, build):
    arrays = study / "data/shapes/train_images.npy"
    os.truncate(arrays, 5000)
    delete(study / EXPERIMENT / "history.csv")
    message = fail(f"{EXPERIMENT}/history.csv")
    assert "error: data/shapes/train_images.npy: damaged" in message
    assert "delete data/shapes/dataset.json and run the same command again" in message
    delete(study / "data/shapes/dataset.json")
    build(f"{EXPERIMENT}/history.csv")
    assert arrays.read_bytes() == (finished_study / "data/shapes/train_images.npy").read_bytes()


def test_truncated_weights_are_named_and_made_again_to_the_last_byte(study, finished_study, fail, build):
    weights = study / EXPERIMENT / "model.safetensors"
    os.truncate(weights, 1000)
    delete(study / METRICS)
    message = fail(METRICS)
    assert f"error: {EXPERIMENT}/model.safetensors: damaged" in message
    assert "delete it and run the same command again" in message
    delete(weights)
    build(METRICS)
    for name in ("model.safetensors", "predictions.safetensors", "metrics.json"):
        assert (study / EXPERIMENT / name).read_bytes() == (finished_study / EXPERIMENT / name).read_bytes(), name


def test_damaged_metrics_are_named_and_made_again(study, fail, build):
    os.truncate(study / METRICS, 100)
    target = "results/shapes/comparison/accuracy.png"
    assert f"error: {METRICS}: damaged" in fail(target)
    delete(study / METRICS)
    assert build(target).is_file()
