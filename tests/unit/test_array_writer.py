"""Images become the same bytes with any number of processes, and after any kill."""

import os
import re
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

from deepnets.data import array_writer, image_files, image_source, progress
from deepnets.data import sources as datasets
from deepnets.data.decode import DecodedImage
from deepnets.data.download import download
from deepnets.data.image_source import DecodeTask, ImageSource
from deepnets.data.prepare import prepare
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG

IMAGES = {"train": 14, "test": 6}  # of each class


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Ten blocks in a small dataset."""
    monkeypatch.setattr(image_source, "BLOCK_IMAGES", 4)


@pytest.fixture
def birds(tmp_path) -> Path:
    """A folder of images, and its raw.json in tmp_path/data/birds."""
    rng = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for name in ("owl", "wren"):
            (tmp_path / "birds" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(256, size=(6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "birds" / split / name / f"{index:02}.png", compress_level=0)
    list_files(tmp_path / "birds", tmp_path / "data/birds/raw.json")
    return tmp_path / "birds"


def options(birds: Path, size: int = 5) -> datasets.DatasetOptions:
    return datasets.source("folder").Options(source="folder", path=str(birds), classes=2, size=size)


def list_files(birds: Path, raw: Path) -> None:
    download("birds", options(birds).raw_spec(), None, raw)


def build(birds: Path, output: Path, processes: int = 1, size: int = 5, code: str = "a") -> dict[str, bytes]:
    """Prepare the arrays in `output`; return the bytes of each array and of dataset.json by name."""
    raw = birds.parent / "data/birds/raw.json"
    prepare("birds", options(birds, size).prepared_spec(), raw, output / "dataset.json", processes, code)
    return {
        path.name: path.read_bytes() for path in output.iterdir() if path.suffix == ".npy" or path.stem == "dataset"
    }


@pytest.fixture
def undisturbed(birds, tmp_path) -> dict[str, bytes]:
    return build(birds, tmp_path / "undisturbed")


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The contents of all image files that this process decodes from here on."""
    contents, original = [], image_files.decode
    monkeypatch.setattr(
        image_files, "decode", lambda content, *shape: [contents.append(content), original(content, *shape)][1]
    )
    return contents


def stop_after(monkeypatch, count: int) -> None:
    """End the process, as far as a test can be ended, when this many images are decoded."""
    left, original = [count], image_files.decode

    def decode_or_stop(content, *shape):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(content, *shape)

    monkeypatch.setattr(image_files, "decode", decode_or_stop)


def interrupted(birds: Path, output: Path, after: int) -> Path:
    """The folder of a run that was stopped after this many images."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(monkeypatch, after)
        with pytest.raises(KeyboardInterrupt):
            build(birds, output)
    return output


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(birds, undisturbed, tmp_path, processes):
    assert build(birds, tmp_path / "several", processes) == undisturbed


@pytest.mark.parametrize("after", [0, 3, 4, 17, 39])
def test_a_run_stopped_anywhere_resumes_to_the_same_bytes(birds, undisturbed, tmp_path, decoded, after):
    output = interrupted(birds, tmp_path / "again", after)
    assert not (output / "dataset.json").exists()
    decoded.clear()
    assert build(birds, output) == undisturbed
    assert len(decoded) == 40 - after // 4 * 4  # whole blocks are not decoded again
    assert not (output / ".unfinished").exists()


def test_a_killed_run_leaves_no_process_behind_and_resumes_to_the_same_bytes(birds, undisturbed, tmp_path, root):
    output = birds.parent / "data/birds"
    code = (
        "import time, sys; from deepnets.data import image_source; image_source.BLOCK_IMAGES = 4\n"
        "from deepnets.data import image_files; size_and_time = image_files._size_and_time\n"
        "image_files._size_and_time = lambda *image: [time.sleep(0.1), size_and_time(*image)][1]\n"  # time for a kill
        "import prepare; prepare.main(sys.argv[1:])"
    )
    write_json(tmp_path / "job.json", {"spec": options(birds).prepared_spec(), "code": {}})
    arguments = ["birds", "--job", tmp_path / "job.json", "--root", birds.parent, "--processes", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, env=environment) as process:
        while not list(output.glob(".unfinished/*/[!.]*.npz")):
            assert process.poll() is None
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert not (output / "dataset.json").exists()
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert build(birds, output) == undisturbed


def test_changed_image_is_not_taken_from_an_old_shard(birds, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=8)
    image = birds / "train/owl/01.png"
    status, content = image.stat(), bytearray(image.read_bytes())
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(image, compress_level=0)
    assert image.stat().st_size == len(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # even where its time is the old one
    list_files(birds, birds.parent / "data/birds/raw.json")
    assert build(birds, output) == build(birds, tmp_path / "fresh")


def test_image_that_changed_after_the_download_is_named_even_where_its_shard_is_there(birds, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=8)
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(birds / "train/owl/01.png", compress_level=0)
    with pytest.raises(UserError, match=r"train/owl/01\.png: not the file that .*raw\.json lists; delete"):
        build(birds, output)


def flip_bit(content: bytes) -> bytes:
    return content[:300] + bytes([content[300] ^ 1]) + content[301:]


@pytest.mark.parametrize(
    "damage",
    [flip_bit, lambda content: content[:-9], lambda content: b""],
    ids=["bit", "end", "all"],
)
def test_damaged_shard_costs_its_block_and_no_more(birds, undisturbed, tmp_path, decoded, damage):
    output = interrupted(birds, tmp_path / "again", after=20)
    shard = min(output.glob(".unfinished/*/*.npz"))
    shard.write_bytes(damage(shard.read_bytes()))
    decoded.clear()
    assert build(birds, output) == undisturbed
    assert len(decoded) == 40 - 20 + 4


def test_unfinished_shards_of_a_killed_run_are_removed(birds, undisturbed, tmp_path):
    output = interrupted(birds, tmp_path / "again", after=20)
    (folder,) = output.glob(".unfinished/*")
    (folder / ".0123.deepnets-abcdefgh.npz").touch()
    interrupted(birds, output, after=0)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("other", [{"size": 6}, {"code": "b"}])
def test_shards_of_other_settings_or_code_are_removed_unread(birds, tmp_path, decoded, other):
    output = interrupted(birds, tmp_path / "again", after=20)
    decoded.clear()
    assert build(birds, output, **other) == build(birds, tmp_path / "fresh", **other)
    assert len(decoded) == 80
    assert not (output / ".unfinished").exists()


def test_corrupt_images_cost_their_blocks_and_no_more(birds, tmp_path, decoded):
    corrupt = birds / "train/owl/05.png"
    content = corrupt.read_bytes()
    corrupt.write_bytes(b"no image")
    list_files(birds, birds.parent / "data/birds/raw.json")
    with pytest.raises(UserError, match=r"train/owl/05\.png: not a whole JPEG, PNG, .* replace or remove it\.$"):
        build(birds, tmp_path / "again")
    corrupt.write_bytes(content)
    list_files(birds, birds.parent / "data/birds/raw.json")
    decoded.clear()
    build(birds, tmp_path / "again")
    assert len(decoded) == 4


def test_progress_names_count_rate_time_left_and_what_was_kept(birds, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    output = interrupted(birds, tmp_path / "again", after=20)
    with caplog.at_level("INFO", LOG.name):
        build(birds, output)
    lines = [record.getMessage() for record in caplog.records]
    kept = "20 kept from an interrupted run"
    assert any(re.fullmatch(rf"birds: 24 of 40 images, [\d.]+ images/s, 00:\d\d left, {kept}", line) for line in lines)
    assert any(re.fullmatch(rf"birds: 40 of 40 images, [\d.]+ images/s, {kept}", line) for line in lines)


def one_task_each(count: int, decode_image, waiting=lambda: None) -> ImageSource:
    """A source of `count` training images, in as many tasks."""

    def tasks():
        for index in range(count):
            waiting()
            yield DecodeTask([("train", index)], partial(decode_image, index), index)

    return ImageSource(["a"], {"train": np.zeros(count, np.int64)}, tasks(), (1, 2, 2))


def black(index: int) -> list[DecodedImage]:
    return [DecodedImage(np.zeros((2, 2, 1), np.uint8), None)]


def end_process(index: int) -> list[DecodedImage]:
    os._exit(1)


def report_priority(index: int) -> list[DecodedImage]:
    return [DecodedImage(np.full((2, 2, 1), os.nice(0), np.uint8), None)]


def test_killed_process_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"was killed, most likely because memory ran out; give fewer --processes"):
        array_writer.write_images("birds", one_task_each(9, end_process), (1, 2, 2), tmp_path, processes=2)


def test_several_processes_give_way_to_all_other_work(tmp_path):
    array_writer.write_images("birds", one_task_each(9, report_priority), (1, 2, 2), tmp_path, processes=2)
    assert (np.load(tmp_path / "train_images.npy") == 19).all()


def test_few_blocks_are_handed_out_ahead_of_the_work(tmp_path):
    ahead = []
    source = one_task_each(50, black, lambda: ahead.append(len(ahead) - len(list(tmp_path.glob("[!.]*.npz")))))
    array_writer.write_images("birds", source, (1, 2, 2), tmp_path, processes=2)
    assert len(ahead) == 50
    assert max(ahead) <= 2 * 2


def test_images_in_any_order_get_to_their_place(tmp_path):
    order = np.random.default_rng(0).permutation(12)
    positions = [(("train", "test")[index % 2], int(index // 2)) for index in order]
    tasks = [
        DecodeTask(positions[start : start + 4], partial(grays, order[start : start + 4]), start) for start in (0, 4, 8)
    ]
    labels = {split: np.zeros(6, np.int64) for split in ("train", "test")}
    source = ImageSource(["a"], labels, iter(tasks), (1, 1, 1))
    intensities = array_writer.write_images("birds", source, (1, 1, 1), tmp_path, 1)
    assert np.load(tmp_path / "train_images.npy").ravel().tolist() == [0, 2, 4, 6, 8, 10]
    assert np.load(tmp_path / "test_images.npy").ravel().tolist() == [1, 3, 5, 7, 9, 11]
    assert np.flatnonzero(intensities[0]).tolist() == [0, 2, 4, 6, 8, 10]  # of the training images only


def grays(values: np.ndarray) -> list[DecodedImage]:
    return [DecodedImage(np.full((1, 1, 1), value, np.uint8), None) for value in values]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_names_the_file(tmp_path):
    (tmp_path / "train_images.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as error:
        array_writer.write_images("birds", one_task_each(3, black), (1, 2, 2), tmp_path, processes=1)
    assert error.value.filename == str(tmp_path / "train_images.npy")
