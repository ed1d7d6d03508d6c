"""A dataset's images into .npy files: chunk by chunk, in several processes, going on after a kill where it stopped.

The files grow in a folder of their own. Its chunks.txt has a line for each chunk that is written: a digest of what its
images were made from and one of the images themselves. A chunk counts as written while both agree, so nothing else has
to be flushed or locked, and a changed image is never taken from an old chunk.
"""

import contextlib
import hashlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from deepnets.data import decode as image_files
from deepnets.data.archive import DamagedArchiveError
from deepnets.data.decode import DecodeTask, ImageSource
from deepnets.data.progress import Progress
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.text import shortened

_WAITING = 2  # chunks per process that are ready for it: none runs dry, and few are in memory

Result = TypeVar("Result")


class BadImagesError(UserError):
    """Some of the images are none; the message has a line for each."""


class _ArrayFile(NamedTuple):
    """An unfinished .npy file: the place of its first image, and the shape (H, W, C) of each."""

    path: Path
    start: int
    shape: tuple[int, int, int]

    def place(self, index: int) -> int:
        return self.start + index * math.prod(self.shape)


class _Tally(NamedTuple):
    """What is known of a chunk's images: SHA-256 of their bytes; of those for training, how often each intensity
    occurs in each channel, int64 (C, 256); what is wrong with any.
    """

    digest: str
    intensities: np.ndarray
    problems: list[str]
    reused: bool = False


def write_images(
    dataset: str, contents: ImageSource, input_shape: tuple[int, int, int], folder: Path, processes: int
) -> np.ndarray:
    """Make all images of a dataset and write them to {train,test}_images.npy in `folder`.

    The same bytes whatever the number of processes; in memory are a few chunks at a time.

    Args:
        dataset: its name, for lines of progress.
        contents: the images to be.
        input_shape: (C, H, W) of each.
        folder: for these images only, and kept on an error: the next call in it goes on where this one stopped.
        processes: how many make and write images at once; more than one run at the lowest priority.

    Returns:
        How often each intensity occurs in each channel of the training part: int64 (C, 256).

    Raises:
        BadImagesError: naming every image that is none, after the last; or where an archive cannot be read on.
        UserError: an image has changed since raw.json was written, or a process was killed.
        OSError: the disk is full.
    """
    channels, height, width = input_shape
    counts = {part: len(labels) for part, labels in contents.labels.items()}
    folder.mkdir(parents=True, exist_ok=True)
    files = {part: _create(folder / f"{part}_images.npy", n, (height, width, channels)) for part, n in counts.items()}
    intensities = np.zeros((channels, 256), np.int64)
    problems, progress = [], Progress(dataset, sum(counts.values()), "images")
    note = folder / "chunks.txt"
    known = _read_note(note)
    tasks = ((chunk, _key(chunk)) for chunk in contents.chunks)
    calls = ((partial(_write, files, chunk, known.get(key)), (key, len(chunk.places))) for chunk, key in tasks)
    processes = min(processes, math.ceil(progress.total / image_files.CHUNK))
    with open(note, "a", encoding="ascii") as lines:
        try:
            for tally, (key, count) in _done(calls, processes):
                intensities += tally.intensities
                problems += tally.problems
                if key and not tally.problems and not tally.reused:
                    lines.write(f"{key} {tally.digest}\n")
                    lines.flush()
                progress.add(count, tally.reused)
        except DamagedArchiveError as error:
            problems.append(str(error))
    if problems:
        raise BadImagesError(shortened(problems))
    progress.end()
    return intensities


def _create(path: Path, count: int, shape: tuple[int, int, int]) -> _ArrayFile:
    """Make the .npy file, or take the one that is there.

    It is written through a file: through a memory map, a full disk ends a process by a signal, without a word.
    """
    path.touch()
    with open(path, "r+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        array = _ArrayFile(path, file.tell(), shape)
        file.truncate(array.place(count))
    return array


def _read_note(path: Path) -> dict[str | None, str]:
    """Digest of the images of each written chunk, by its key; a line that a kill has cut agrees with nothing."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    return {key: digest for key, _, digest in (line.partition(" ") for line in lines)}


def _key(chunk: DecodeTask) -> str | None:
    return None if chunk.origin is None else sha256_text(canonical_json([chunk.places, chunk.origin]))


# -- in any of the processes ------------------------------------------------------------------------------------------


def _write(files: dict[str, _ArrayFile], chunk: DecodeTask, known: str | None) -> _Tally:
    """Make a chunk's images and write each to its place, or find by the digest `known` that they are there."""
    with contextlib.ExitStack() as stack:
        opened = {part: stack.enter_context(open(file.path, "r+b")) for part, file in files.items()}

        def seek(part: str, index: int):
            opened[part].seek(files[part].place(index))
            return opened[part]

        def stored() -> Iterator[np.ndarray]:
            for part, index in chunk.places:
                shape = files[part].shape
                yield np.frombuffer(seek(part, index).read(math.prod(shape)), np.uint8).reshape(shape)

        def made() -> Iterator[np.ndarray | ValueError]:
            for place, image in zip(chunk.places, chunk.make(), strict=True):
                if isinstance(image, np.ndarray):
                    seek(*place).write(image.tobytes())
                yield image

        channels = next(iter(files.values())).shape[2]
        if known is not None:
            tally = _tally(chunk.places, stored(), channels)
            if tally.digest == known:
                return tally._replace(reused=True)
        return _tally(chunk.places, made(), channels)


def _tally(places: list[tuple[str, int]], images: Iterable[np.ndarray | ValueError], channels: int) -> _Tally:
    digest, intensities, problems = hashlib.sha256(), np.zeros((channels, 256), np.int64), []
    for (part, _), image in zip(places, images, strict=True):
        if isinstance(image, ValueError):
            problems.append(str(image))
            continue
        digest.update(image.tobytes())
        if part == "train":
            for channel in range(channels):
                intensities[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
    return _Tally(digest.hexdigest(), intensities, problems)


# -- several processes ------------------------------------------------------------------------------------------------


def _done(calls: Iterable[tuple[Callable[[], Result], object]], processes: int) -> Iterator[tuple[Result, object]]:
    """Make the calls in so many processes; yield what each returns, with what came beside it, as they end."""
    if processes == 1:
        yield from ((call(), beside) for call, beside in calls)
        return
    # Spawned, not forked: a fork copies the locks of threads that it does not copy.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin)
    waiting: dict[Future, object] = {}

    def ended(at_most: int) -> Iterator[tuple[Result, object]]:
        while len(waiting) > at_most:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield future.result(), waiting.pop(future)

    try:
        for call, beside in calls:
            yield from ended(_WAITING * processes - 1)
            waiting[pool.submit(call)] = beside
        yield from ended(0)
    except BrokenProcessPool:
        raise UserError(
            "a process that decoded images was killed, most likely for want of memory; run the same command again:"
            " it goes on where it stopped (fewer --processes take less memory)."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In each process: give way to all other work, and end when the one that started it is gone, however it died."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that one alone

    def wait_for_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()
