"""A folder or an archive of images: train/<class>/*, test/<class>/* and, if there is one, val/<class>/*."""

import codecs
import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from deepnets.data.class_folders import Layout, fingerprint, list_folder, read_layout
from deepnets.data.class_names import case_twins
from deepnets.data.member_names import is_encoding
from deepnets.data.search_paths import MIRROR_VARIABLE, find_local, search_paths
from deepnets.data.sources import DatasetOptions, ImageSide, Megapixels
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

if TYPE_CHECKING:
    from deepnets.data.image_source import DecodeTask, ImageSource
    from deepnets.data.raw_files import Raw

_MAX_CLASSES = 10_000  # metrics.json holds the confusion matrix: of as many classes, 100 million counts
_BLOCK_BYTES = 2**25  # of an archive's members that are in memory for one process


class Options(DatasetOptions):
    """The user's own images. `size` is required: images of mixed sizes become squares of one size."""

    source: Literal["folder"]
    path: str = Field(
        min_length=1,
        description="Folder, or archive (.zip, .tar, .tar.gz, .tgz, .tar.xz), with train/<class>/*, test/<class>/* and,"
        " if there is a validation split, val/<class>/*;"
        " a relative path is looked up from the working directory, then in the folder DEEPNETS_MIRROR.",
    )
    classes: Annotated[int, Field(ge=2, le=_MAX_CLASSES, strict=True)] = Field(
        description="Number of classes (folders below train)."
    )
    size: ImageSide = Field(description="Side of the prepared images in pixels.")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the archive, in lower-case hexadecimal; needed where it is downloaded.",
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of the names in an archive that does not say it, as of zips from Windows: gbk, cp932,"
        " cp1251, cp437, utf-8 ...",
    )
    bit_depth: Annotated[int, Field(ge=8, le=16, strict=True)] | None = Field(
        default=None, description="Bits of a value in gray images of 16 bits; with 12, 4095 is white. null: 16."
    )
    max_megapixels: Megapixels | None = Field(
        default=None, description="Images with more megapixels are refused; null: 100. No result depends on it."
    )

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None and not is_encoding(encoding):
            raise ValueError(f"must be an encoding, such as gbk, cp932, cp1251, cp437 or utf-8 (got {encoding[:60]!r})")
        return encoding

    @property
    def native_shape(self) -> tuple[int, int, int]:
        return (3, self.size, self.size)  # files may mix grayscale and colour: RGB holds both

    @property
    def num_classes(self) -> int:
        return self.classes

    @property
    def native_flips(self) -> bool:
        return False  # only the user knows whether a mirrored image keeps its class

    @property
    def own_files(self) -> str | None:
        return None if "://" in (self.mirror or "") else _shortest(self.path)

    @property
    def own_path(self) -> str | None:
        return None if self.sha256 is None else self.path

    @property
    def decodes_files(self) -> bool:
        return True

    def raw_spec(self) -> dict:
        """Identify the raw files: an archive by its name and SHA-256, wherever it lies, and all else by its path."""
        encoding = {} if self.encoding is None else {"encoding": codecs.lookup(self.encoding).name}
        if self.sha256 is not None:
            return {"source": self.source, "path": PurePosixPath(self.path).name, "sha256": self.sha256, **encoding}
        return {"source": self.source, "path": _shortest(self.path), **encoding}

    def local_state(self, dataset: str) -> str | None:
        """Digest of a folder's or an archive's state; None where `sha256` pins the content or nothing can be read.

        It is cheap, because every start of Snakemake asks for it; `fingerprint` lists what it does not see.
        """
        if self.sha256 is not None:
            return None
        try:
            path = find_local(self.path, dataset, self.mirror)
            return fingerprint(path) if path is not None and (path.is_dir() or path.is_file()) else None
        except (OSError, UserError):  # the download reports it, with what to do
            return None

    def check_files(self, dataset: str, raw: Path) -> None:
        from deepnets.data.quick_check import find_classes

        was_downloaded = self.sha256 is not None and (raw / PurePosixPath(self.path).name).is_file()
        shown_as, path = f"config.yaml: datasets.{dataset}.path: {self.path}", None
        try:
            path = _find({**self.raw_spec(), "path": self.path}, dataset, self.mirror, was_downloaded)
            if path is None:
                return
            shown_as = f"config.yaml: datasets.{dataset}.path: {path}"
            if (found := find_classes(path, shown_as, self.encoding)) is not None:
                _check_classes(shown_as, found, self.classes)
        except OSError as error:
            raise UserError(f"{shown_as}: {error.filename or path}: {error.strerror}; correct or remove it.") from None

    def prepare_arguments(self) -> list[str]:
        given = {"--max-megapixels": self.max_megapixels, "--bit-depth": self.bit_depth}
        return [word for option, value in _without_none(given).items() for word in (option, str(value))]

    def prepared_spec(self) -> dict:
        bit_depth = None if self.bit_depth == 16 else self.bit_depth  # 16 only silences the warning of dim images
        return {**super().prepared_spec(), "classes": self.classes, **_without_none({"bit_depth": bit_depth})}


def _without_none(keys: dict) -> dict:
    return {key: value for key, value in keys.items() if value is not None}


def _shortest(path: str) -> str:
    """Return the one way to write a path: from the working directory where it lies below that, without `.` and `..`."""
    full = os.path.normpath(os.path.expanduser(path))
    inside = os.path.relpath(full) if os.path.isabs(full) else full
    return full if inside == ".." or inside.startswith(f"..{os.sep}") else inside


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Copy an archive into `folder`, or hash a folder's images where they are; return the content of raw.json.

    Raises:
        UserError: there is no such folder or archive, or it has the wrong hash or another layout.
    """
    from deepnets.data import archive, download, raw_files

    path, sha256, encoding = raw_spec["path"], raw_spec.get("sha256"), raw_spec.get("encoding")
    file = raw_files.RawFile(PurePosixPath(path).name, path=path, sha256=sha256)
    found = _find(raw_spec, dataset, mirror, file.is_in(folder))
    if found is not None and found.is_dir():
        return _list_folder(found, dataset)
    download.fetch(file, folder, dataset, mirror, max_gb)
    shown_as = str(found or path)
    try:
        read_layout(shown_as, archive.list_members(folder / file.name, shown_as, encoding))
    except UserError:
        (folder / file.name).unlink()
        raise
    return raw_files.manifest(dataset, folder, [file.name])


def _find(raw_spec: dict, dataset: str, mirror: str | None, was_downloaded: bool) -> Path | None:
    """Find the user's folder or archive; None if the archive is downloaded, or was downloaded before.

    Raises:
        UserError: there is no such folder or archive, or a key is given that does not fit it.
    """
    from deepnets.data.archive import SUFFIXES

    path = raw_spec["path"]
    found = find_local(path, dataset, mirror)
    key = f"config.yaml: datasets.{dataset}.path is {path!r}"
    if found is not None and found.is_dir():
        for given in sorted({"sha256", "encoding"} & raw_spec.keys()):
            raise UserError(
                f"config.yaml: datasets.{dataset}.{given} is for archives, but path {path!r} is a folder; remove it."
            )
        return found
    if found is None and "://" not in (mirror or "") and not was_downloaded:
        searched = ", ".join(str(each.absolute()) for each in search_paths(path, dataset, mirror))
        raise UserError(
            f"{key}, which does not exist (searched: {searched}). Correct it or put it there, or name the folder that"
            f" has it: {MIRROR_VARIABLE}=<folder>, or `mirror:` of datasets.{dataset} in config.yaml."
        )
    if not path.lower().endswith(SUFFIXES) or (found is not None and not found.is_file()):
        raise UserError(f"{key}, neither a folder nor an archive ({', '.join(SUFFIXES)}); give one of these.")
    return found


def _list_folder(path: Path, dataset: str) -> dict:
    from deepnets.data import raw_files

    with _unreadable_named(path):
        names = read_layout(str(path), list_folder(path)).names()
        return {**raw_files.manifest(dataset, path, names), "folder": str(path)}


@contextlib.contextmanager
def _unreadable_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # a link that leads nowhere, a folder or file that is gone or may not be read
        raise UserError(f"{error.filename or folder}: {error.strerror}; correct or remove it.") from None


def read(options: Options, raw: "Raw") -> "ImageSource":
    """List the images; each block is read and decoded when its task runs.

    Raises:
        UserError: wrong layout or number of classes, changed or damaged files, unsafe archives; the tasks raise it too.
    """
    from deepnets.data import archive
    from deepnets.data.image_source import ImageSource

    if raw.in_place:
        shown_as = str(raw.folder)
        with _unreadable_named(raw.folder):
            layout = read_layout(shown_as, list_folder(raw.folder))
        if difference := set(layout.names()) ^ set(raw.sha256):
            raise raw.changed(min(difference))
        tasks = _folder_tasks(raw, layout, options)
    else:
        name = PurePosixPath(options.path).name
        shown_as, path = options.path, raw.verified(name)
        layout = read_layout(shown_as, archive.list_members(path, shown_as, options.encoding))
        members = archive.read_members(path, set(layout.names()), shown_as, options.encoding)
        tasks = _archive_tasks(shown_as, raw.sha256[name], members, layout, options)
    _check_classes(shown_as, layout.classes, options.classes)
    for first, second in case_twins(layout.classes):
        LOG.warning("%s: the classes %r and %r differ in upper and lower case alone", shown_as, first, second)
    labels = {split: np.array([label for _, label in images], np.int64) for split, images in layout.splits.items()}
    names = {split: [name for name, _ in images] for split, images in layout.splits.items()}
    return ImageSource(layout.classes, labels, tasks, names)


def _check_classes(shown_as: str, found: list[str], expected: int) -> None:
    if len(found) != expected:
        raise UserError(
            f"{shown_as}: {len(found)} class folders, but `classes` is {expected} in config.yaml; write"
            f" `classes: {len(found)}` or correct the folders: {', '.join(map(repr, found[:20]))}"
            f"{', ...' if len(found) > 20 else ''}."
        )


def _folder_tasks(raw: "Raw", layout: Layout, options: Options) -> Iterator["DecodeTask"]:
    from deepnets.data.image_source import DecodeTask, block_length

    positions = layout.positions()
    names = iter(positions)
    while block := list(itertools.islice(names, block_length(options.input_shape))):
        of_block = replace(raw, sha256={name: raw.sha256[name] for name in block})
        # The hashes are those of raw.json. Sizes and times show a later change without reading every image again.
        source_key = [(name, sha256, *_size_and_time(raw, name)) for name, sha256 in of_block.sha256.items()]
        yield DecodeTask([positions[name] for name in block], partial(_decode_files, of_block, options), source_key)


def _archive_tasks(
    shown_as: str, sha256: str, members: Iterator[tuple[str, bytes]], layout: Layout, options: Options
) -> Iterator["DecodeTask"]:
    from deepnets.data.image_source import DecodeTask, block_length

    positions = layout.positions()
    while block := _next_block(members, block_length(options.input_shape)):
        names = [name for name, _ in block]
        yield DecodeTask(
            [positions[name] for name in names], partial(_decode_members, shown_as, block, options), [sha256, names]
        )


def _next_block(members: Iterator[tuple[str, bytes]], length: int) -> list[tuple[str, bytes]]:
    """The next `length` members; fewer where they are large."""
    block: list[tuple[str, bytes]] = []
    size = 0
    while len(block) < length and size < _BLOCK_BYTES and (member := next(members, None)):
        block.append(member)
        size += len(member[1])
    return block


def _decode_files(raw: "Raw", options: Options) -> Iterator[np.ndarray | ValueError]:
    from deepnets.data.archive import MAX_MEMBER_BYTES

    for name in raw.sha256:
        size, _ = _size_and_time(raw, name)
        if size > MAX_MEMBER_BYTES:
            yield ValueError(f"{raw.folder}/{name}: has {size:,} bytes, more than any image; replace or remove it.")
        else:
            yield _decode(str(raw.folder), name, _read_unchanged(raw, name), options)


def _decode_members(
    shown_as: str, members: list[tuple[str, bytes]], options: Options
) -> Iterator[np.ndarray | ValueError]:
    for name, content in members:
        yield _decode(shown_as, name, content, options)


def _decode(shown_as: str, name: str, content: bytes, options: Options) -> np.ndarray | ValueError:
    from deepnets.data.decode import MAX_MEGAPIXELS, decode

    channels, size, _ = options.input_shape
    limit = MAX_MEGAPIXELS if options.max_megapixels is None else options.max_megapixels
    try:
        return decode(content, size, channels, limit, options.bit_depth, f"{shown_as}/{name}")
    except ValueError as error:
        return ValueError(f"{shown_as}/{name}: {error}.")


def _size_and_time(raw: "Raw", name: str) -> tuple[int, int]:
    try:
        status = (raw.folder / name).stat()
    except FileNotFoundError:
        raise raw.changed(name) from None
    return status.st_size, status.st_mtime_ns


def _read_unchanged(raw: "Raw", name: str) -> bytes:
    try:
        content = (raw.folder / name).read_bytes()
    except FileNotFoundError:
        raise raw.changed(name) from None
    if hashlib.sha256(content).hexdigest() != raw.sha256[name]:
        raise raw.changed(name)
    return content
