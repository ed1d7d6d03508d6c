"""What config.yaml may say of a dataset, and how prepared datasets are read."""

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from deepnets.data import arrays as prepared_files
from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import split_train_validation
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file


def options(source: str, **keys) -> datasets.DatasetOptions:
    return datasets.source(source).Options(source=source, **keys)


# -- options


def test_every_source_offers_what_the_stages_call():
    for name in datasets.available():
        module = datasets.source(name)
        assert issubclass(module.Options, datasets.DatasetOptions)
        assert callable(module.download)
        assert callable(module.read)


def test_options_are_checked_without_heavy_imports():
    heavy = "{'torch', 'torchvision', 'sklearn', 'scipy', 'PIL', 'requests', 'tqdm'}"
    sources = "from deepnets.data import sources as datasets; [datasets.source(name) for name in datasets.available()]"
    code = f"import sys; {sources}; assert not {heavy} & sys.modules.keys()"
    scripts = Path(datasets.__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(scripts)}, check=True)


def test_unknown_source_names_the_nearest():
    with pytest.raises(UserError, match="unknown source 'torchvison'; did you mean 'torchvision'"):
        datasets.source("torchvison")


@pytest.mark.parametrize(
    ("name", "shape", "classes", "flips"),
    [
        ("MNIST", (1, 28, 28), 10, False),
        ("FashionMNIST", (1, 28, 28), 10, True),
        ("KMNIST", (1, 28, 28), 10, False),
        ("CIFAR10", (3, 32, 32), 10, True),
        ("CIFAR100", (3, 32, 32), 100, True),
        ("SVHN", (3, 32, 32), 10, False),
    ],
)
def test_torchvision_datasets_have_their_own_shape_classes_and_flips(name, shape, classes, flips):
    dataset = options("torchvision", name=name)
    assert (dataset.input_shape, dataset.num_classes, dataset.flips) == (shape, classes, flips)


def test_size_channels_and_flips_can_be_chosen():
    dataset = options("sklearn_digits", size=32, channels=3, horizontal_flip=True)
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.flips is True


def test_specs_resolve_defaults_and_build_on_each_other():
    dataset = options("torchvision", name="CIFAR10")
    assert dataset.raw_spec() == {"source": "torchvision", "name": "CIFAR10"}
    assert dataset.prepared_spec() == {**dataset.raw_spec(), "size": 32, "channels": 3}
    assert dataset.spec() == {**dataset.prepared_spec(), "horizontal_flip": True}


def test_spec_is_the_same_for_a_default_and_for_its_value():
    assert options("torchvision", name="MNIST").spec() == options("torchvision", name="MNIST", size=28).spec()


@pytest.mark.parametrize("mirror", ["http://example.org/data", "ftp://example.org", "file:///data"])
def test_mirror_that_is_not_secure_is_refused(mirror):
    with pytest.raises(ValidationError, match="must be a folder or an https:// address"):
        options("sklearn_digits", mirror=mirror)


@pytest.mark.parametrize("key", ["mirror", "variant_of", "note"])
def test_what_does_not_identify_the_data_is_not_in_the_spec(key):
    assert options("sklearn_digits", **{key: "text"}).spec() == options("sklearn_digits").spec()


def test_own_images_are_told_from_those_that_can_be_downloaded():
    birds = {"path": "birds.zip", "classes": 3, "size": 64}
    assert options("folder", **birds, mirror="/media/stick").own_files == "birds.zip"
    assert options("folder", **birds, mirror="https://example.org", sha256="0" * 64).own_files is None
    assert options("torchvision", name="MNIST").own_files is None


def test_size_of_a_folder_is_not_in_its_raw_spec():
    small, large = (options("folder", path="birds", classes=3, size=size) for size in (32, 64))
    assert small.raw_spec() == large.raw_spec() == {"source": "folder", "path": "birds"}
    assert small.prepared_spec() != large.prepared_spec()


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("sklearn_digits", {}),
        ("torchvision", {"name": "SVHN", "channels": 1}),
        ("folder", {"path": "birds.zip", "classes": 3, "size": 64, "sha256": "0" * 64}),
    ],
)
def test_options_come_back_from_their_specs(source, keys):
    dataset = options(source, **keys)
    for spec in (dataset.prepared_spec(), dataset.spec()):
        assert datasets.parse_spec(json.loads(json.dumps(spec))).spec() == dataset.spec()


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("folder", {"path": "birds", "classes": 3}),  # no size
        ("folder", {"path": "birds", "classes": 1, "size": 32}),
        ("folder", {"path": "", "classes": 3, "size": 32}),
        ("folder", {"path": "birds", "classes": 3, "size": 32, "sha256": "abc"}),
        ("torchvision", {"name": "ImageNet"}),
        ("torchvision", {"name": "MNIST", "channels": 2}),
        ("sklearn_digits", {"size": 0}),
        ("sklearn_digits", {"horizontal_flip": "no"}),
    ],
)
def test_impossible_options_are_refused(source, keys):
    with pytest.raises(ValidationError):
        options(source, **keys)


# -- the state of people's own images


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    for name in ("train/owl/1.png", "train/owl/2.png", "test/owl/1.png"):
        (tmp_path / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "birds" / name).write_bytes(b"image")
    return tmp_path / "birds"


def state(path: Path | str, **keys) -> str | None:
    return options("folder", path=str(path), classes=2, size=8, **keys).local_state("birds")


CHANGES = {
    "an image more": lambda folder: (folder / "train/owl/3.png").touch(),
    "an image less": lambda folder: (folder / "train/owl/2.png").unlink(),
    "an image replaced": lambda folder: (folder / "test/owl/1.png").write_bytes(b"another image"),
    "an image renamed": lambda folder: (folder / "train/owl/2.png").rename(folder / "train/owl/3.png"),
    "an empty class": lambda folder: (folder / "train/wren").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_state_of_a_folder_changes_with_its_images(birds, change):
    before = state(birds)
    change(birds)
    assert before != state(birds) is not None


NO_CHANGES = {
    "touched": lambda folder: os.utime(folder / "train/owl/1.png", (0, 0)),
    "an image replaced by one of its size, which README says": lambda folder: (folder / "test/owl/1.png").write_bytes(
        b"egami"
    ),
    "a file that a desktop leaves": lambda folder: (folder / "train/owl/.DS_Store").touch(),
    "a file beside the parts": lambda folder: (folder / "README.txt").touch(),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_state_of_a_folder_changes_with_nothing_else(birds, change):
    before = state(birds)
    change(birds)
    assert before == state(birds) is not None


@pytest.mark.parametrize("place", [0, 99_999, 150_000])
def test_state_of_an_archive_changes_with_its_size_start_and_end(tmp_path, place):
    archive = tmp_path / "birds.zip"
    archive.write_bytes(bytes(100_000))
    before = state(archive)
    os.utime(archive, (0, 0))
    assert state(archive) == before
    with open(archive, "r+b") as file:
        file.seek(place)
        file.write(b"x")
    assert before != state(archive) is not None


def test_state_is_of_the_images_and_not_of_their_place(birds, monkeypatch):
    before = state(birds)
    monkeypatch.setenv("DEEPNETS_MIRROR", str(birds.parent / "mirror"))
    birds.parent.joinpath("mirror").mkdir()
    birds.rename(birds.parent / "mirror" / "birds")
    assert state("birds") == before


@pytest.mark.parametrize("path", ["missing", "~nobody/missing", "broken"])
def test_state_of_what_cannot_be_read_is_left_to_the_download(birds, monkeypatch, path):
    monkeypatch.chdir(birds.parent)
    (birds / "train/owl/link.png").symlink_to("nowhere")
    birds.rename("broken")
    assert state(path) is None


def test_state_is_left_out_where_the_spec_has_the_hash(tmp_path):
    (tmp_path / "birds.zip").touch()
    assert state(tmp_path / "birds.zip", sha256="0" * 64) is None
    assert options("sklearn_digits").local_state("digits") is None


def test_state_is_taken_without_heavy_imports(birds):
    heavy = "{'torch', 'sklearn', 'PIL', 'requests', 'tqdm'}"
    made = f"folder.Options(source='folder', path={str(birds)!r}, classes=2, size=8)"
    taken = f"from deepnets.data.sources import folder; assert {made}.local_state('birds')"
    code = f"import sys; {taken}; assert not {heavy} & sys.modules.keys()"
    scripts = Path(datasets.__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(scripts)}, check=True)


# -- reading


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """dataset.json of eight images of 2x2 pixels, three channels, two classes, in either part."""
    arrays = {}
    for part in ("train", "test"):
        images = np.arange(96, dtype=np.uint8).reshape(8, 2, 2, 3)
        for kind, array in (("images", images), ("labels", np.arange(8) % 2)):
            file = tmp_path / f"{part}_{kind}.npy"
            np.save(file, array)
            arrays[file.name] = {"sha256": sha256_file(file), "shape": list(array.shape), "dtype": str(array.dtype)}
    info = {"dataset": "tiny", "arrays": arrays, "classes": ["a", "b"], "mean": [0.5] * 3, "std": [0.2] * 3}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
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
def test_damaged_array_is_named_with_the_way_out(prepared, kind, damage):
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


def test_huge_array_is_not_read_whole_to_be_hashed(prepared, monkeypatch):
    monkeypatch.setattr("deepnets.data.arrays.HASHED_UP_TO", 200)
    flip_bit(prepared.parent / "train_images.npy")  # 128 bytes of header, 96 of images
    open_dataset(prepared, "train")


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"arrays": {}, "classes": [], "mean": [], "std": []}', "{"])
def test_damaged_description_is_named(prepared, content):
    prepared.write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json: damaged.*delete it"):
        open_dataset(prepared, "train")


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


# -- the validation split


INFO = {"dataset": "birds", "classes": ["owl", "wren"]}


def test_split_is_stratified_disjoint_complete_and_sorted():
    labels = np.repeat([0, 1, 2], [100, 200, 300])
    train, validation = split_train_validation(labels, 0.1, 0, INFO)
    assert np.bincount(labels[validation]).tolist() == [10, 20, 30]
    assert sorted([*train, *validation]) == list(range(600))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert train.dtype == validation.dtype == np.int64


def test_split_depends_on_the_seed_alone():
    labels = np.arange(100) % 4
    first, again, other = (split_train_validation(labels, 0.2, seed, INFO)[1] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_class_with_one_image_cannot_be_split():
    with pytest.raises(UserError, match=r"datasets\.birds: class 'wren' has one training image"):
        split_train_validation(np.array([0, 0, 0, 1]), 0.5, 0, INFO)


def test_validation_part_smaller_than_the_classes_is_refused():
    with pytest.raises(
        UserError, match=r"datasets\.birds: .*0\.1 cannot .* 20 training images.*recipe's `validation_fraction`"
    ):
        split_train_validation(np.arange(20) % 10, 0.1, 0, INFO)
