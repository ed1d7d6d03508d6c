"""scripts/predict.py: many pictures in several processes, odd names, and the ends that it may have."""

import os
import shutil
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image
from predict_rows import predict_rows
from tiny_experiment import CLASSES, SPEC, error_line

import predict as predict_script
from deepnets import Model, load, models
from deepnets.data import decoders
from deepnets.data.pictures import list_pictures
from deepnets.evaluation import predictor
from deepnets.evaluation.predictor import count_workers, predict_files
from deepnets.utils.tensors import save_tensors

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write the weights of a network that nobody trained."""
    file = tmp_path_factory.mktemp("network") / "model.safetensors"
    network = models.build(SPEC["model"], 3, 1, (8, 8))
    metadata = {"classes": CLASSES, "input_shape": [1, 8, 8], "mean": [0.5], "std": [0.2], "spec_sha256": "0"}
    save_tensors(file, dict(network.state_dict()), metadata | {"spec": SPEC})
    return file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Draw 21 pictures; return their folder."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for index in range(21):
        Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8)).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture
def many(pictures, tmp_path):
    """300 pictures: 150 files, of which two are broken, and 150 in an archive, one of them damaged."""
    files = tmp_path / "many"
    files.mkdir()
    for index in range(150):
        shutil.copy(pictures / f"{index % 21:02}.png", files / f"{index:03}.png")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as packed:
        for index in range(150):
            packed.write(files / f"{149 - index:03}.png", f"{index:03}.png")
    for index in (7, 140):
        (files / f"{index:03}.png").write_text("no picture")
    content = bytearray((tmp_path / "many.zip").read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    (tmp_path / "many.zip").write_bytes(content)
    return [files, tmp_path / "many.zip"]


def test_several_processes_say_of_each_picture_what_one_says(weights, many, capfd, monkeypatch):
    monkeypatch.setattr(predict_script, "usable_cores", lambda: 2)
    started = []
    start = decoders.ProcessPoolExecutor
    monkeypatch.setattr(decoders, "ProcessPoolExecutor", lambda *of: [started.append(of[0]), start(*of)][1])
    alone, errors = predict_rows(capfd, weights, *many, "--top", 3, code=1)
    assert started == []
    together, same_errors = predict_rows(capfd, weights, *many, "--top", 3, code=1, threads=2)
    assert started == [2]
    assert same_errors == errors
    for row, other in zip(alone, together, strict=True):  # sums of other batches may differ in their last digit
        of_row, of_other = ([float(each[f"probability{rank}"]) for rank in ("", "_2", "_3")] for each in (row, other))
        assert of_row == pytest.approx(of_other, abs=2e-6)
        assert [row["file"], row["class"]] == [other["file"], other["class"]]
    assert len(alone) == 297
    assert len(errors) == 1 + 3 + 1  # the temperature, the pictures, and how many they are
    assert [row["file"] for row in alone[146:150]] == [
        *(f"{many[0]}/{index}.png" for index in (148, 149)),
        *(f"{many[1]}/{index:03}.png" for index in (1, 2)),
    ]


@pytest.mark.parametrize(("workers", "longest"), [(1, 21), (2, 11), (4, 6)])
def test_few_pictures_are_divided_among_the_threads(weights, pictures, monkeypatch, workers, longest):
    model, lengths, logits = load(weights, device="cpu"), [], Model.logits
    all_at_once = threading.Barrier(workers, timeout=60)  # broken, if one thread has two of the batches

    def recorded(self, images):
        all_at_once.wait()
        lengths.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(Model, "logits", recorded)
    files = list_pictures([str(pictures)])[0]
    found = list(predict_files([model], files, workers=workers))
    assert [name for batch in found for name in batch.names] == [file.name for file in files]
    assert (len(lengths), max(lengths), sum(lengths)) == (workers, longest, 21)


def test_small_images_fill_the_batch_of_each_thread(weights, many):
    model, files = load(weights, device="cpu"), list_pictures(map(str, many))[0]
    assert max(len(batch.names) + len(batch.problems) for batch in predict_files([model], files * 2, workers=2)) == 256


def test_batches_of_large_images_take_no_more_memory_in_several_threads_than_in_one(weights, many):
    model, files = load(weights, device="cpu"), list_pictures(map(str, many))[0]
    model.spec["model"]["resize"] = 64  # they are small, but the network enlarges them
    for threads in (1, 2, 3, 4, 16):
        workers = count_workers([model], threads)
        lengths = [len(batch.names) for batch in predict_files([model], files, workers=workers)]
        assert max(lengths) * workers <= 256
        assert sum(lengths) == 297


def test_what_waits_is_not_predicted_once_nobody_reads(weights, pictures, monkeypatch):
    model, begun, may_go_on, logits = load(weights, device="cpu"), [], threading.Event(), Model.logits

    def first_at_once(self, images):
        begun.append(len(images))
        if len(begun) > 1:
            may_go_on.wait(60)
        return logits(self, images)

    monkeypatch.setattr(Model, "logits", first_at_once)
    monkeypatch.setattr(predictor, "EVALUATION_BATCH", 4)
    found = predict_files([model], list_pictures([str(pictures)])[0], workers=2)
    next(found)
    threading.Timer(1, may_go_on.set).start()
    found.close()  # as Ctrl-C and a closed pipe do; 4 batches were handed out, one is done, and each thread has one
    assert len(begun) == 3


def test_a_reader_that_is_gone_ends_it_without_a_word(root, weights, many):
    command = [sys.executable, root / "scripts/predict.py", weights, *many, "--gpus", "0", "--temperature", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, "")


def test_an_empty_list_on_standard_input_is_reported(weights, capfd, monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        rows, errors = predict_rows(capfd, weights, "-", code=1)
    assert rows == []
    assert errors[1].startswith("-: the list on standard input is empty")


def test_names_that_a_terminal_would_obey_are_escaped(weights, capfd, tmp_path):
    (tmp_path / "a\n\x1b[2Jb.png").write_bytes(b"")
    _, errors = predict_rows(capfd, weights, tmp_path, code=1)
    assert errors[1].startswith(f"{tmp_path}/a\\n\\x1b[2Jb.png: is empty")


def test_an_output_that_is_a_folder_is_refused_before_anything_is_predicted(weights, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("deepnets.data.pictures.list_pictures", None)
    arguments = [str(weights), "a.png", "--output", str(tmp_path)]
    assert (
        error_line(caplog, predict_script.main, arguments) == f"error: --output: {tmp_path} is a folder; name a file."
    )
