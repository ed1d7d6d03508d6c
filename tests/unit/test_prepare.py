"""From raw files to arrays: every source, on tiny files, and everything that can be wrong with people's own images."""

import errno
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from sklearn.datasets import load_digits

import download
import prepare
from deepnets.data import decode as image_files
from deepnets.data import prepare as prepare_stage
from deepnets.data import raw_files
from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.sources import SPLITS
from deepnets.data.sources import folder as folder_source
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file, write_json


def build(tmp_path: Path, source: str, mirror: Path | None = None, **keys) -> Path:
    """Download and prepare a dataset in tmp_path/data; return its dataset.json."""
    options = datasets.source(source).Options(source=source, **keys)
    output = tmp_path / "data" / "tiny"
    mirror_arguments = ["--mirror", str(mirror)] if mirror else []
    job = json.dumps({"spec": options.raw_spec()})
    download.main(["--dataset", "tiny", "--job", job, "--output", str(output / "raw.json"), *mirror_arguments])
    return prepare_again(tmp_path, options)


def prepare_again(tmp_path: Path, options: datasets.DatasetOptions) -> Path:
    output = tmp_path / "data" / "tiny"
    job = json.dumps({"spec": options.prepared_spec()})
    arguments = ["--raw", str(output / "raw.json"), "--output", str(output / "dataset.json"), "--processes", "2"]
    prepare.main(["--dataset", "tiny", "--job", job, *arguments])
    return output / "dataset.json"


def assert_nothing_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    kept = {"raw", "raw.json", ".download.sha256", ".unfinished", ".prepare.lock"}
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= kept


# -- scikit-learn's digits


def test_digits_are_prepared_whole(tmp_path):
    dataset = build(tmp_path, "sklearn_digits")
    (train, train_labels, info), (test, test_labels, _) = (open_dataset(dataset, part) for part in SPLITS)
    assert info["splits"] == {"train": 1437, "test": 360}
    assert info["input_shape"] == [1, 8, 8]
    assert info["classes"] == list("0123456789")
    assert sorted([*train_labels, *test_labels]) == sorted(load_digits().target)
    assert np.bincount(test_labels).min() >= 34
    assert np.concatenate([train, test]).max() == 255


def test_digits_keep_their_sixteen_steps(tmp_path):
    images, _, _ = open_dataset(build(tmp_path, "sklearn_digits"), "train")
    assert np.unique(images).tolist() == [round(step * 255 / 16) for step in range(17)]  # 127.5 rounds to 128


def test_digits_are_resized_and_coloured_on_request(tmp_path):
    images, _, info = open_dataset(build(tmp_path, "sklearn_digits", size=12, channels=3), "test")
    assert images.shape == (360, 12, 12, 3)
    assert (images[..., 0] == images[..., 1]).all()
    assert info["input_shape"] == [3, 12, 12]


def test_mean_and_std_are_those_of_the_training_part(tmp_path):
    images, _, info = open_dataset(build(tmp_path, "sklearn_digits", channels=3), "train")
    pixels = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(info["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(info["std"], pixels.std(0), rtol=1e-12)


def test_two_runs_write_the_same_bytes(tmp_path):
    files = build(tmp_path / "1", "sklearn_digits").parent.iterdir()
    again = build(tmp_path / "2", "sklearn_digits").parent
    assert all((again / file.name).read_bytes() == file.read_bytes() for file in files if file.is_file())


def test_leftovers_of_a_killed_prepare_are_removed(tmp_path):
    leftover = tmp_path / "data" / "tiny" / ".train_images-x1y2z3.npy"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    build(tmp_path, "sklearn_digits")
    assert not leftover.exists()


def test_no_array_has_its_name_before_all_are_on_the_disk(tmp_path, monkeypatch):
    flushed = []

    def end_at_the_last(file: Path) -> None:
        flushed.append(file.name)
        if len(flushed) == 4:
            raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(prepare_stage, "flush", end_at_the_last)
    with pytest.raises(OSError, match="Input/output error"):
        build(tmp_path, "sklearn_digits")
    assert flushed == [f"{part}_{kind}.npy" for part in SPLITS for kind in ("images", "labels")]
    assert_nothing_prepared(tmp_path)


# -- torchvision's datasets, from tiny files in their formats


IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def torchvision_datasets():
    import torchvision.datasets

    return torchvision.datasets


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch, torchvision_datasets) -> dict[str, np.ndarray]:
    """Twenty training and ten test images in KMNIST's files, in the mirror that is set; arrays by file name."""
    arrays = {}
    for name in IDX_FILES:
        count = 20 if name.startswith("train") else 10
        array = random_images(count, 28, 28) if "images" in name else np.arange(count, dtype=np.uint8) % 10
        header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
        (tmp_path / name).write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
        arrays[name] = array
    monkeypatch.setattr(torchvision_datasets.KMNIST, "resources", [(name, md5(tmp_path / name)) for name in IDX_FILES])
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path))
    return arrays


def test_idx_files_become_arrays(tmp_path, tiny_mnist):
    dataset = build(tmp_path, "torchvision", name="KMNIST")
    images, labels, info = open_dataset(dataset, "test")
    assert np.array_equal(images[..., 0], tiny_mnist["t10k-images-idx3-ubyte.gz"])
    assert labels.tolist() == list(range(10))
    assert info["classes"] == ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    assert set(info["raw"]) == set(IDX_FILES)


def test_raw_file_that_changed_after_the_download_is_named(tmp_path, tiny_mnist):
    build(tmp_path, "torchvision", name="KMNIST")
    raw = tmp_path / "data" / "tiny" / "raw" / IDX_FILES[1]
    raw.write_bytes(b"changed")
    with pytest.raises(UserError, match=rf"{IDX_FILES[1]}: not the file that .*raw\.json lists; delete"):
        prepare_again(tmp_path, datasets.source("torchvision").Options(source="torchvision", name="KMNIST"))


def test_svhn_calls_its_class_ten_zero(tmp_path, monkeypatch, torchvision_datasets):
    images = random_images(32, 32, 3, 10)
    split_list = {}
    for part in SPLITS:
        file = tmp_path / f"{part}_32x32.mat"
        scipy.io.savemat(file, {"X": images, "y": np.arange(1, 11, dtype=np.uint8)[:, np.newaxis]})
        split_list[part] = ["https://example.invalid", file.name, md5(file)]
    monkeypatch.setattr(torchvision_datasets.SVHN, "split_list", split_list)
    read, labels, info = open_dataset(build(tmp_path, "torchvision", mirror=tmp_path, name="SVHN"), "train")
    assert np.array_equal(read[3], images[..., 3])
    assert labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert info["classes"] == list("0123456789")


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is what CIFAR's files hold."""

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}


class Python2Array:
    """Pickles as an array of bytes did in Python 2 with NumPy 1."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __reduce__(self):
        reconstruct, arguments, _ = self.array.__reduce__()
        return reconstruct, arguments, (1, self.array.shape, Python2Bytes(), False, self.array.tobytes())


class Python2Bytes:
    """Pickles as the type of that array."""

    def __reduce__(self):
        return np.dtype, (b"u1", 0, 1), (3, b"|", None, None, None, -1, -1, 0)


def python2_pickle(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2, fix_imports=True).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def write_cifar(path: Path, official: type, batch: bytes, names: list[bytes]) -> None:
    """An archive laid out as the official one, every batch the same."""
    files = dict.fromkeys([name for name, _ in official.train_list + official.test_list], batch)
    files[official.meta["filename"]] = python2_pickle({official.meta["key"].encode(): names})
    with tarfile.open(path / official.filename, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{official.base_folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(("name", "classes", "key"), [("CIFAR10", 10, b"labels"), ("CIFAR100", 100, b"fine_labels")])
def test_cifar_archives_become_arrays(tmp_path, monkeypatch, torchvision_datasets, name, classes, key):
    official = getattr(torchvision_datasets, name)
    images, labels = random_images(classes, 3072), list(range(classes))
    names = [f"class {i}".encode() for i in labels]
    write_cifar(tmp_path, official, python2_pickle({b"data": Python2Array(images), key: labels}), names)
    monkeypatch.setattr(official, "tgz_md5", md5(tmp_path / official.filename))
    read, read_labels, info = open_dataset(build(tmp_path, "torchvision", mirror=tmp_path, name=name), "test")
    assert np.array_equal(read, images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert read_labels.tolist() == labels
    assert info["classes"] == [name.decode() for name in names]
    assert info["splits"]["train"] == classes * len(official.train_list)


def test_pickle_with_the_wrong_hash_is_never_loaded(tmp_path, torchvision_datasets):
    write_cifar(tmp_path, torchvision_datasets.CIFAR10, pickle.dumps(Malicious(tmp_path / "harm")), [])
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz: wrong hash"):
        build(tmp_path, "torchvision", mirror=tmp_path, name="CIFAR10")
    assert not (tmp_path / "harm").exists()


def test_pickle_swapped_in_after_the_download_is_never_loaded(tmp_path, torchvision_datasets):
    official = torchvision_datasets.CIFAR10
    write_cifar(tmp_path, official, pickle.dumps(Malicious(tmp_path / "harm")), [])
    raw = tmp_path / "data" / "tiny" / "raw"
    raw.mkdir(parents=True)
    shutil.copy(tmp_path / official.filename, raw)
    # The list of the files agrees, but torchvision does not.
    write_json(raw.parent / "raw.json", raw_files.manifest("tiny", raw, [official.filename]))
    with pytest.raises(UserError, match="wrong hash"):
        prepare_again(tmp_path, datasets.source("torchvision").Options(source="torchvision", name="CIFAR10"))
    assert not (tmp_path / "harm").exists()


def test_pickle_with_the_right_hash_still_calls_nothing(tmp_path, monkeypatch, torchvision_datasets):
    official = torchvision_datasets.CIFAR10
    write_cifar(tmp_path, official, pickle.dumps(Malicious(tmp_path / "harm")), [])
    monkeypatch.setattr(official, "tgz_md5", md5(tmp_path / official.filename))
    with pytest.raises(UserError, match=r"Refused a pickle that asks for posix\.mkdir"):
        build(tmp_path, "torchvision", mirror=tmp_path, name="CIFAR10")
    assert not (tmp_path / "harm").exists()
    assert_nothing_prepared(tmp_path)


def test_real_mnist_has_its_published_mean_and_std(tmp_path, monkeypatch, root):
    shared = root.parent / "shared" / "data"
    if not (shared / "mnist").is_dir():
        pytest.skip("needs MNIST's files in ../shared/data/mnist")
    monkeypatch.setenv("DEEPNETS_MIRROR", str(shared))
    options = datasets.source("torchvision").Options(source="torchvision", name="MNIST")
    output = tmp_path / "data" / "mnist"
    job = ["--dataset", "mnist", "--job", json.dumps({"spec": options.prepared_spec()})]
    download.main([*job, "--output", str(output / "raw.json")])
    prepare.main([*job, "--raw", str(output / "raw.json"), "--output", str(output / "dataset.json")])
    images, labels, info = open_dataset(output / "dataset.json", "train")
    assert images.shape == (60_000, 28, 28, 1)
    header = struct.pack(">HBB3i", 0, 8, 3, *images.shape[:3])
    assert hashlib.md5(header + images.tobytes()).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"  # the official file
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert round(info["mean"][0], 4) == 0.1307  # the constants of every MNIST example
    assert round(info["std"][0], 4) == 0.3081
    assert info["splits"] == {"train": 60_000, "test": 10_000}


# -- people's own images


def image_file(color=(200, 100, 50), size=(6, 6), mode="RGB", format="PNG", **save) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, format, **save)
    return file.getvalue()


RED, GREEN = image_file((255, 0, 0)), image_file((0, 255, 0))
BIRDS = {
    "train/owl/1.png": RED,
    "train/owl/2.jpg": image_file(format="JPEG"),
    "train/wren/1.jpeg": image_file(format="JPEG"),
    "train/wren/2.webp": image_file(format="WEBP"),
    "test/owl/1.PNG": GREEN,
    "test/wren/1.png": RED,
}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def build_birds(tmp_path: Path, files: dict[str, bytes], archive: bool = False, **keys) -> Path:
    path = write_zip(tmp_path / "birds.zip", files) if archive else write_folder(tmp_path / "birds", files)
    return build(tmp_path, "folder", **{"path": str(path), "classes": 2, "size": 4, **keys})


def refusal(tmp_path: Path, files: dict[str, bytes], **keys) -> str:
    """The message with which these files are refused; nothing is left of an attempt."""
    with pytest.raises(UserError) as error:
        build_birds(tmp_path, files, **keys)
    assert_nothing_prepared(tmp_path)
    return str(error.value)


@pytest.mark.parametrize("archive", [False, True])
def test_own_images_are_prepared_by_class_then_name(tmp_path, archive):
    dataset = build_birds(tmp_path, dict(reversed(BIRDS.items())), archive)
    images, labels, info = open_dataset(dataset, "test")
    assert info["classes"] == ["owl", "wren"]
    assert labels.tolist() == [0, 1]
    assert images[:, 0, 0].tolist() == [[0, 255, 0], [255, 0, 0]]
    assert info["splits"] == {"train": 4, "test": 2}


def test_folder_and_archives_give_the_same_arrays(tmp_path):
    folder = write_folder(tmp_path / "birds", BIRDS)
    with tarfile.open(tmp_path / "birds.tar.xz", "w:xz") as packed:
        packed.add(folder, "birds")  # one folder deeper
    write_zip(tmp_path / "birds.zip", BIRDS)
    infos = []
    for name in ("birds", "birds.zip", "birds.tar.xz"):
        dataset = build(tmp_path / name[5:], "folder", path=str(tmp_path / name), classes=2, size=5)
        infos.append(json.loads(dataset.read_text())["arrays"])
    assert infos[0] == infos[1] == infos[2]


def test_dataset_json_of_a_folder_holds_the_hash_of_every_image(tmp_path):
    raw = json.loads(build_birds(tmp_path, BIRDS).read_text())["raw"]
    assert raw == {name: hashlib.sha256(content).hexdigest() for name, content in BIRDS.items()}


def test_folder_is_read_in_place(tmp_path):
    assert not (build_birds(tmp_path, BIRDS).parent / "raw").exists()


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_folder_that_changed_after_the_download_is_named(tmp_path, change):
    build_birds(tmp_path, BIRDS)
    name = "test/owl/0.png" if change == "added" else "test/owl/1.PNG"
    (tmp_path / "birds" / name).unlink() if change == "removed" else (tmp_path / "birds" / name).write_bytes(RED)
    if change == "removed":
        (tmp_path / "birds" / "test/owl/2.png").write_bytes(RED)  # so that the class is not empty
        name = "test/owl/"
    options = datasets.source("folder").Options(source="folder", path=str(tmp_path / "birds"), classes=2, size=4)
    with pytest.raises(UserError, match=rf"{name}.*not the file that .*raw\.json lists; delete"):
        prepare_again(tmp_path, options)


def test_hidden_files_and_what_lies_beside_the_parts_do_not_count(tmp_path):
    extra = [".DS_Store", "train/.hidden/1.png", "train/owl/Thumbs.db", "train/owl/.x", "README.txt", "val/owl/1.png"]
    dataset = build_birds(tmp_path, {**BIRDS, **dict.fromkeys(extra, b"junk")})
    assert json.loads(dataset.read_text())["splits"] == {"train": 4, "test": 2}


@pytest.mark.parametrize("name", ["猫", "a;touch x", "$(x)", "<script>", "|", "x" * 200, "👨‍👩‍👧", " "])
def test_class_may_have_any_printable_name(tmp_path, name):
    files = {**BIRDS, f"train/{name}/1.png": RED, f"test/{name}/1.png": RED}
    assert name in json.loads(build_birds(tmp_path, files, classes=3).read_text())["classes"]


def test_class_whose_name_is_composed_differently_is_one_class(tmp_path):
    files = {**BIRDS, "train/\u00e9/1.png": RED, "test/e\u0301/1.png": RED}
    assert "\u00e9" in json.loads(build_birds(tmp_path, files, classes=3).read_text())["classes"]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"train/emu/1.png": RED}, ["test/emu is missing"]),
        ({"test/emu/1.png": RED}, ["train/emu is missing"]),
        ({"train/owl/notes.txt": b""}, ["train/owl/notes.txt", ".jpg, .jpeg, .png, .webp"]),
        ({"train/owl/1.gif": b""}, ["train/owl/1.gif"]),
        ({"train/list.csv": b""}, ["train/list.csv", "train/<class>/<image>"]),
        ({"train/owl/more/1.png": RED}, ["train/owl/more/1.png", "train/<class>/<image>"]),
        ({"train/a\nb/1.png": RED}, [r"'train/a\nb/1.png'", "rename"]),
        ({"train/emu/1.png": RED, "train/list.csv": b""}, ["test/emu is missing", "train/list.csv"]),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_what_is_out_of_place_is_named(tmp_path, changes, fragments, archive):
    message = refusal(tmp_path, {**BIRDS, **changes}, archive=archive)
    assert all(fragment in message for fragment in fragments)
    assert all(str(tmp_path / "birds") in line for line in message.splitlines())


@pytest.mark.parametrize(
    "files", [{}, {"1.png": RED}, {"cats/1.png": RED}, {"a/train/x/1.png": RED, "b/test/x/1.png": RED}]
)
def test_folder_without_parts_is_refused(tmp_path, files):
    (tmp_path / "birds").mkdir()
    assert "expected train/<class>/<image> and test/<class>/<image>" in refusal(tmp_path, files)


def test_parts_without_classes_are_refused(tmp_path):
    (tmp_path / "birds" / "train").mkdir(parents=True)
    (tmp_path / "birds" / "test").mkdir()
    assert "expected train/<class>/<image> and test/<class>/<image>" in refusal(tmp_path, {})


def test_empty_class_is_named(tmp_path):
    (tmp_path / "birds" / "train" / "emu").mkdir(parents=True)
    message = refusal(tmp_path, {**BIRDS, "test/emu/1.png": RED})
    assert "train/emu has no images" in message


def test_number_of_classes_is_checked_with_the_right_number(tmp_path):
    assert "`classes: 2`" in refusal(tmp_path, BIRDS, classes=3)


def test_archive_that_leads_outside_is_refused(tmp_path):
    message = refusal(tmp_path, {**BIRDS, "train/owl/../../../../evil.png": RED}, archive=True)
    assert "has '..' in its name" in message
    assert not list(tmp_path.rglob("evil.png"))


def packed_badly(path: Path, damage: str) -> None:
    """An archive at `path` that has a fault which the download can see."""
    write_zip(path, {**BIRDS, **({"train/owl/notes.txt": b""} if damage == "layout" else {})})
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 9)


@pytest.mark.parametrize("damage", ["layout", "truncated"])
def test_archive_is_refused_at_the_download_and_taken_once_mended(tmp_path, damage):
    path = tmp_path / "birds.zip"
    packed_badly(path, damage)
    spec = {"source": "folder", "path": str(path)}
    command = [
        "--dataset",
        "tiny",
        "--job",
        json.dumps({"spec": spec}),
        "--output",
        str(tmp_path / "data/tiny/raw.json"),
    ]
    with pytest.raises(UserError, match=f"^{path}"):
        download.main(command)
    assert not [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert build_birds(tmp_path, BIRDS, archive=True).is_file()


def test_archive_with_damaged_content_is_named_with_the_file_to_delete(tmp_path):
    files = {**BIRDS, "train/owl/9.png": bytes(range(256))}
    path = write_zip(tmp_path / "birds.zip", files)
    path.write_bytes(path.read_bytes().replace(bytes(range(100, 200)), bytes(100)))  # its checksum is now another
    with pytest.raises(UserError) as error:
        build(tmp_path, "folder", path=str(path), classes=2, size=4)
    damage, last = str(error.value).splitlines()
    assert damage.startswith(f"{path}: a damaged archive")
    assert f"delete {tmp_path / 'data' / 'tiny' / 'raw.json'} and run" in last


def test_long_lists_of_problems_are_shortened(tmp_path):
    message = refusal(tmp_path, {**BIRDS, **{f"train/owl/{i}.txt": b"" for i in range(25)}})
    assert message.count("\n") == 20
    assert message.endswith("... and 5 more.")


@pytest.mark.parametrize("archive", [False, True])
def test_every_corrupt_image_is_named_with_its_class(tmp_path, archive):
    files = {**BIRDS, "train/owl/9.png": RED[:-30], "test/wren/8.jpg": b"no image", "test/wren/7.webp": b""}
    *lines, last = refusal(tmp_path, files, archive=archive).splitlines()
    assert len(lines) == 3
    assert not any("object at 0x" in line for line in lines)
    assert f"delete {tmp_path / 'data' / 'tiny' / 'raw.json'} and run the same command again" in last
    for name in ("train/owl/9.png", "test/wren/8.jpg", "test/wren/7.webp"):
        assert any(name in line and "not a whole jpg, png or webp" in line for line in lines)


def test_image_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    bombs = {"train/owl/bomb.png": image_file(size=(11, 11)), "train/owl/larger.png": image_file(size=(99, 99))}
    message = refusal(tmp_path, {**BIRDS, **bombs})
    assert "train/owl/bomb.png: more than 100 pixels" in message
    assert "train/owl/larger.png: more than 100 pixels" in message


def test_image_of_another_kind_under_a_known_name_is_refused(tmp_path):
    assert "train/owl/9.png" in refusal(tmp_path, {**BIRDS, "train/owl/9.png": image_file(format="BMP")})


def test_failed_prepare_keeps_nothing_of_an_earlier_one_out_of_step(tmp_path):
    before = open_dataset(build_birds(tmp_path, BIRDS), "train")[0].copy()
    with pytest.raises(UserError):
        build_birds(tmp_path, {**BIRDS, "train/owl/9.png": b""})
    assert np.array_equal(open_dataset(tmp_path / "data" / "tiny" / "dataset.json", "train")[0], before)


@pytest.mark.parametrize("path", ["missing", "missing.zip", "notes.txt"])
def test_path_that_cannot_be_read_is_named(tmp_path, path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"datasets\.tiny\.path is .*" + path):
        build(tmp_path, "folder", path=str(tmp_path / path), classes=2, size=4)
    assert_nothing_prepared(tmp_path)


def test_archive_that_is_nowhere_is_refused_with_every_place_searched_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "stick"))
    for folder in ("stick", "mirror"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match=r"DEEPNETS_MIRROR=<folder>, or `mirror:` of datasets\.tiny") as error:
        build(tmp_path, "folder", Path("mirror"), path="birds.zip", classes=2, size=4)
    places = ["birds.zip", *(f"{f}/{name}" for f in ("stick", "mirror") for name in ("tiny/birds.zip", "birds.zip"))]
    assert f"(searched: {', '.join(str(tmp_path / place) for place in places)})" in str(error.value)


def test_archive_of_known_hash_is_wanted_no_more_once_it_is_among_the_raw_files(tmp_path):
    """After `make clean`, which leaves raw files alone, the stick that had them may be gone."""
    archive = write_zip(tmp_path / "birds.zip", BIRDS)
    keys = {"path": str(archive), "classes": 2, "size": 4, "sha256": sha256_file(archive)}
    build(tmp_path, "folder", **keys)
    (tmp_path / "data/tiny/raw.json").unlink()
    archive.unlink()
    assert build(tmp_path, "folder", **keys).exists()


def test_hash_of_a_folder_is_refused(tmp_path):
    assert "sha256 is for archives" in refusal(tmp_path, BIRDS, sha256="0" * 64)


def test_unreadable_folder_is_one_line(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder_source.os, "scandir", denied)
    assert refusal(tmp_path, BIRDS).startswith(f"{tmp_path / 'birds'}: Permission denied")


@pytest.mark.parametrize("target", ["nowhere.png", "link.png"])
def test_link_that_leads_nowhere_is_named(tmp_path, target):
    write_folder(tmp_path / "birds", BIRDS)
    (tmp_path / "birds/train/owl/link.png").symlink_to(target)
    assert refusal(tmp_path, {}).startswith(f"{tmp_path / 'birds/train/owl/link.png'}: ")


def test_full_disk_while_writing_leaves_no_array(tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepnets.data.array_writer.open", FullDisk, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        build_birds(tmp_path, BIRDS)
    assert_nothing_prepared(tmp_path)


# -- single images


def test_larger_side_is_cut_equally_at_both_ends():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 255  # the centred square
    assert image_files.fit(Image.fromarray(pixels), 4, 3).min() == 255


def test_image_of_the_right_size_is_kept_to_the_bit():
    pixels = random_images(5, 5, 3)
    assert np.array_equal(image_files.fit(Image.fromarray(pixels), 5, 3), pixels)


def test_reduction_averages_rather_than_picks():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.ptp(image_files.fit(Image.fromarray(board), 8, 1).astype(int)) < 8


def test_orientation_is_respected():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0] = 255  # bright on top as stored
    exif = Image.Exif()
    exif[0x0112] = 3  # to be shown turned by 180 degrees
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    image = image_files.decode(file.getvalue(), 4, 1)
    assert image[3].min() == 255
    assert image[0].max() == 0


@pytest.mark.parametrize(
    ("file", "rgb"),
    [
        (image_file(128, mode="L"), (128, 128, 128)),
        (image_file(1, mode="1"), (255, 255, 255)),
        (image_file(128 * 257, mode="I;16"), (128, 128, 128)),
        (image_file((0, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (image_file((10, 20, 30, 255), mode="RGBA"), (10, 20, 30)),
        (image_file((40, 255), mode="LA"), (40, 40, 40)),
        (image_file((0, 0), mode="LA"), (255, 255, 255)),
        (image_file((10, 20, 30, 128), mode="RGBA", format="WEBP", lossless=True), (132, 137, 142)),
        (image_file(0, mode="P"), (0, 0, 0)),
        (image_file(0, mode="P", transparency=b"\0"), (255, 255, 255)),
        (image_file((0, 0, 0, 255), mode="CMYK", format="JPEG"), (0, 0, 0)),
    ],
    ids=[
        "gray",
        "bilevel",
        "16bit",
        "clear",
        "opaque",
        "grayalpha",
        "cleargray",
        "half",
        "palette",
        "clearpalette",
        "cmyk",
    ],
)
def test_every_kind_of_pixel_becomes_rgb(file, rgb):
    image = image_files.decode(file, 6, 3)
    assert image.shape == (6, 6, 3)
    assert np.abs(image.astype(int) - rgb).max() <= 1


def test_colour_becomes_luma():
    assert image_files.decode(image_file((255, 0, 0)), 6, 1).flatten().tolist() == [76] * 36  # 0.299 * 255
