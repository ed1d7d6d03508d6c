"""predictions.csv: what a network says of each test image, whatever images and classes are called."""

import csv
from pathlib import Path

import numpy as np

from deepnets.evaluation.prediction_table import COLUMNS, write_prediction_table

FILES = ["owl/=1+1.png", 'owl/a "b", c.png', "owl/line\nbreak.png", "owl/\udcff.png"]  # the last is no UTF-8
CLASSES = ["=SUM(A1)", "a;b,c", "$(touch x)", "ünïcödé"]
LOGITS = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 9, 0], [0, 0, 0, 50]], np.float32)


def write(folder: Path, logits: np.ndarray = LOGITS, files: list[str] | None = FILES) -> list[list[str]]:
    """Write the table of images with the labels 0, 1, 2, 3, and read it."""
    path = folder / "predictions.csv"
    write_prediction_table(path, logits, np.arange(4), CLASSES, files)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_names_stay_what_they_are(tmp_path):
    heading, *rows = write(tmp_path)
    assert tuple(heading) == COLUMNS
    assert [row[1] for row in rows] == [*FILES[:3], "owl/\\udcff.png"]
    assert [row[2] for row in rows] == [row[3] for row in rows] == CLASSES
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]


def test_probability_is_that_of_the_predicted_class_with_six_digits(tmp_path):
    rows = write(tmp_path, files=None)[1:]
    assert [row[4] for row in rows] == ["0.711235", "0.711235", "0.999630", "1.000000"]
    assert {row[1] for row in rows} == {""}


def test_image_without_a_prediction_has_none_in_the_table(tmp_path):
    logits = LOGITS.copy()
    logits[1] = np.nan
    assert write(tmp_path, logits)[2] == ["1", FILES[1], CLASSES[1], "", ""]


def test_same_logits_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name)
    assert (tmp_path / "a/predictions.csv").read_bytes() == (tmp_path / "b/predictions.csv").read_bytes()
