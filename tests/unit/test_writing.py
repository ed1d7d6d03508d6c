"""Many images in several processes: the same bytes however many there are, and whatever kills them on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import download
import prepare
from deepnets.data import array_writer as writing
from deepnets.data import decode as image_files
from deepnets.data import progress
from deepnets.data import sources as datasets
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

IMAGES = {"train": 14, "test": 6}  # of each class


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Ten chunks of a dataset that is drawn in no time."""
    monkeypatch.setattr(image_files, "CHUNK", 4)


@pytest.fixture
def birds(tmp_path) -> Path:
    """A folder of images, and its raw.json in tmp_path/data."""
    rng = np.random.default_rng(0)
    for part, count in IMAGES.items():
        for name in ("owl", "wren"):
            (tmp_path / "birds" / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(256, size=(6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "birds" / part / name / f"{index:02}.png", compress_level=0)
    look(tmp_path / "birds", tmp_path / "data/raw.json")
    return tmp_path / "birds"


def options(birds: Path, size: int = 5) -> datasets.DatasetOptions:
    return datasets.source("folder").Options(source="folder", path=str(birds), classes=2, size=size)


def look(birds: Path, raw: Path) -> None:
    job = json.dumps({"spec": options(birds).raw_spec()})
    download.main(["--dataset", "birds", "--job", job, "--output", str(raw)])


def build(birds: Path, output: Path, processes: int = 1, size: int = 5, code: str = "a") -> dict[str, bytes]:
    """Prepare the arrays beside `output`; return every file's bytes by its name."""
    job = json.dumps({"spec": options(birds, size).prepared_spec(), "code": code})
    raw = birds.parent / "data/raw.json"
    arguments = ["--dataset", "birds", "--job", job, "--raw", str(raw), "--processes", str(processes)]
    prepare.main([*arguments, "--output", str(output / "dataset.json")])
    return {file.name: file.read_bytes() for file in output.iterdir() if file.suffix in (".npy", ".json")}


@pytest.fixture
def undisturbed(birds, tmp_path) -> dict[str, bytes]:
    return build(birds, tmp_path / "undisturbed")


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The contents of all image files that this process decodes from here on."""
    contents, decode = [], image_files.decode
    monkeypatch.setattr(
        image_files, "decode", lambda content, *shape: [contents.append(content), decode(content, *shape)][1]
    )
    return contents


def stop_after(monkeypatch, count: int) -> None:
    """End the process, as far as a test can be ended, when so many images are decoded."""
    left, decode = [count], image_files.decode

    def decode_or_stop(content, *shape):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return decode(content, *shape)

    monkeypatch.setattr(image_files, "decode", decode_or_stop)


def interrupted(birds: Path, output: Path, after: int) -> Path:
    """The folder of a run that was stopped after so many images."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(monkeypatch, after)
        with pytest.raises(KeyboardInterrupt):
            build(birds, output)
    return output


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(birds, undisturbed, tmp_path, processes):
    assert build(birds, tmp_path / "several", processes) == undisturbed


@pytest.mark.parametrize("after", [0, 3, 4, 17, 39])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(birds, undisturbed, tmp_path, decoded, after):
    output = interrupted(birds, tmp_path / "again", after)
    assert not (output / "dataset.json").exists()
    decoded.clear()
    assert build(birds, output) == undisturbed
    assert len(decoded) == 40 - after // 4 * 4  # whole chunks are not made again
    assert not (output / ".unfinished").exists()


def test_killed_with_its_processes_it_goes_on_to_the_same_bytes(birds, undisturbed, tmp_path, root):
    output = tmp_path / "again"
    code = (
        "import time; from deepnets.data import array_writer as writing, decode; decode.CHUNK = 4; key = writing._key\n"
        "writing._key = lambda chunk: [time.sleep(0.2), key(chunk)][1]\n"  # so that there is time for a kill
        "import prepare, sys; prepare.main(sys.argv[1:])"
    )
    job = json.dumps({"spec": options(birds).prepared_spec(), "code": "a"})
    arguments = ["--dataset", "birds", "--job", job, "--raw", birds.parent / "data/raw.json", "--processes", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", code, *arguments, "--output", output / "dataset.json"]
    with subprocess.Popen(command, env=environment) as process:
        while not [note for note in output.glob(".unfinished/*/chunks.txt") if note.stat().st_size]:
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]  # none is left behind
    assert build(birds, output) == undisturbed


def test_changed_image_is_not_taken_from_an_old_chunk(birds, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=8)
    image = birds / "train/owl/01.png"
    status, content = image.stat(), bytearray(image.read_bytes())
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(image, compress_level=0)
    assert image.stat().st_size == len(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # even where its time does not tell
    look(birds, birds.parent / "data/raw.json")
    assert build(birds, output) == build(birds, tmp_path / "fresh")


def test_image_that_changed_after_the_download_is_named_even_where_its_chunk_is_there(birds, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=8)
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(birds / "train/owl/01.png", compress_level=0)
    with pytest.raises(UserError, match=r"train/owl/01\.png: not the file that .*raw\.json lists; delete"):
        build(birds, output)


def test_unfinished_array_that_was_damaged_is_made_again(birds, undisturbed, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=20)
    (array,) = output.glob(".unfinished/*/train_images.npy")
    content = bytearray(array.read_bytes())
    content[0], content[300] = 0, content[300] ^ 1
    array.write_bytes(content)
    assert build(birds, output) == undisturbed


def test_line_that_a_kill_has_cut_costs_its_chunk_and_no_more(birds, undisturbed, tmp_path, decoded):
    output = interrupted(birds, tmp_path / "again", after=20)
    (note,) = output.glob(".unfinished/*/chunks.txt")
    note.write_bytes(note.read_bytes()[:-9])
    decoded.clear()
    assert build(birds, output) == undisturbed
    assert len(decoded) == 40 - 20 + 4


@pytest.mark.parametrize("other", [{"size": 6}, {"code": "b"}])
def test_chunks_of_other_settings_or_code_are_removed_unread(birds, tmp_path, decoded, other):
    output = interrupted(birds, tmp_path / "again", after=20)
    decoded.clear()
    assert build(birds, output, **other) == build(birds, tmp_path / "fresh", **other)
    assert len(decoded) == 80
    assert not (output / ".unfinished").exists()


def test_corrupt_images_cost_their_chunks_and_no_more(birds, tmp_path, decoded):
    corrupt = birds / "train/owl/05.png"
    content = corrupt.read_bytes()
    corrupt.write_bytes(b"no image")
    look(birds, birds.parent / "data/raw.json")
    with pytest.raises(UserError, match=r"train/owl/05\.png: not a whole jpg, png or webp image; replace or remove"):
        build(birds, tmp_path / "again")
    corrupt.write_bytes(content)
    look(birds, birds.parent / "data/raw.json")
    decoded.clear()
    build(birds, tmp_path / "again")
    assert len(decoded) == 4


def test_progress_says_how_many_and_how_fast_and_what_was_there(birds, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "SAY_SECONDS", 0)
    output = interrupted(birds, tmp_path / "again", after=20)
    with caplog.at_level("INFO", LOG.name):
        build(birds, output)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("birds: 8 of 40 images, ") and line.endswith("0:00 left") for line in lines)
    assert lines[-1].endswith(" images/s, 20 of them there from an interrupted run")


def test_process_that_is_killed_is_told_with_the_way_out():
    with pytest.raises(UserError, match="was killed, most likely for want of memory; run the same command again"):
        list(writing._done([(partial(os._exit, 1), None)] * 3, processes=2))


def test_several_processes_give_way_to_all_other_work():
    assert {nice for nice, _ in writing._done([(partial(os.nice, 0), None)] * 3, processes=2)} == {19}


def test_few_chunks_are_handed_out_ahead_of_the_work():
    asked = []
    calls = ((partial(int, asked.append(number) or 1), number) for number in range(50))
    for done, _ in enumerate(writing._done(calls, processes=2), start=1):
        assert len(asked) <= done + 2 * 2
