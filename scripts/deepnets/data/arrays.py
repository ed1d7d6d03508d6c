"""Open prepared datasets: mapped images, labels and metadata."""

import mmap
from pathlib import Path
from typing import Annotated, Literal, TypeGuard

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from deepnets.data.folds import Folds, of_fold
from deepnets.utils.checked_json import check_content
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file
from deepnets.utils.paths import IMAGES, LABELS
from deepnets.utils.specs import check_made_by

# Bytes. An array up to this size is hashed whenever it is opened: CIFAR's 150 MB take 0.1 s. A larger one stays on the
# disk until its images are needed; otherwise every job of a study would read it whole.
HASHED_UP_TO = 2**30
_OF_EXPERIMENTS = ("horizontal_flip", "fold")  # keys of an experiment's dataset that its arrays do not depend on


_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Array(BaseModel):
    model_config = ConfigDict(strict=True)
    sha256: str
    shape: list[NonNegativeInt]


class _Folds(BaseModel):
    model_config = ConfigDict(strict=True)
    sizes: list[PositiveInt] = Field(min_length=2)
    validation: list[list[NonNegativeInt]] | None = None


class _Metadata(BaseModel):
    """What is read of dataset.json; `deepnets.data.prepare` writes it."""

    model_config = ConfigDict(strict=True)
    dataset: str
    arrays: dict[str, _Array]
    validation_rows: list[PositiveInt] = Field(default_factory=list, min_length=2, max_length=2)
    folds: _Folds | None = None
    classes: list[str]
    input_shape: list[PositiveInt] = Field(min_length=3, max_length=3)
    mean: list[_Finite]
    std: list[Annotated[_Finite, Field(gt=0)]]


def open_dataset(path: str | Path, split: str, spec: dict | None = None) -> tuple[np.ndarray, np.ndarray, dict]:
    """Open one split of a prepared dataset.

    Args:
        path: data/<dataset>/dataset.json.
        split: "train" or "test".
        spec: the dataset's part of an experiment's spec, that the arrays must have been made by; None: any. Where it
            has a fold, that is the test split, and all other images are the training split.

    Returns:
        images: uint8 (N, H, W, C), memory-mapped, read-only; of a fold, a copy in memory.
        labels: int64 (N,), from 0 to the number of classes - 1.
        metadata: the content of dataset.json, for the fold if there is one; `mean` and `std` are per channel, as
            fractions of full intensity (255).

    Raises:
        UserError: a file is missing, damaged or of another spec; the message names it and what to delete, so that it is
            rebuilt.
    """
    path, metadata = Path(path), read_json(path)
    check_content(path, metadata, _Metadata)
    if spec is not None:
        prepared = {key: value for key, value in spec.items() if key not in _OF_EXPERIMENTS}
        check_made_by(path, metadata.get("spec"), prepared)
    if spec is None or "fold" not in spec:
        return *_open_arrays(path, metadata, split), metadata
    return _open_fold(path, metadata, split, spec["fold"])


def _open_fold(path: Path, metadata: dict, split: str, fold: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Open one split of one fold: the file of the test split has the first fold, that of train the others."""
    opened = [_open_arrays(path, metadata, each) for each in ("test", "train")]
    images, labels = (np.concatenate(arrays) for arrays in zip(*opened, strict=True))
    if "folds" not in metadata or not Folds(**metadata["folds"]).fit(len(labels)):
        raise UserError(f"{path}: damaged (folds: not those of {len(labels)} images); delete it.")
    rows, metadata = of_fold(metadata, fold, images)
    return images[rows[split]], labels[rows[split]], metadata


def _open_arrays(path: Path, metadata: dict, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Open the two files of a split."""
    images_name, labels_name = (name.format(split=split) for name in (IMAGES, LABELS))
    images = _load(path, metadata, images_name, "uint8", mmap_mode="r")
    labels = _load(path, metadata, labels_name, "int64")
    if len(images) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= len(metadata["classes"]):
        raise _damaged(path, labels_name, "labels do not belong to the images and classes")
    _check_shape(path, metadata, split, images)
    return images, labels


def _check_shape(path: Path, metadata: dict, split: str, images: np.ndarray) -> None:
    """Compare the values of dataset.json with the images that they describe."""
    channels, height, width = metadata["input_shape"]
    start, end = metadata.get("validation_rows", (1, len(images)))
    fits = {
        "input_shape": images.shape[1:] == (height, width, channels),
        "mean": len(metadata["mean"]) == channels,
        "std": len(metadata["std"]) == channels,
        "validation_rows": split != "train" or start < end == len(images),
    }
    for key, fit in fits.items():
        if not fit:
            raise UserError(
                f"{path}: damaged ({key}: {metadata[key]} does not fit {split} images of the shape {images.shape});"
                " delete it."
            )


def _load(path: Path, metadata: dict, name: str, dtype: str, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    if name not in metadata["arrays"]:
        raise UserError(f"{path}: damaged (arrays: {name} is not listed); delete it.")
    expected = metadata["arrays"][name]
    shape, sha256, file = tuple(expected["shape"]), expected["sha256"], path.parent / name
    try:
        array = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, name, str(error)) from None
    if array.dtype != dtype or array.shape != shape or array.ndim != {"uint8": 4, "int64": 1}[dtype]:
        raise _damaged(path, name, f"{array.dtype} {array.shape}, expected {dtype} {shape}")
    if file.stat().st_size <= HASHED_UP_TO and sha256_file(file) != sha256:
        raise _damaged(path, name, "its SHA-256 has changed")
    return array


def is_on_disk(images: np.ndarray) -> TypeGuard[np.memmap]:
    """Whether images are mapped from a file that is too large to be hashed, and so has not been read yet."""
    return isinstance(images, np.memmap) and images.offset + images.nbytes > HASHED_UP_TO


def read_at_random(images: np.memmap) -> None:
    """Have the system read only the mapped images that are asked for.

    By default it reads up to megabytes around each, and drops other images for them that the next batch needs.
    """
    _mapping(images).madvise(mmap.MADV_RANDOM)


def read_in_order(images: np.memmap) -> None:
    """Have the system read mapped images from the first to the last, in large blocks."""
    _mapping(images).madvise(mmap.MADV_SEQUENTIAL)


def read_ahead(images: np.memmap, rows: np.ndarray) -> None:
    """Have the system read these images from the disk, all at once, in the background.

    Without this each page fault waits for the one before; benchmarks/read_speed.py measures both.

    Args:
        images: uint8 (N, H, W, C), mapped.
        rows: int64 (n,).
    """
    for start, length in _pages(images, rows):
        _mapping(images).madvise(mmap.MADV_WILLNEED, start, length)


def _mapping(images: np.memmap) -> mmap.mmap:
    assert isinstance(images.base, mmap.mmap)  # a view of a mapped array would have the array as its base
    return images.base


def _pages(images: np.memmap, rows: np.ndarray) -> list[tuple[int, int]]:
    """Locate each row in the file, from the start of its first page: (offset in bytes, length in bytes)."""
    starts = images.offset + rows * images.strides[0]
    firsts = starts - starts % mmap.PAGESIZE
    return list(zip(firsts.tolist(), (starts + images.strides[0] - firsts).tolist(), strict=True))


def _damaged(path: Path, name: str, reason: str) -> UserError:
    return UserError(f"{path.parent / name}: damaged ({reason}); delete {path} to have it rebuilt.")
