"""The benchmark of scripts/predict.py measures what it prints, for each kind of pictures."""

import csv
import re
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import predict_speed
from predict_speed import Case

SMALL = Case("jpg", (16, 16), {"architecture": "mobilenet_v2"}, 16)
PHOTO = Case("jpg", (1000, 750), {"architecture": "mobilenet_v2"}, 64)


def test_speeds_are_the_images_by_the_seconds_and_what_predict_reaches_is_compared_with_its_parts(monkeypatch, capsys):
    now = 0.0

    def work(per_second, start=0.0):
        def do(*arguments):
            nonlocal now
            now += start + next(len(each) for each in arguments if isinstance(each, list)) / per_second

        return do

    monkeypatch.setattr(predict_speed, "usable_cores", lambda: 2)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(predict_speed, "decode_plainly", work(1000))
    monkeypatch.setattr(predict_speed, "decode_alone", work(800))
    monkeypatch.setattr(predict_speed, "forward_alone", lambda _weights, _size: 400)
    monkeypatch.setattr(predict_speed, "predict", work(304, start=2.5))
    predict_speed.measure(SMALL, [Path("a.jpg")] * 4000, Path("model.safetensors"))
    assert capsys.readouterr().out.splitlines() == [
        "    Pillow alone, one process: 1,000 images/s",
        "    decoding alone, 2 times one process: 1,600 images/s",
        "    forward pass alone, all threads: 400 images/s",
        "    predict.py, 2 cores: 304 images/s, and 2.5 s to start",
        "    95% of the 320 that both allow on 2 cores: 80% of their time is the forward pass",
    ]


@pytest.mark.parametrize("case", [SMALL, SMALL._replace(kind="png")])
def test_pillow_alone_reads_each_picture_once(tmp_path, monkeypatch, case):
    files = predict_speed.draw(tmp_path / "pictures", 5, case)
    monkeypatch.setattr(Image, "open", opened := Mock(side_effect=Image.open))
    predict_speed.decode_plainly(files, 16)
    assert [call.args[0] for call in opened.call_args_list] == files
    assert len({file.read_bytes() for file in files}) == 5


def test_photos_are_as_large_as_photos(tmp_path):
    (file,) = predict_speed.draw(tmp_path / "pictures", 1, PHOTO)
    with Image.open(file) as photo:
        assert photo.size == (1000, 750)
    assert 50_000 < file.stat().st_size < 500_000


def test_decoding_alone_is_that_of_predict(tmp_path, monkeypatch):
    files, decoded = predict_speed.draw(tmp_path / "pictures", 5, SMALL), []
    decode_block = predict_speed.decode_block
    monkeypatch.setattr(predict_speed, "decode_block", lambda *of: decoded.append(decode_block(*of)))
    predict_speed.decode_alone(files, 16)
    assert [name for block in decoded for name in block.names] == list(map(str, files))
    assert np.concatenate([block.images[0] for block in decoded]).shape == (5, 16, 16, 1)


@pytest.mark.slow  # a start of torch
def test_predict_is_measured_on_each_picture(tmp_path):
    weights = predict_speed.save_network(tmp_path / "model.safetensors", SMALL)
    files = predict_speed.draw(tmp_path / "pictures", 40, SMALL)
    predict_speed.predict(weights, files)
    with open(tmp_path / "model.csv", newline="", encoding="utf-8") as file:
        assert [Path(row["file"]) for row in csv.DictReader(file)] == files


@pytest.mark.slow  # nine starts of torch
def test_script_measures_each_kind_of_pictures(root):
    command = [sys.executable, root / "benchmarks/predict_speed.py", "--images", "40", "--photos", "4", "--size", "16"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\d+) (\w+) of (\d+) x \d+ px, (.*) of (\d+) px$", done.stdout, re.MULTILINE) == [
        ("40", "jpg", "16", "mobilenet_v2", "16"),
        ("40", "png", "16", "mobilenet_v2", "16"),
        ("40", "jpg", "16", "ResNet9, width 8", "16"),
        ("4", "jpg", "1000", "mobilenet_v2", "64"),
    ]
    assert (
        len(
            re.findall(
                r"that both allow on \d+ cores: \d+% of their time is (?:decoding|the forward pass)$", done.stdout, re.M
            )
        )
        == 4
    )
