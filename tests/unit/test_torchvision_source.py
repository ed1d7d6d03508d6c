"""The datasets of torchvision, from tiny files in their formats."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from tiny_dataset import assert_nothing_prepared, build, prepare_again

from deepnets.data import raw_files
from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.download import download
from deepnets.data.prepare import prepare
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.paths import SPLITS

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
    for split in SPLITS:
        file = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(file, {"X": images, "y": np.arange(1, 11, dtype=np.uint8)[:, np.newaxis]})
        split_list[split] = ["https://example.invalid", file.name, md5(file)]
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
    options = datasets.source("torchvision").Options(source="torchvision", name="CIFAR10")
    listed = raw_files.manifest("tiny", raw, [official.filename])
    write_json(raw.parent / "raw.json", {"spec": options.raw_spec(), **listed})
    with pytest.raises(UserError, match="wrong hash"):
        prepare_again(tmp_path, options)
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
    download("mnist", options.raw_spec(), None, output / "raw.json")
    prepare("mnist", options.prepared_spec(), output / "raw.json", output / "dataset.json")
    images, labels, info = open_dataset(output / "dataset.json", "train")
    assert images.shape == (60_000, 28, 28, 1)
    header = struct.pack(">HBB3i", 0, 8, 3, *images.shape[:3])
    assert hashlib.md5(header + images.tobytes()).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"  # the official file
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert round(info["mean"][0], 4) == 0.1307  # the constants of every MNIST example
    assert round(info["std"][0], 4) == 0.3081
    assert info["splits"] == {"train": 60_000, "test": 10_000}
