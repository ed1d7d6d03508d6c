"""After an edit of the user's own table, network or weights, Snakemake plans exactly the stale jobs."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from study_edits import append, both, config, rename, replace
from torch import nn

from deepnets.utils.files import read_json, sha256_file

pytestmark = pytest.mark.slow  # a training run, of seconds

NAME = "tuned on table, recipe brief, seed 0"
RESULT = "results/table/tuned/brief/seed0/metrics.json"
FURTHER = "further on table, recipe gentle, seed 0"  # which starts from the experiment above
FURTHER_RESULT = "results/table/further/gentle/seed0/metrics.json"
CONFIG = """
study: own
datasets:
  table: {path: labels.csv, classes: 2, size: 16, channels: 1}
models:
  tuned: {architecture: "my_models.py:Net", weights: net.pth}
  further: {architecture: "my_models.py:Net", weights: results/table/tuned/brief/seed0}
recipes:
  brief: {epochs: 1, batch_size: 8, lr: 0.1}
  gentle: {epochs: 1, batch_size: 8, lr: 0.01}
studies:
  own: [{datasets: [table], models: [tuned], recipe: brief}]
"""
NETWORK = """
from torch import nn


def Net(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
"""


def write_weights(folder: Path) -> None:
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    torch.save(nn.Sequential(*layers).state_dict(), folder / "net.pth")


@pytest.fixture(scope="module")
def finished(checkout, snakemake, tmp_path_factory) -> Path:
    """A folder with an experiment that is made of the user's own files alone, and one that starts from it."""
    folder = checkout(tmp_path_factory.mktemp("own") / "study")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "my_models.py").write_text(NETWORK)
    write_weights(folder)
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        for index in range(20):
            label = ("dark", "light")[index % 2]
            pixels = rng.integers(128, size=(16, 16), dtype=np.uint8) + np.uint8(index % 2 * 100)
            Image.fromarray(pixels).save(folder / f"pictures/{index}.png")
            table.writerow([f"pictures/{index}.png", label])
    done = snakemake(folder, RESULT, FURTHER_RESULT)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


TRAINED = {f"Train {NAME}", f"Evaluate {NAME}"}
EDITS = {
    "nothing": (lambda folder: None, set()),
    "other weights": (write_weights, TRAINED),
    "the same weights in a file of another name": (
        both(rename("net.pth", "nets.pt"), config("net.pth", "nets.pt")),
        set(),
    ),
    "a layer of the network": (replace("my_models.py", "nn.ReLU", "nn.GELU"), {"Summarize tuned for table"} | TRAINED),
    "a comment in the network's file": (append("my_models.py", "# mine\n"), set()),
    "the source, which the path says": (config("path: labels", "source: csv, path: labels"), set()),
    "a label": (
        replace("labels.csv", "pictures/3.png,light", "pictures/3.png,dark"),
        {"Download table", "Prepare the arrays of table"} | TRAINED,
    ),
}


@pytest.mark.parametrize(("edit", "stale"), EDITS.values(), ids=EDITS)
def test_an_edit_of_the_users_files_makes_stale_exactly(finished, dry_run, tmp_path, edit, stale):
    folder = shutil.copytree(finished, tmp_path / "study", symlinks=True)
    edit(folder)
    assert dry_run(folder, RESULT).jobs == stale


def test_metrics_say_from_which_experiment_the_network_was_started(finished):
    started = read_json(finished / FURTHER_RESULT)["started_from"]
    assert started["weights"]["experiment"] == "table/tuned/brief/seed0"
    assert started["weights"]["spec_sha256"] == read_json(finished / RESULT)["spec_sha256"]
    assert started["sha256"] == sha256_file(finished / RESULT.replace("metrics.json", "model.safetensors"))
    assert started["replaced"] == []  # as the classes are the same


@pytest.mark.parametrize(
    ("edit", "stale"),
    [
        (lambda folder: None, set()),
        (config("lr: 0.1}", "lr: 0.2}"), TRAINED | {f"Train {FURTHER}", f"Evaluate {FURTHER}"}),
        (config("lr: 0.01}", "lr: 0.02}"), {f"Train {FURTHER}", f"Evaluate {FURTHER}"}),
    ],
    ids=["nothing", "recipe of the first", "its own recipe"],
)
def test_a_changed_recipe_makes_the_experiment_stale_and_what_starts_from_it(finished, dry_run, tmp_path, edit, stale):
    folder = shutil.copytree(finished, tmp_path / "study", symlinks=True)
    edit(folder)
    assert dry_run(folder, RESULT, FURTHER_RESULT).jobs == stale


def test_a_grid_trains_only_the_values_that_are_not_the_recipes_own(finished, dry_run, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "study", symlinks=True)
    config("recipe: brief}", "recipe: brief, grid: {lr: [0.1, 0.2]}}")(folder)
    new = NAME.replace("brief", "brief,lr=0.2")
    assert dry_run(folder, RESULT, RESULT.replace("brief", "brief,lr=0.2")).jobs == {f"Train {new}", f"Evaluate {new}"}
