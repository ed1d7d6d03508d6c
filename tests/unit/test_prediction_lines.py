"""Lines of predictions: what they say, and what their output may be; and the progress meanwhile."""

import contextlib
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepnets.data import progress
from deepnets.evaluation.prediction_lines import write_lines
from deepnets.evaluation.predictor import Predicted
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

PROBABILITIES = np.array([[0.75, 0.25], [0.125, 0.875]], np.float32)
BATCH = Predicted(["a,1.png", "b.png"], ["owl", "crow"], PROBABILITIES, ["c.png: is empty."], ["b.png"])


def write(path, top=1, as_json=False):
    return write_lines([BATCH, BATCH], path, 6, top, as_json)


def test_a_table_has_columns_for_as_many_classes_as_are_asked_for(tmp_path):
    write(tmp_path / "a.csv")
    rows = ['"a,1.png",owl,0.750000', "b.png,crow,0.875000"]
    assert (tmp_path / "a.csv").read_text().splitlines() == ["file,class,probability", *rows, *rows]
    write(tmp_path / "a.csv", top=2)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "file,class,probability,class_2,probability_2"
    assert lines[2] == "b.png,crow,0.875000,owl,0.125000"


def test_a_json_object_has_all_classes_from_two_on(tmp_path):
    write(tmp_path / "a.json", as_json=True)
    first = json.loads((tmp_path / "a.json").read_text().splitlines()[0])
    assert first == {"file": "a,1.png", "class": "owl", "probability": 0.75}
    write(tmp_path / "a.json", top=2, as_json=True)
    top = [{"class": "owl", "probability": 0.75}, {"class": "crow", "probability": 0.25}]
    assert json.loads((tmp_path / "a.json").read_text().splitlines()[0]) == {**first, "top": top}


def test_broken_pictures_are_returned_and_dim_ones_reported(tmp_path, caplog):
    assert write(tmp_path / "a.csv") == [*BATCH.problems, *BATCH.problems]
    assert [message.partition(": ")[0] for message in caplog.messages] == ["b.png, b.png"]


def test_progress_counts_broken_pictures_too(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    with caplog.at_level("INFO", LOG.name):
        write(tmp_path / "a.csv")
    lines = [line for line in caplog.messages if line.startswith("predict: ")]
    assert re.fullmatch(r"predict: 3 of 6 pictures, .*pictures/s, 00:\d\d left", lines[1])
    assert lines[-1].startswith("predict: 6 of 6 pictures, ")


def test_an_output_that_cannot_be_finished_stays_as_it_was(tmp_path):
    (tmp_path / "a.csv").write_text("old")

    def broken():
        yield BATCH
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(broken(), tmp_path / "a.csv", 4, 1)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_an_output_that_is_a_pipe_is_written_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit((tmp_path / "pipe").read_text)
        write(tmp_path / "pipe")
        assert len(reading.result().splitlines()) == 1 + 4
    assert (tmp_path / "pipe").is_fifo()


def test_an_output_whose_reader_ends_early_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: open(tmp_path / "pipe", "rb").close())

        def batches():
            reading.result()
            yield BATCH

        with pytest.raises(UserError, match=r"pipe: its reader ended before all predictions were written"):
            write_lines(batches(), tmp_path / "pipe", 2, 1)


def test_an_output_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("link", "to_nothing"):
        (tmp_path / name).symlink_to(f"below/{name}.csv")
    (tmp_path / "below/link.csv").write_text("old")
    for name in ("link", "to_nothing"):
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert len((tmp_path / f"below/{name}.csv").read_text().splitlines()) == 1 + 4
    assert len(list((tmp_path / "below").iterdir())) == 2


def test_the_bar_steps_aside_only_for_an_output_on_the_terminal(tmp_path, monkeypatch):
    stepped = []
    monkeypatch.setattr("tqdm.tqdm.external_write_mode", lambda *_of: [stepped.append(1), contextlib.nullcontext()][1])
    write(tmp_path / "a.csv")
    assert stepped == []
    ours, theirs = os.openpty()
    with open(ours) as screen, open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        write(None)
        assert screen.readline() == "file,class,probability\n"
    assert stepped == [1, 1]
