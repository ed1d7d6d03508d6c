"""Prepared datasets, as training and evaluation read them: mapped images, labels, facts, and the validation split."""

import mmap
from pathlib import Path

import numpy as np

from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file

# Bytes of an array that is hashed whenever it is opened: CIFAR's 150 MB take 0.1 s. A larger one stays on the disk
# until its images are needed, instead of being read whole by every job of a study.
HASHED_UP_TO = 2**30


def open_dataset(path: str | Path, part: str) -> tuple[np.ndarray, np.ndarray, dict]:
    """Open one part of a prepared dataset.

    Args:
        path: data/<dataset>/dataset.json.
        part: "train" or "test".

    Returns:
        images: uint8 (N, H, W, C), memory-mapped, read-only.
        labels: int64 (N,), from 0 to the number of classes - 1.
        info: the content of dataset.json; `mean` and `std` are per channel, as fractions of full intensity (255).

    Raises:
        UserError: a file is missing or damaged; the message names it and what to delete to have it rebuilt.
    """
    path, info = Path(path), read_json(path)
    if not isinstance(info, dict) or not {"arrays", "classes", "dataset", "mean", "std"} <= info.keys():
        raise UserError(f"{path}: damaged; delete it and run the same command again.")
    images = _load(path, info, f"{part}_images.npy", "uint8", mmap_mode="r")
    labels = _load(path, info, f"{part}_labels.npy", "int64")
    if len(images) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= len(info["classes"]):
        raise _damaged(path, f"{part}_labels.npy", "labels do not belong to the images and classes")
    return images, labels, info


def _load(path: Path, info: dict, name: str, dtype: str, mmap_mode: str | None = None) -> np.ndarray:
    try:
        expected = info["arrays"][name]
        shape, sha256 = tuple(expected["shape"]), expected["sha256"]
    except (KeyError, TypeError):
        raise UserError(f"{path}: damaged, no word of {name}; delete it and run the same command again.") from None
    file = path.parent / name
    try:
        array = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, name, str(error)) from None
    if array.dtype != dtype or array.shape != shape:
        raise _damaged(path, name, f"{array.dtype} {array.shape}, expected {dtype} {shape}")
    if file.stat().st_size <= HASHED_UP_TO and sha256_file(file) != sha256:
        raise _damaged(path, name, "its SHA-256 has changed")
    return array


def is_on_disk(images: np.ndarray) -> bool:
    """Whether images are mapped from a file that nobody has read, as it is too large to be hashed."""
    return isinstance(images, np.memmap) and images.offset + images.nbytes > HASHED_UP_TO


def read_at_random(images: np.memmap) -> None:
    """Have the system read of mapped images what is asked for and nothing around it.

    Else it reads up to megabytes around each, and drops for them what the next batch needs.
    """
    images.base.madvise(mmap.MADV_RANDOM)


def read_in_order(images: np.memmap) -> None:
    """Have the system read mapped images from the first to the last, in large pieces."""
    images.base.madvise(mmap.MADV_SEQUENTIAL)


def read_ahead(images: np.memmap, rows: np.ndarray) -> None:
    """Have the system read these images from the disk, all at once, in the background.

    Left to page faults, each waits for the one before; benchmarks/read_speed.py measures both.

    Args:
        images: uint8 (N, H, W, C), mapped.
        rows: int64 (n,).
    """
    for start, length in _pages(images, rows):
        images.base.madvise(mmap.MADV_WILLNEED, start, length)


def _pages(images: np.memmap, rows: np.ndarray) -> list[tuple[int, int]]:
    """Where each row is in the file, from the start of its first page: (bytes from the file's start, length)."""
    starts = images.offset + rows * images.strides[0]
    firsts = starts - starts % mmap.PAGESIZE
    return list(zip(firsts.tolist(), (starts + images.strides[0] - firsts).tolist(), strict=True))


def _damaged(path: Path, name: str, reason: str) -> UserError:
    return UserError(f"{path.parent / name}: damaged ({reason}); delete {path} and run the same command again.")
