"""The datasets that torchvision knows: MNIST and its relatives, CIFAR and SVHN, from their official files.

Addresses and hashes are torchvision's own. The files are parsed here, because torchvision's classes need them unpacked
in separate folders and unpickle CIFAR's batches without restriction.
"""

import gzip
import pickle
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from deepnets.data.sources import DatasetOptions
from deepnets.utils.errors import UserError

if TYPE_CHECKING:
    from deepnets.data.image_source import ImageSource
    from deepnets.data.raw_files import Raw, RawFile


class _Metadata(NamedTuple):
    """Known here, so that config.yaml is checked without loading torchvision."""

    shape: tuple[int, int, int]  # channels, height, width
    num_classes: int
    flips: bool  # a mirrored image keeps its class


_METADATA = {
    "MNIST": _Metadata((1, 28, 28), 10, flips=False),
    "FashionMNIST": _Metadata((1, 28, 28), 10, flips=True),
    "KMNIST": _Metadata((1, 28, 28), 10, flips=False),
    "CIFAR10": _Metadata((3, 32, 32), 10, flips=True),
    "CIFAR100": _Metadata((3, 32, 32), 100, flips=True),
    "SVHN": _Metadata((3, 32, 32), 10, flips=False),
}

# MD5 of MNIST's official files once unpacked, as many projects list them for Yann LeCun's originals. Mirrors often pack
# them again, which changes the hash of the .gz but not the data.
_MNIST_CONTENT_MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}

_MAX_GB = 0.25  # of one file; the largest, SVHN's training images, has 182 MB

# The same files in the authors' repository: torchvision's address for them has no https.
_HTTPS_MIRRORS = {"FashionMNIST": ["https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"]}


class Options(DatasetOptions):
    """One of torchvision's datasets, by its name there."""

    source: Literal["torchvision"]
    name: Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN"] = Field(
        description="The dataset's name in torchvision.datasets."
    )

    @property
    def native_shape(self) -> tuple[int, int, int]:
        return _METADATA[self.name].shape

    @property
    def num_classes(self) -> int:
        return _METADATA[self.name].num_classes

    @property
    def native_flips(self) -> bool:
        return _METADATA[self.name].flips

    def raw_spec(self) -> dict:
        return {"source": self.source, "name": self.name}


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Put the official files into `folder`; return the content of raw.json.

    Raises:
        UserError: no address gave a file with the right hash.
    """
    from deepnets.data import download, raw_files

    files = official_files(raw_spec["name"])
    for file in files:
        download.fetch(file, folder, dataset, mirror, max_gb)
    return raw_files.manifest(dataset, folder, [file.name for file in files])


def official_files(name: str) -> list["RawFile"]:
    """List the official files of one dataset, with the addresses and hashes that torchvision knows."""
    from deepnets.data.raw_files import RawFile
    from deepnets.utils.light_torchvision import torchvision

    official = getattr(torchvision.datasets, name)
    if name.startswith("CIFAR"):
        return [RawFile(official.filename, (official.url,), md5=official.tgz_md5, max_gb=_MAX_GB)]
    if name == "SVHN":
        files = [official.split_list[split] for split in ("train", "test")]
        return [RawFile(file, (_https(url),), md5=md5, max_gb=_MAX_GB) for url, file, md5 in files]
    bases = _HTTPS_MIRRORS.get(name) or [_https(base) for base in official.mirrors]
    content = _MNIST_CONTENT_MD5 if name == "MNIST" else {}
    return [
        RawFile(file, tuple(base + file for base in bases), md5=md5, content_md5=content.get(file), max_gb=_MAX_GB)
        for file, md5 in official.resources
    ]


def _https(url: str) -> str:
    """Make an address https; torchvision still lists some as http://."""
    return re.sub("^http://", "https://", url)


def read(options: Options, raw: "Raw") -> "ImageSource":
    """Read the official training and test splits.

    Raises:
        UserError: a raw file is missing, is not what raw.json lists, or has not the official hash.
    """
    from deepnets.data.image_source import from_arrays
    from deepnets.utils.light_torchvision import torchvision

    official = getattr(torchvision.datasets, options.name)
    paths = {}
    for file in official_files(options.name):
        paths[file.name] = raw.verified(file.name)
        # Once more against the official hash: raw.json may have been edited, and CIFAR's files are pickles.
        if problem := file.problem(paths[file.name]):
            raise UserError(f"{paths[file.name]}: {problem}. Delete it and {raw.manifest}.")
    if options.name.startswith("CIFAR"):
        classes, splits = _read_cifar(official, *paths.values())
    elif options.name == "SVHN":
        classes, splits = _digits(10), _read_svhn(*paths.values())
    else:
        # "7 - seven" is "7" in tables and figures.
        classes = [re.sub(r"^(\d) - .*", r"\1", name) for name in official.classes]
        splits = _read_idx_splits(*paths.values())
    return from_arrays(classes, splits, options.input_shape)


def _digits(count: int) -> list[str]:
    return [str(digit) for digit in range(count)]


def _read_idx_splits(train_images: Path, train_labels: Path, test_images: Path, test_labels: Path) -> dict:
    return {
        "train": (_read_idx(train_images)[..., np.newaxis], _read_idx(train_labels)),
        "test": (_read_idx(test_images)[..., np.newaxis], _read_idx(test_labels)),
    }


def _read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes: 0, 0, 8, number of axes, each axis as big-endian int32, then the values."""
    with gzip.open(path) as file:
        content = file.read()
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_svhn(train: Path, test: Path) -> dict:
    return {"train": _read_mat(train), "test": _read_mat(test)}


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one .mat file of SVHN: X uint8 (H, W, C, N), y (N, 1) with 10 for the digit 0."""
    from scipy.io import loadmat

    content = loadmat(path, variable_names=["X", "y"])
    return content["X"].transpose(3, 0, 1, 2), content["y"].squeeze() % 10


def _read_cifar(official: Any, archive: Path) -> tuple[list[str], dict]:
    files = {"train": [name for name, _ in official.train_list], "test": [name for name, _ in official.test_list]}
    meta = official.meta
    with tarfile.open(archive) as tar:

        def load(name: str) -> dict:
            file = tar.extractfile(f"{official.base_folder}/{name}")
            assert file is not None  # the archive has its official hash, so this member is a file
            with file:
                return _ArrayUnpickler(file, encoding="latin1").load()

        batches = {split: [load(name) for name in names] for split, names in files.items()}
        classes = [str(name) for name in load(meta["filename"])[meta["key"]]]
    labels_key = "labels" if "labels" in batches["test"][0] else "fine_labels"
    splits = {}
    for split, contents in batches.items():
        images = np.concatenate([content["data"] for content in contents]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = (images, np.concatenate([content[labels_key] for content in contents]))
    return classes, splits


class _ArrayUnpickler(pickle.Unpickler):
    """Loads lists, dicts, strings, numbers and byte arrays; every other name in a pickle is refused.

    It is a second protection after the hash: even a pickle with the right hash can call nothing.
    """

    def find_class(self, module: str, name: str):
        allowed = {
            "_reconstruct": np.empty(0).__reduce__()[0],  # numpy has moved this private function before
            "ndarray": np.ndarray,
            "dtype": _byte_dtype,
        }
        if module.split(".")[0] != "numpy" or name not in allowed:
            raise UserError(f"Refused a pickle that asks for {module}.{name}: CIFAR's files hold only arrays.")
        return allowed[name]


def _byte_dtype(name: str, *_: object) -> np.dtype:
    """CIFAR's arrays are bytes. The old pickles' further arguments (align=0, copy=1) are deprecated in NumPy 2.4."""
    if name != "u1":
        raise UserError(f"Refused a pickle with an array of type {name!r}: CIFAR's are bytes.")
    return np.dtype(np.uint8)
