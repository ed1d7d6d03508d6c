"""A folder or an archive of images: train/<class>/* and test/<class>/*, jpg, png or webp."""

import hashlib
import itertools
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from deepnets.data.search_paths import MIRROR_VARIABLE, find_local, places
from deepnets.data.sources import SPLITS, DatasetOptions, ImageSide
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.text import shortened

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, undecodable bytes, line ends
_DEEPEST = 4  # folders: one level below <top>/train/<class>, so that what lies too deep is seen and links cannot loop
_BLOCK_BYTES = 2**25  # of an archive's members that are in memory for one process
_ENDS = 2**16  # bytes of an archive's start and end


class Options(DatasetOptions):
    """A user's own images. `size` is required: images of mixed sizes become squares of one size."""

    source: Literal["folder"]
    path: str = Field(
        min_length=1,
        description="Folder, or archive (.zip, .tar, .tar.gz, .tgz, .tar.xz), with train/<class>/* and test/<class>/*;"
        " a relative path is looked up from the working directory, then in the folder DEEPNETS_MIRROR.",
    )
    classes: Annotated[int, Field(ge=2, strict=True)] = Field(description="Number of classes (folders below train).")
    size: ImageSide = Field(description="Side of the prepared images in pixels.")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the archive, in lower-case hexadecimal; needed where it is downloaded.",
    )

    @property
    def native_shape(self) -> tuple[int, int, int]:
        return (3, self.size, self.size)  # files may mix grayscale and colour: RGB holds both

    @property
    def num_classes(self) -> int:
        return self.classes

    @property
    def native_flips(self) -> bool:
        return False  # nobody but the user knows whether a mirrored image keeps its class

    @property
    def own_files(self) -> str | None:
        return None if "://" in (self.mirror or "") else self.path

    def raw_spec(self) -> dict:
        spec = {"source": self.source, "path": self.path}
        return spec if self.sha256 is None else {**spec, "sha256": self.sha256}

    def local_state(self, dataset: str) -> str | None:
        """Digest of a folder's or an archive's state; None where `sha256` pins the content or nothing can be read.

        Cheap, as it is asked for at every start of Snakemake; `fingerprint` says what it does not see.
        """
        if self.sha256 is not None:
            return None
        try:
            place = find_local(self.path, dataset, self.mirror)
            return None if place is None else fingerprint(place)
        except (OSError, UserError):  # the download says it, with the way out
            return None

    def prepared_spec(self) -> dict:
        return {**super().prepared_spec(), "classes": self.classes}


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path) -> dict:
    """Copy an archive into `folder`; hash a folder's images where they are. Returns what raw.json says.

    Raises:
        UserError: there is no such folder or archive, it has the wrong hash or another layout.
    """
    from deepnets.data import archive, download, raw_files

    path, sha256 = raw_spec["path"], raw_spec.get("sha256")
    place = find_local(path, dataset, mirror)
    if place is not None and place.is_dir():
        if sha256:
            raise UserError(
                f"config.yaml: datasets.{dataset}.sha256 is for archives, but path {path!r} is a folder; remove it."
            )
        try:
            files = layout(str(place), list_folder(place)).names()
            return {**raw_files.manifest(dataset, place, files), "folder": str(place)}
        except OSError as error:  # a link that leads nowhere, a folder or file of somebody else
            raise UserError(f"{error.filename or place}: {error.strerror}; mend or remove it.") from None
    key = f"config.yaml: datasets.{dataset}.path is {path!r}"
    file = raw_files.RawFile(PurePosixPath(path).name, path=path, sha256=sha256)
    if place is None and "://" not in (mirror or "") and not file.is_in(folder):
        searched = ", ".join(str(each.absolute()) for each in places(path, dataset, mirror))
        raise UserError(
            f"{key}, which is not there (searched: {searched}). Correct it or put it there, or name the folder that"
            f" has it: {MIRROR_VARIABLE}=<folder>, or `mirror:` of datasets.{dataset} in config.yaml."
        )
    if not path.lower().endswith(archive.SUFFIXES):
        raise UserError(f"{key}, neither a folder nor an archive ({', '.join(archive.SUFFIXES)}); give one of these.")
    download.fetch(file, folder, dataset, mirror)
    try:
        layout(str(place or path), archive.list_members(folder / file.name, str(place or path)))
    except UserError:
        (folder / file.name).unlink()
        raise
    return raw_files.manifest(dataset, folder, [file.name])


def read(options: Options, raw):
    """The images as deepnets.data.decode.ImageSource, decoded where and when a chunk is asked for them.

    Raises:
        UserError: wrong layout or number of classes, changed or damaged files, unsafe archives; also by its chunks.
    """
    from deepnets.data import archive
    from deepnets.data.decode import ImageSource

    if raw.in_place:
        place = str(raw.folder)
        files = layout(place, list_folder(raw.folder))
        if difference := set(files.names()) ^ set(raw.sha256):
            raise raw.changed(min(difference))
        chunks = _chunks_of_folder(raw, files, options)
    else:
        name = PurePosixPath(options.path).name
        place, path = options.path, raw.verified(name)
        files = layout(place, archive.list_members(path, place))
        members = archive.read_members(path, set(files.names()), place)
        chunks = _chunks_of_archive(place, raw.sha256[name], members, files, options)
    if len(files.classes) != options.classes:
        raise UserError(
            f"{place}: {len(files.classes)} class folders, but `classes` is {options.classes} in config.yaml; write"
            f" `classes: {len(files.classes)}` or mend the folders: {', '.join(map(repr, files.classes[:20]))}"
            f"{', ...' if len(files.classes) > 20 else ''}."
        )
    labels = {part: np.array([label for _, label in files.parts[part]], np.int64) for part in SPLITS}
    return ImageSource(files.classes, labels, chunks)


def _chunks_of_folder(raw, files: "Layout", options: Options) -> Iterator:
    from deepnets.data.decode import CHUNK, DecodeTask

    places = files.places()
    names = iter(places)
    while block := list(itertools.islice(names, CHUNK)):
        of_block = replace(raw, sha256={name: raw.sha256[name] for name in block})
        # Hashes would say all, but reading every image again to hash it is most of the work that a resume saves.
        origin = [(name, sha256, *_size_and_time(raw, name)) for name, sha256 in of_block.sha256.items()]
        yield DecodeTask([places[name] for name in block], partial(_decode_files, of_block, options), origin)


def _chunks_of_archive(
    place: str, sha256: str, members: Iterator[tuple[str, bytes]], files: "Layout", options: Options
) -> Iterator:
    from deepnets.data.decode import CHUNK, DecodeTask

    places = files.places()
    while block := _block(members, CHUNK):
        names = [name for name, _ in block]
        yield DecodeTask(
            [places[name] for name in names], partial(_decode_members, place, block, options), [sha256, names]
        )


def _block(members: Iterator[tuple[str, bytes]], most: int) -> list[tuple[str, bytes]]:
    """The next members: `most` of them, fewer where they are large."""
    block, size = [], 0
    while len(block) < most and size < _BLOCK_BYTES and (member := next(members, None)):
        block.append(member)
        size += len(member[1])
    return block


def _decode_files(raw, options: Options) -> Iterator[np.ndarray | ValueError]:
    for name in raw.sha256:
        yield _decode(str(raw.folder), name, _read_unchanged(raw, name), options)


def _decode_members(
    place: str, members: list[tuple[str, bytes]], options: Options
) -> Iterator[np.ndarray | ValueError]:
    for name, content in members:
        yield _decode(place, name, content, options)


def _decode(place: str, name: str, content: bytes, options: Options) -> np.ndarray | ValueError:
    from deepnets.data.decode import decode

    channels, size, _ = options.input_shape
    try:
        return decode(content, size, channels)
    except ValueError as error:
        return ValueError(f"{place}/{name}: {error}; replace or remove it.")


def _size_and_time(raw, name: str) -> tuple[int, int]:
    try:
        status = (raw.folder / name).stat()
    except FileNotFoundError:
        raise raw.changed(name) from None
    return status.st_size, status.st_mtime_ns


def _read_unchanged(raw, name: str) -> bytes:
    try:
        content = (raw.folder / name).read_bytes()
    except FileNotFoundError:
        raise raw.changed(name) from None
    if hashlib.sha256(content).hexdigest() != raw.sha256[name]:
        raise raw.changed(name)
    return content


@dataclass(frozen=True)
class Layout:
    """Which images a folder or an archive holds.

    classes   class names by label: in order of their code points, as torchvision's ImageFolder has them
    parts     part -> (file name, label) of each image, by label, then name; its place is the image's index
    """

    classes: list[str]
    parts: dict[str, list[tuple[str, int]]]

    def names(self) -> list[str]:
        """File names of all images, the training part first."""
        return list(self.places())

    def places(self) -> dict[str, tuple[str, int]]:
        """Split and index of each image, by its file name, the training part first."""
        return {name: (part, index) for part in SPLITS for index, (name, _) in enumerate(self.parts[part])}


def fingerprint(place: Path) -> str:
    """Digest of what can be seen of a folder's images or an archive without reading them all; not of times or place.

    100,000 images take a second: of a folder it sees names and sizes below train and test, of an archive the size, the
    start and the end. An image replaced by one of the same size in bytes is not seen, nor a change inside a large
    archive that moves nothing. Times would tell, but could train everything again for a fresh copy of the same images.

    Raises:
        OSError: something cannot be read.
    """
    if place.is_dir():
        entries = [(name, entry) for name, entry in _walk(place) if not set(SPLITS).isdisjoint(name.split("/")[:2])]
        sizes = {name: 0 if name.endswith("/") else entry.stat().st_size for name, entry in entries}
        return sha256_text(canonical_json(sizes))
    with open(place, "rb") as file:
        size, start = place.stat().st_size, file.read(_ENDS)
        file.seek(max(0, size - _ENDS))
        return hashlib.sha256(b"%d %b %b" % (size, start, file.read())).hexdigest()


def list_folder(root: Path) -> list[str]:
    """Names of all files and folders below `root`, relative to it; those of folders end with `/`. Follows links."""
    return [name for name, _ in _walk(root)]


def _walk(folder: Path | str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, os.DirEntry]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if _is_ignored(entry.name):
                continue
            if entry.is_dir():
                yield f"{name}/", entry
                if depth < _DEEPEST:
                    yield from _walk(entry.path, f"{name}/", depth + 1)
            else:
                yield name, entry


def layout(place: str, names: list[str]) -> Layout:
    """Sort names into parts and classes. What lies beside train/ and test/, hidden files and Thumbs.db do not count.

    Args:
        place: the folder or archive, for messages.
        names: of its files and folders, relative, with `/`; those of folders end with `/`.

    Raises:
        UserError: one line for each thing out of place, a class that a part lacks, an empty class.
    """
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    paths = [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(_is_ignored, path.parts))]
    top = _top_folder(place, [path for path, _ in paths])
    found = {part: {} for part in SPLITS}  # part -> class -> names of its images
    problems = []
    for path, is_folder in paths:
        inside = path.parts[len(top) :] if path.parts[: len(top)] == top else ()
        if not inside or inside[0] not in SPLITS:
            continue
        if problem := _problem(inside, is_folder):
            problems.append(f"{place}/{_printable(str(path))}: {problem}.")
        elif len(inside) > 1:
            images = found[inside[0]].setdefault(unicodedata.normalize("NFC", inside[1]), [])
            if not is_folder:
                images.append(str(path))
    classes = sorted(set().union(*found.values()))
    for part, name in itertools.product(SPLITS, classes):
        if name not in found[part]:
            problems.append(f"{place}: {part}/{name} is missing; every class needs images in train and in test.")
        elif not found[part][name]:
            problems.append(f"{place}: {part}/{name} has no images; add some or remove the class from train and test.")
    if problems:
        raise UserError(shortened(problems))
    if not classes:
        raise _no_images(place)
    parts = {part: [(n, label) for label, c in enumerate(classes) for n in sorted(found[part][c])] for part in SPLITS}
    return Layout(classes, parts)


def _problem(inside: tuple[str, ...], is_folder: bool) -> str | None:
    """What is wrong with something below train or test, whose path starts there; None if nothing is."""
    name = "/".join(inside)
    if name != _printable(name):
        return "its name has control characters or is not UTF-8; rename it"
    if is_folder:
        return None
    if len(inside) != 3:
        return f"expected {inside[0]}/<class>/<image>; move or remove it"
    if not name.lower().endswith(_SUFFIXES):
        return f"not one of {', '.join(_SUFFIXES)}; convert or remove it"
    return None


def _printable(name: str) -> str:
    return ascii(name) if any(unicodedata.category(character) in _UNPRINTABLE for character in name) else name


def _top_folder(place: str, paths: list[PurePosixPath]) -> tuple[str, ...]:
    """() where train and test lie at the top; (name,) where they lie in the one folder of that name."""
    if {path.parts[0] for path in paths} & set(SPLITS):
        return ()
    holders = {path.parts[0] for path in paths if len(path.parts) > 1 and path.parts[1] in SPLITS}
    if len(holders) == 1:
        return (holders.pop(),)
    raise _no_images(place)


def _no_images(place: str) -> UserError:
    return UserError(f"{place}: no images found; expected train/<class>/<image> and test/<class>/<image>.")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")
