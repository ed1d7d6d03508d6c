"""A study of any size without training: its configuration, and made-up results of its training runs."""

import shutil
from pathlib import Path, PurePath

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

from deepnets.config import yaml_reader
from deepnets.config.experiment import Experiment, spec_sha256
from deepnets.planning.job import NAMES
from deepnets.planning.jobs import Jobs
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.files import read_json, write_json, write_text
from deepnets.utils.specs import settings_sha256

NAME = "scale"
MODELS, SEEDS = ("mobilenet_v2", "resnet50"), 5
_NONE = {"across_splits": [], "across_labels": []}
_AUDIT = {
    "classes": [str(digit) for digit in range(10)],
    "splits": {split: {"images": 100, "distinct": 100, "per_class": [10] * 10} for split in paths.SPLITS},
    "duplicates": dict.fromkeys(("within_train", "within_test", "across_splits", "across_labels"), 0),
    "groups": _NONE,
    "near_duplicates": {"bits": 4, "across_splits": 0, "across_labels": 0, "pairs": _NONE},
    "blank": {"images": 0, "members": []},
    "files": None,
}
CHECKOUT = ("Snakefile", "config.yaml", "pyproject.toml", "environment.yml", "profiles", "scripts", "workflow")


def configure(path: Path, experiments: int) -> None:
    """Give a config.yaml another study: a sweep of the learning rate with two networks and five seeds, on digits.

    Args:
        path: the file.
        experiments: how many; a multiple of ten.
    """
    rates = np.geomspace(0.001, 0.5, experiments // (len(MODELS) * SEEDS))
    recipes = {f"lr{place:03}": {"epochs": 10, "lr": round(float(rate), 6)} for place, rate in enumerate(rates)}
    entries = [
        {"datasets": ["digits"], "models": list(MODELS), "recipe": recipe, "seeds": list(range(SEEDS))}
        for recipe in recipes
    ]
    sweep = {"study": NAME, "recipes": recipes, "studies": {NAME: entries}}
    write_json(path, yaml_reader.merge(yaml_reader.read(path).content, sweep))  # JSON is YAML


def checkout(root: Path, folder: Path) -> None:
    """Copy what a clone of the repository has, without results."""
    for name in CHECKOUT:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(root / name, folder)


def make_ready(jobs: Jobs, root: Path, ready: Path) -> None:
    """Write what the jobs of the study would make, for stand_in.py: `ready`/{stage}/{name of the job}/{its files}.

    The results of training and evaluation are plausible; every other file holds its settings at most.
    """
    for job in jobs.of_study():
        name = NAMES[job.stage].format(**job.wildcards)
        for path in job.outputs:
            _write_made_by(ready / job.stage / name / path, jobs.settings(job.stage, job.wildcards))
    rng = np.random.default_rng(0)
    for experiment in jobs.study:
        _write_results(experiment, root / "docs/runs/demo/digits" / experiment.model / "quick/seed0", ready, rng)


def _write_made_by(file: Path, settings: dict) -> None:
    """Write a file that says the settings it was made by, as planning expects it, and nothing else."""
    if file.suffix == ".json":
        audit = _AUDIT if file.name == PurePath(paths.AUDIT).name else {}
        write_json(file, {**{key: settings[key] for key in ("spec", "state") if key in settings}, **audit})
    elif file.suffix == ".png":
        text = PngInfo()
        text.add_text("settings_sha256", settings_sha256(settings))
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(file, pnginfo=text)
    else:
        write_text(file, "{}")


def _write_results(experiment: Experiment, like: Path, ready: Path, rng: np.random.Generator) -> None:
    """Write results like the demo's, with another accuracy: best at a middling learning rate."""
    name = paths.EXPERIMENT_NAME.format(**experiment.names)
    train, evaluate = (ready / stage / name / experiment.directory for stage in ("train", "evaluate"))
    files = [train / name for name in ("history.csv", "timing.json", "model.safetensors")]
    with record_checksums("train", *files):
        write_text(files[0], (like / "history.csv").read_text())
        timing = read_json(like / "timing.json")
        write_json(files[1], timing | {"wall_seconds": round(timing["wall_seconds"] * rng.uniform(0.8, 1.2), 3)})
        write_text(files[2], "weights")
    metrics, rate = read_json(like / "metrics.json"), experiment.spec["recipe"]["lr"]
    accuracy = 0.98 - 0.03 * abs(np.log10(rate / 0.05)) - abs(rng.normal(0, 0.01))
    low, high = accuracy - 0.02, min(1.0, accuracy + 0.015)
    metrics["test"] |= {"accuracy": accuracy, "accuracy_ci95": [low, high], "loss": 2.5 * (1 - accuracy)}
    identity = {
        "experiment": experiment.names,
        "spec": experiment.spec,
        "spec_sha256": spec_sha256(experiment.spec),
    }
    files = [evaluate / name for name in ("metrics.json", "predictions.safetensors", "predictions.csv")]
    with record_checksums("evaluate", *files):
        write_json(files[0], metrics | identity)
        save_file(_predictions(accuracy, rng), files[1], {"spec_sha256": identity["spec_sha256"]})
        write_text(files[2], "index")


def _predictions(accuracy: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return predictions of this accuracy, with an error that is the same for no two experiments."""
    found = {}
    for split, images in (("test", 360), ("validation", 144)):
        labels = np.arange(images) % 10
        predicted = np.where(rng.random(images) < accuracy, labels, (labels + 1) % 10)
        found[f"{split}_logits"] = (5 * np.eye(10)[predicted] + rng.normal(size=(images, 10))).astype(np.float32)
        found[f"{split}_labels"] = labels
    index = np.flatnonzero(found["test_logits"].argmax(1) != found["test_labels"])
    index = np.concatenate([index, np.setdiff1d(np.arange(360), index)])  # figures find every image
    pictures = rng.integers(0, 256, (len(index), 1, 8, 8), dtype=np.uint8)
    return found | {"example_index": index, "example_images": pictures}
