"""The output of a data source for the prepare stage: class names, labels, and blocks of images to decode."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from deepnets.data.decode import DecodedImage, fit
from deepnets.data.folds import Folds, how_folds_are_used
from deepnets.utils.paths import SPLITS

BLOCK_IMAGES = 1024  # decoded in a second or less: so much does a kill cost each process
BLOCK_BYTES = 2**26  # of decoded images: a block is in memory while it is decoded


@dataclass(frozen=True)
class DecodeTask:
    """A block of images that one process decodes; the task is pickled on its way there.

    positions    (split, index) of each image
    decode       yields them in that order, or the ValueError that says what is wrong with one
    source_key   JSON-able, identifies what they are decoded from
    names        of their files, for messages; nothing if they were no files
    """

    positions: list[tuple[str, int]]
    decode: Callable[[], Iterable[DecodedImage | ValueError]]
    source_key: Any
    names: Sequence[str] = ()


@dataclass(frozen=True)
class ImageSource:
    """The content of a dataset before it is written.

    classes   names, by label
    labels    split -> int64 (N,); "validation" is there if the dataset brings such a split
    tasks     cover each image of each split once, in any order
    shape     (C, H, W) of the prepared images
    names     split -> file names of the images, in their order; None if they were no files
    found     key of config.yaml -> the choice that was made where it is left out, and why
    open_files  opens the images' files, in any order, each with its name; None if they were no files
    folds     where each fold is in the arrays; None without folds
    """

    classes: list[str]
    labels: dict[str, np.ndarray]
    tasks: Iterator[DecodeTask]
    shape: tuple[int, int, int]
    names: dict[str, list[str]] | None = None
    found: dict[str, str] = field(default_factory=dict)
    open_files: Callable[[], Iterator[tuple[str, BinaryIO]]] | None = None
    folds: Folds | None = None

    def stored(self) -> dict[str, list[str]]:
        """Which splits each file of arrays holds, one after the other: that of train holds a validation split, too."""
        with_validation = ["train", *(["validation"] if "validation" in self.labels else [])]
        return {split: with_validation if split == "train" else [split] for split in SPLITS if split in self.labels}


def block_length(input_shape: tuple[int, int, int]) -> int:
    """Number of images in a block, for images of this (C, H, W)."""
    return max(1, min(BLOCK_IMAGES, BLOCK_BYTES // math.prod(input_shape)))


def from_arrays(
    classes: list[str],
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
    input_shape: tuple[int, int, int],
    folds: Folds | None = None,
) -> ImageSource:
    """ImageSource from arrays in memory.

    Args:
        classes: names, by label.
        splits: split -> images uint8 (N, h, w, c) with c 1 or 3, labels (N,) of any integer type.
        input_shape: (C, H, W) of the prepared images.
        folds: where each fold is in `splits`.
    """
    length = block_length(input_shape)
    tasks = (
        _task_of_array(split, start, arrays[start : start + length], input_shape)
        for split, (arrays, _) in splits.items()
        for start in range(0, len(arrays), length)
    )
    labels = {split: labels.astype(np.int64) for split, (_, labels) in splits.items()}
    found = {} if folds is None else {"folds": how_folds_are_used(len(folds.sizes))}
    return ImageSource(classes, labels, tasks, input_shape, found=found, folds=folds)


def _task_of_array(split: str, start: int, arrays: np.ndarray, input_shape: tuple[int, int, int]) -> DecodeTask:
    channels, size, _ = input_shape
    positions = [(split, start + row) for row in range(len(arrays))]
    return DecodeTask(
        positions, partial(_fit_all, arrays, size, channels), hashlib.sha256(arrays.tobytes()).hexdigest()
    )


def _fit_all(arrays: np.ndarray, size: int, channels: int) -> Iterator[DecodedImage]:
    fits = arrays.shape[1:] == (size, size, channels)
    for array in arrays:
        yield DecodedImage(array if fits else fit(Image.fromarray(array.squeeze()), size, channels), None)
