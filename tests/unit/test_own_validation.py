"""A dataset that brings its own validation split: training and evaluation use it, and the report says it."""

import json
from pathlib import Path

import numpy as np
import pytest
from report_pages import set_recipe, table_of
from safetensors.numpy import load_file
from tiny_experiment import evaluate, job_with, train, write_dataset

from deepnets.data.splits import split_train_validation
from deepnets.utils.files import read_json, write_json

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture
def own_validation(tmp_path: Path) -> Path:
    """dataset.json of a dataset whose last 12 of 60 training images are its validation split."""
    data = write_dataset(tmp_path / "data")
    write_json(data, {**read_json(data), "validation_rows": [48, 60]})
    return data


def test_validation_split_of_the_dataset_is_used_for_every_seed_and_fraction():
    info = {"dataset": "birds", "classes": ["owl", "wren"], "validation_rows": [5, 7]}
    for fraction, seed in ((0.1, 0), (0.5, 3)):
        train_rows, validation_rows = split_train_validation(np.array([0, 0, 0, 1, 1, 1, 0]), fraction, seed, info)
        assert train_rows.tolist() == [0, 1, 2, 3, 4]
        assert validation_rows.tolist() == [5, 6]
        assert train_rows.dtype == validation_rows.dtype == np.int64


def test_experiment_is_trained_and_validated_on_the_splits_of_the_dataset(own_validation, tmp_path):
    folder, job = tmp_path / "run", job_with(epochs=1)
    train(own_validation, folder, job)
    evaluate(own_validation, folder, job)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["train"]["n"], metrics["validation"]["n"]) == (48, 12)
    assert metrics["validation"]["from_dataset"] is True
    labels = np.load(own_validation.parent / "train_labels.npy")
    assert load_file(folder / "predictions.safetensors")["validation_labels"].tolist() == labels[48:].tolist()
    assert "the dataset has its own validation split; validation_fraction does nothing" in (folder / "log").read_text()


def test_drawn_validation_split_leaves_metrics_json_as_it_was(finished):
    assert "from_dataset" not in json.loads((finished / "metrics.json").read_text())["validation"]


def test_report_says_where_the_validation_images_are_from(experiment, write_report):
    directory = experiment()
    held_out = "The validation images are held\nout of the training split"
    own = "The validation images are the dataset's own validation split; none were held out of the training split."
    text = write_report(directory)
    assert f"{held_out}. The weights of each run were tested once" in text
    assert own not in text
    metrics = read_json(directory / "metrics.json")
    metrics["validation"]["from_dataset"] = True
    write_json(directory / "metrics.json", metrics)
    text = write_report(directory)
    assert f"{held_out}, unless a dataset has its own validation split. The weights" in text
    assert own in text


@pytest.mark.parametrize(
    ("keys", "word"),
    [({}, "cropped"), ({"non_square": "pad"}, "black"), ({"source": "csv"}, "cropped"), (None, None)],
)
def test_report_says_what_became_of_images_that_are_not_square(experiment, write_report, keys, word):
    directory = experiment()
    metrics = read_json(directory / "metrics.json")
    if keys is not None:
        metrics["spec"]["dataset"] |= {"source": "folder", **keys}
        write_json(directory / "metrics.json", metrics)
    lines = [line for line in write_report(directory).splitlines() if line.startswith("Images that are not square")]
    assert len(lines) == (word is not None)
    assert all(word in line for line in lines)


def test_report_shows_no_validation_fraction_where_none_was_used(experiment, write_report):
    own, drawn = experiment(), experiment("photos")
    for directory in (own, drawn):
        set_recipe(directory, validation_fraction=0.15)
    metrics = read_json(own / "metrics.json")
    metrics["validation"]["from_dataset"] = True
    write_json(own / "metrics.json", metrics)
    assert "validation_fraction" not in write_report(own)
    assert "validation_fraction 0.15" in write_report(drawn)
    assert [row[1:] for row in table_of(write_report(own, drawn), "Recipe")] == [
        ["Used for", "validation_fraction"],
        ["---", "---:"],
        ["ResNet50 on digits", "–"],
        ["ResNet50 on photos", "0.15"],
    ]
