"""Write a dataset's images into .npy files: in blocks, in several processes, and resumed after a kill.

Each decoded block becomes a file of its own, a shard. A shard gets its final name when it is complete. The name is a
digest of the files that the images are made from. So the next run decodes only the blocks that have no shard, and never
uses an old shard for a changed image.
"""

import contextlib
import itertools
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO, NamedTuple

import joblib
import numpy as np

from deepnets.data.archive import DamagedArchiveError
from deepnets.data.image_source import DecodeTask, ImageSource, block_length
from deepnets.data.intensities import count_intensities
from deepnets.data.progress import log_summary, progress_bar
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, canonical_json, error_names, remove_leftovers, sha256_text
from deepnets.utils.logging import LOG
from deepnets.utils.paths import IMAGES
from deepnets.utils.text import shortened
from deepnets.utils.worker import start_worker


class _Block(NamedTuple):
    """The shard of a decoded block, and the (split, index) of each of its images."""

    shard: Path
    positions: list[tuple[str, int]]


class _Decoded(NamedTuple):
    """The outcome of a block.

    images     how many it has
    reused     whether an earlier run decoded it
    problems   a message for each broken image
    dim        images that lose their contrast, each with the bits that hold its values; None in colour
    """

    images: int
    reused: bool
    problems: list[str]
    dim: dict[str, int | None]


class _Shard(NamedTuple):
    """Images uint8 (n, H, W, C); how often the training images have each intensity, int64 (C, 256); `dim` as JSON."""

    images: np.ndarray
    intensities: np.ndarray
    dim: np.ndarray


def write_images(
    dataset: str, source: ImageSource, input_shape: tuple[int, int, int], folder: Path, processes: int
) -> np.ndarray:
    """Decode all images of a dataset and write them to {train,test}_images.npy in `folder`.

    The bytes do not depend on the number of processes. Only a few blocks are in memory; shards and arrays are both
    on disk until the caller removes the folder.

    Args:
        dataset: its name, for lines of progress.
        source: the images.
        input_shape: (C, H, W) of each.
        folder: for these images only. It is kept on an error, and the next call resumes from its shards.
        processes: that decode at once; more than one run at the lowest priority.

    Returns:
        How often each intensity occurs in each channel of the training split: int64 (C, 256).

    Raises:
        UserError: images are broken, named after the last image, or an archive is; an image has changed since raw.json
            was written; or a process was killed.
        OSError: the disk is full.
    """
    channels, height, width = input_shape
    image_shape = (height, width, channels)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    total = sum(map(len, source.labels.values()))
    processes = min(processes, math.ceil(total / block_length(input_shape)))
    blocks = _decode_all(dataset, source, image_shape, folder, processes, total)
    intensities = np.zeros((channels, 256), np.int64)
    for split, stored in source.stored().items():
        lengths = [len(source.labels[each]) for each in stored]
        starts = dict(zip(stored, itertools.accumulate(lengths, initial=0), strict=False))
        counted = _concatenate(folder / IMAGES.format(split=split), starts, (sum(lengths), *image_shape), blocks)
        if split == "train":
            intensities = counted
    return intensities


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as np.save does, but with an error that names the file if the disk is full."""
    with _create_array(path, array.shape, array.dtype) as file:
        file.write(array.tobytes())


# -- in the main process -----------------------------------------------------------------------------------------------


def _decode_all(
    dataset: str, source: ImageSource, image_shape: tuple[int, int, int], folder: Path, processes: int, total: int
) -> list[_Block]:
    """Write a shard for every block, in processes; return the blocks."""
    blocks: list[_Block] = []
    problems: list[str] = []
    dim: dict[str, int | None] = {}
    reused = 0

    def calls() -> Iterator:
        for task in source.tasks:
            key = sha256_text(canonical_json([task.positions, task.source_key]))
            blocks.append(_Block(folder / f"{key[:32]}.npz", task.positions))
            yield joblib.delayed(_write_shard)(blocks[-1].shard, task, image_shape)

    # max_nbytes=None: arrays go to the processes as they are, not through files.
    worker = {"initializer": start_worker, "initargs": (os.getpid(),), "max_nbytes": None}
    parallel = joblib.Parallel(processes, return_as="generator", batch_size=1, pre_dispatch="2*n_jobs", **worker)
    with progress_bar(dataset, total, "images") as bar:
        try:
            for block in parallel(calls()):
                problems += block.problems
                dim |= block.dim
                if block.reused:
                    reused += block.images
                    bar.initial += block.images  # not counted in the rate
                    bar.set_postfix_str(f"{reused:,} kept from an interrupted run", refresh=False)
                bar.update(block.images)
        except DamagedArchiveError as error:
            problems.append(str(error))
        except BrokenProcessPool:
            raise UserError(
                "a process that decoded images was killed, most likely because memory ran out; give fewer --processes,"
                " which need less memory. Decoded images are kept."
            ) from None
        if problems:
            raise UserError(shortened(problems))
        log_summary(bar)
    _warn_of_dim(dataset, dim)
    return blocks


def _warn_of_dim(dataset: str, images: dict[str, int | None]) -> None:
    gray = {name: bits for name, bits in images.items() if bits is not None}
    colour = [name for name in images if name not in gray]
    if gray:
        bits = max(gray.values())
        LOG.warning(
            "%s: %d images of 16 bits have hardly a value above %s, so that they become dark. If their values have %d"
            " bits, write `bit_depth: %d` for this dataset in config.yaml; if they are really dark, `bit_depth: 16`:"
            "\n%s",
            *(dataset, len(gray), f"{2**bits - 1:,}", bits, bits, shortened(list(gray))),
        )
    if colour:
        LOG.warning(
            "%s: %d images of 16 bits in colour or with transparency have hardly a value above a quarter of white, so"
            " that they become dark. Convert them to 8 bits; if they are really dark, write `bit_depth: 16` for this"
            " dataset in config.yaml:\n%s",
            *(dataset, len(colour), shortened(colour)),
        )


def _concatenate(path: Path, starts: dict[str, int], shape: tuple[int, ...], blocks: list[_Block]) -> np.ndarray:
    """Write the images of a file, of this shape (N, H, W, C); return the sum of its blocks' intensities.

    `starts` has the splits in the file, each with the index of its first image.
    """
    intensities = np.zeros((shape[-1], 256), np.int64)
    with _create_array(path, shape, np.dtype(np.uint8)) as file:
        start, image_bytes = file.tell(), math.prod(shape[1:])
        for block in blocks:
            rows = [(row, starts[of] + index) for row, (of, index) in enumerate(block.positions) if of in starts]
            if not rows:
                continue
            shard = _read_shard(block.shard, (len(block.positions), *shape[1:]))
            if shard is None:
                raise UserError(f"{block.shard}: damaged since it was written a moment ago; check the disk.")
            intensities += shard.intensities
            # Images that follow each other in the shard and in the array are written at once.
            for _, run in itertools.groupby(rows, key=lambda pair: pair[1] - pair[0]):
                consecutive = list(run)
                row, index = consecutive[0]
                file.seek(start + index * image_bytes)
                file.write(shard.images[row : row + len(consecutive)].tobytes())
    return intensities


@contextlib.contextmanager
def _create_array(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[BinaryIO]:
    """Open a new .npy file and write its header.

    Raises:
        OSError: the disk is full; `filename` is `path`. np.save gives no reason, and a memory map ends the process.
    """
    with error_names(path), open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


# -- in any of the processes -------------------------------------------------------------------------------------------


def _write_shard(path: Path, task: DecodeTask, image_shape: tuple[int, int, int]) -> _Decoded:
    """Decode a block into its shard, unless a complete one exists; write none if an image is broken."""
    count = len(task.positions)
    if shard := _read_shard(path, (count, *image_shape)):
        return _Decoded(count, True, [], json.loads(shard.dim.item()))
    images = np.empty((count, *image_shape), np.uint8)
    intensities = np.zeros((image_shape[2], 256), np.int64)
    problems, dim = list[str](), dict[str, int | None]()
    for row, ((split, _), image) in enumerate(zip(task.positions, task.decode(), strict=True)):
        if isinstance(image, ValueError):
            problems.append(f"{task.names[row]}: {image}.")
            continue
        images[row] = image.pixels
        if split == "train":
            intensities += count_intensities(image.pixels)
        if image.dim is not None:
            dim[task.names[row]] = image.dim.used_bits if image.dim.is_gray else None
    if not problems:
        with atomic_path(path) as temporary:
            np.savez(temporary, images=images, intensities=intensities, dim=np.array(json.dumps(dim)))
    return _Decoded(count, False, problems, dim)


def _read_shard(path: Path, shape: tuple[int, ...]) -> _Shard | None:
    """The content of a shard whose images have this shape (n, H, W, C); None if there is no complete shard.

    The file is a zip archive, whose checksums are compared when it is read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as shard:
            content = _Shard(*(shard[name] for name in _Shard._fields))
    except Exception:  # a missing or damaged file fails in many ways; all have one answer
        return None
    return content if content.images.shape == shape else None
