"""Prepared datasets are opened, and damaged ones are refused."""

import json
import mmap
from pathlib import Path

import numpy as np
import pytest

from deepnets.data import arrays as prepared_files
from deepnets.data.arrays import open_dataset
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """dataset.json of eight images of 2x2 pixels, three channels, two classes, in either split."""
    arrays = {}
    for split in ("train", "test"):
        images = np.arange(96, dtype=np.uint8).reshape(8, 2, 2, 3)
        for kind, array in (("images", images), ("labels", np.arange(8) % 2)):
            file = tmp_path / f"{split}_{kind}.npy"
            np.save(file, array)
            arrays[file.name] = {"sha256": sha256_file(file), "shape": list(array.shape), "dtype": str(array.dtype)}
    info = {"dataset": "tiny", "arrays": arrays, "classes": ["a", "b"], "input_shape": [3, 2, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps(info | {"mean": [0.5] * 3, "std": [0.2] * 3}))
    return tmp_path / "dataset.json"


def test_images_are_mapped_read_only_and_labels_loaded(prepared):
    images, labels, info = open_dataset(prepared, "train")
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    assert (images.shape, images.dtype) == ((8, 2, 2, 3), np.uint8)
    assert labels.tolist() == [0, 1] * 4
    assert info["classes"] == ["a", "b"]


def damage_missing(file: Path) -> None:
    file.unlink()


def damage_truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def damage_empty(file: Path) -> None:
    file.write_bytes(b"")


def damage_text(file: Path) -> None:
    file.write_text("not an array")


def damage_shape(file: Path) -> None:
    np.save(file, np.load(file)[1:])


def damage_dtype(file: Path) -> None:
    np.save(file, np.load(file).astype(np.int32))


def damage_pickle(file: Path) -> None:
    np.save(file, np.array([{}] * 8), allow_pickle=True)


@pytest.mark.parametrize("kind", ["images", "labels"])
@pytest.mark.parametrize(
    "damage",
    [damage_missing, damage_truncated, damage_empty, damage_text, damage_shape, damage_dtype, damage_pickle],
)
def test_damaged_array_is_named_with_what_to_do(prepared, kind, damage):
    file = prepared.parent / f"test_{kind}.npy"
    damage(file)
    with pytest.raises(UserError) as error:
        open_dataset(prepared, "test")
    assert str(error.value).startswith(f"{file}: damaged")
    assert f"delete {prepared} " in str(error.value)
    open_dataset(prepared, "train")


@pytest.mark.parametrize("label", [-1, 2])
def test_label_without_a_class_is_damage(prepared, label):
    np.save(prepared.parent / "train_labels.npy", np.array([0, 1, 0, 1, 0, 1, 0, label]))
    with pytest.raises(UserError, match=r"train_labels\.npy: damaged"):
        open_dataset(prepared, "train")


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_flipped_bit_is_found(prepared, kind):
    flip_bit(prepared.parent / f"train_{kind}.npy")
    with pytest.raises(UserError, match=rf"train_{kind}\.npy: damaged.*SHA-256"):
        open_dataset(prepared, "train")


def test_huge_array_is_not_hashed_when_it_is_opened(prepared, monkeypatch):
    monkeypatch.setattr("deepnets.data.arrays.HASHED_UP_TO", 200)
    flip_bit(prepared.parent / "train_images.npy")  # 128 bytes of header, 96 of images
    open_dataset(prepared, "train")


DEEP, LONG = pytest.param("[" * 100_000, id="deep"), pytest.param("1" * 5000, id="a number of 5,000 digits")


@pytest.mark.parametrize("content", ["[]", "{}", "null", "{", DEEP, LONG])
def test_damaged_description_is_named(prepared, content):
    prepared.write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json: damaged.*delete it"):
        open_dataset(prepared, "train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("classes", value) for value in (5, "ab", None, [1, 2], {"a": 0})],
        *[("input_shape", value) for value in (5, [3, 2], [3, 0, 2], [3.0, 2, 2], [1, 2, 2], [3, 2, 4])],
        *[("mean", value) for value in (0.5, ["0.5"] * 3, [0.5], [float("nan")] * 3)],
        *[("std", value) for value in (0.2, [0.2, 0, 0.2], [0.2], [float("inf")] * 3)],
        *[("validation_rows", value) for value in (6, None, [], [6], [6, 9], [0, 8], [8, 8], [6.0, 8], ["6", "8"])],
        *[("arrays", value) for value in (5, [], {}, {"train_images.npy": 5}, {"train_images.npy": {"shape": 8}})],
        ("dataset", 5),
    ],
)
def test_value_that_cannot_be_is_named_with_its_key(prepared, key, value):
    content = json.loads(prepared.read_text())
    prepared.write_text(json.dumps(content | {key: value}))
    with pytest.raises(UserError) as error:
        open_dataset(prepared, "train")
    message = str(error.value)
    assert message.startswith(f"{prepared}: damaged ({key}")
    assert message.endswith("; delete it.")
    assert "\n" not in message
    if key != "arrays" and value != {"a": 0} and not isinstance(value, list):
        assert message.endswith(f", got {value!r}); delete it.")


def test_rows_of_a_validation_split_are_read(prepared):
    content = json.loads(prepared.read_text())
    prepared.write_text(json.dumps(content | {"validation_rows": [6, 8]}))
    assert open_dataset(prepared, "train")[2]["validation_rows"] == [6, 8]
    assert len(open_dataset(prepared, "test")[0]) == 8


# -- images on the disk


@pytest.fixture
def on_disk(tmp_path) -> np.memmap:
    """Images of 60x60x3, more than two pages each, of which none starts with a page."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(256, size=(50, 60, 60, 3), dtype=np.uint8))
    return np.load(path, mmap_mode="r")


def test_pages_to_be_read_hold_the_whole_image_and_no_further_page(on_disk):
    rows = np.array([49, 0, 7, 8])
    content = Path(on_disk.filename).read_bytes()
    for row, (start, length) in zip(rows, prepared_files._pages(on_disk, rows), strict=True):
        assert start % mmap.PAGESIZE == 0
        assert on_disk[row].tobytes() in content[start : start + length]
        assert length < on_disk[row].nbytes + mmap.PAGESIZE


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says how a file is mapped")
def test_images_are_read_one_by_one_or_in_order(on_disk):
    def flags() -> set[str]:
        mapped = Path("/proc/self/smaps").read_text().split(str(on_disk.filename))[1]
        return {"rr", "sr"} & set(mapped.partition("VmFlags:")[2].partition("\n")[0].split())

    assert flags() == set()
    prepared_files.read_at_random(on_disk)
    assert flags() == {"rr"}
    prepared_files.read_in_order(on_disk)
    assert flags() == {"sr"}


def test_reading_ahead_changes_nothing_but_where_the_images_are(on_disk):
    before = on_disk.copy()
    prepared_files.read_ahead(on_disk, np.array([3, 49]))
    assert np.array_equal(on_disk, before)
