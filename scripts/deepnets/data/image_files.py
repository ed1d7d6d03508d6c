"""Read the user's image files, from a folder or an archive: each block is decoded when its task runs."""

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from deepnets.data.archive import MAX_MEMBER_BYTES, read_members
from deepnets.data.decode import DecodedImage, decode
from deepnets.data.decode_options import DEFAULT_MEGAPIXELS
from deepnets.data.found_shape import find_shape, sample
from deepnets.data.image_source import DecodeTask, ImageSource, block_length
from deepnets.data.layout import Layout
from deepnets.data.raw_files import Raw

if TYPE_CHECKING:
    from deepnets.data.sources._own_images import OwnImages

_BLOCK_BYTES = 2**25  # of an archive's members that are in memory for one process
_Positions = dict[str, tuple[str, int]]  # split and index of each image, by its file name


def read_images(files: "Files", layout: Layout, options: "OwnImages") -> ImageSource:
    """Choose what `options` leave out, and list the blocks of images to decode.

    Raises:
        UserError: changed files, or none that is an image, or a damaged archive; the tasks raise it too.
    """
    found = dict(layout.found)
    if options.classes is None:
        found["classes"] = f"{len(layout.classes):,}, as many as there are"
    if options.size is None:
        looked_at = (file for _, file in files.open(sample(layout.names())))
        (channels, size, _), reasons = find_shape(files.shown_as, looked_at, options.channels)
        options = options.model_copy(update={"size": size, "channels": channels})
        found |= reasons
    labels = {split: np.array([label for _, label in images], np.int64) for split, images in layout.splits.items()}
    names = {split: [name for name, _ in images] for split, images in layout.splits.items()}
    tasks = files.tasks(layout.positions(), options)
    open_files = partial(files.open, layout.names())
    return ImageSource(layout.classes, labels, tasks, options.input_shape, names, found, open_files, layout.folds)


class Files(Protocol):
    """Image files in one place; `shown_as` is its name in messages."""

    @property
    def shown_as(self) -> str: ...

    def open(self, names: list[str]) -> Iterator[tuple[str, BinaryIO]]:
        """Open some files, one after the other, in any order; each with its name."""

    def tasks(self, positions: _Positions, options: "OwnImages") -> Iterator[DecodeTask]:
        """Divide the images into blocks to decode."""


@dataclass(frozen=True)
class FolderFiles:
    """Files in the user's folder, which is read in place."""

    raw: Raw

    @property
    def shown_as(self) -> str:
        return str(self.raw.folder)

    def open(self, names: list[str]) -> Iterator[tuple[str, BinaryIO]]:
        for name in names:
            try:
                with open(self.raw.folder / name, "rb") as file:
                    yield name, file
            except FileNotFoundError:
                raise self.raw.changed(name) from None

    def tasks(self, positions: _Positions, options: "OwnImages") -> Iterator[DecodeTask]:
        raw, names = self.raw, iter(positions)
        while block := list(itertools.islice(names, block_length(options.input_shape))):
            of_block = replace(raw, sha256={name: raw.sha256[name] for name in block})
            # The hashes are those of raw.json. Sizes and times show a later change without reading every image again.
            source_key = [(name, sha256, *_size_and_time(raw, name)) for name, sha256 in of_block.sha256.items()]
            decode_block = partial(_decode_files, of_block, options)
            shown = [f"{self.shown_as}/{name}" for name in block]
            yield DecodeTask([positions[name] for name in block], decode_block, source_key, shown)


@dataclass(frozen=True)
class ArchiveFiles:
    """Members of an archive.

    shown_as  its name in messages; `path` is a copy
    sha256    of the archive
    encoding  of names that do not say theirs
    """

    path: Path
    shown_as: str
    sha256: str
    encoding: str | None

    def open(self, names: list[str]) -> Iterator[tuple[str, BinaryIO]]:
        return ((name, io.BytesIO(content)) for name, content in self._members(names))

    def tasks(self, positions: _Positions, options: "OwnImages") -> Iterator[DecodeTask]:
        members = self._members(positions)
        while block := _next_block(members, block_length(options.input_shape)):
            names = [name for name, _ in block]
            decode_block = partial(_decode_members, block, options)
            shown = [f"{self.shown_as}/{name}" for name in names]
            yield DecodeTask([positions[name] for name in names], decode_block, [self.sha256, names], shown)

    def _members(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return read_members(self.path, set(names), self.shown_as, self.encoding)


def _next_block(members: Iterator[tuple[str, bytes]], length: int) -> list[tuple[str, bytes]]:
    """The next `length` members; fewer where they are large."""
    block: list[tuple[str, bytes]] = []
    size = 0
    while len(block) < length and size < _BLOCK_BYTES and (member := next(members, None)):
        block.append(member)
        size += len(member[1])
    return block


def _decode_files(raw: Raw, options: "OwnImages") -> Iterator[DecodedImage | ValueError]:
    for name in raw.sha256:
        size, _ = _size_and_time(raw, name)
        if size > MAX_MEMBER_BYTES:
            yield ValueError(f"has {size:,} bytes, more than any image; replace or remove it")
        else:
            yield _decode(_read_unchanged(raw, name), options)


def _decode_members(members: list[tuple[str, bytes]], options: "OwnImages") -> Iterator[DecodedImage | ValueError]:
    for _, content in members:
        yield _decode(content, options)


def _decode(content: bytes, options: "OwnImages") -> DecodedImage | ValueError:
    channels, size, _ = options.input_shape
    limit = DEFAULT_MEGAPIXELS if options.max_megapixels is None else options.max_megapixels
    try:
        return decode(content, size, channels, limit, options.bit_depth, options.non_square)
    except ValueError as error:
        return error


def _size_and_time(raw: Raw, name: str) -> tuple[int, int]:
    try:
        status = (raw.folder / name).stat()
    except FileNotFoundError:
        raise raw.changed(name) from None
    return status.st_size, status.st_mtime_ns


def _read_unchanged(raw: Raw, name: str) -> bytes:
    try:
        content = (raw.folder / name).read_bytes()
    except FileNotFoundError:
        raise raw.changed(name) from None
    if hashlib.sha256(content).hexdigest() != raw.sha256[name]:
        raise raw.changed(name)
    return content
