"""Pictures that a user names, to be predicted: found by path, and decoded as the images of a dataset are.

Here is no torch: the processes that decode start in a moment.
"""

import contextlib
import glob
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from deepnets.data.archive import FOLDER_OPTION, MAX_MEMBER_BYTES, list_undamaged, try_members
from deepnets.data.decode import decode, fit, quiet_pillow
from deepnets.data.decode_options import DEFAULT_MEGAPIXELS, NonSquare
from deepnets.data.file_kinds import kind_by_name
from deepnets.data.folder_tree import is_ignored, is_image
from deepnets.data.ink import to_bright_on_black
from deepnets.data.member_names import ENCODING_OPTION
from deepnets.utils.errors import UserError
from deepnets.utils.text import first_few, one_line

BLOCK_PICTURES = 128  # that a process decodes at once,
_DECODED_BYTES = 2**22  # and fewer if they are large: a process hands them over in one piece,
_BLOCK_BYTES = 2**23  # or their files are large in an archive: they are in memory
# Endings of pictures that no dataset may have, as cameras and phones write them: a folder does not hide them.
_NOT_READ = (
    *(".heic", ".heif", ".jxl", ".jp2", ".j2k", ".psd", ".tga", ".svg", ".exr", ".hdr", ".dcm"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
)
_NOT_8_BITS = ("I", "F", "LAB")  # starts of Pillow's names of such pixels
_OPTION_OF_CONFIG = re.compile(r"write `max_megapixels: (\d+)` for this dataset in config.yaml")

Pixels = np.ndarray  # uint8 (size, size, channels)


class Form(NamedTuple):
    """What a network takes: square images of `size` pixels with 1 or 3 channels; `bit_depth` is that of its dataset."""

    size: int
    channels: int
    bit_depth: int | None = None
    max_megapixels: float = DEFAULT_MEGAPIXELS
    non_square: NonSquare = "crop"


class PictureFile(NamedTuple):
    """A file, or a member of an archive."""

    path: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The name that the user reads: a.png, pictures.zip/a.png."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def read_names(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what a command names, for "-" the lines of standard input, and a line if it is empty."""
    names, problems = list[str](), list[str]()
    for argument in arguments:
        if argument != "-":
            names.append(argument)
            continue
        lines = map(os.fsdecode, sys.stdin.buffer)  # names of files are bytes
        listed = list(filter(None, (line.rstrip("\r\n") for line in lines)))
        names += listed
        if not listed:
            problems.append("-: the list on standard input is empty; write the name of a picture on each line.")
    return names, problems


def list_pictures(arguments: Iterable[str], encoding: str | None = None) -> tuple[list[PictureFile], list[str]]:
    """List the pictures of files, folders, archives and glob patterns, in this order; one that is named twice is once.

    A file that is named is always taken. Of a folder, with those below it, and of an archive, the files are taken
    whose names end as those of images do, without what desktops leave. A folder's are sorted by name.

    Args:
        arguments: what the user names.
        encoding: of names in archives that do not say theirs.

    Returns:
        The pictures, and a line for each argument that leads to none, for each folder that cannot be read, for each
        archive that is damaged, and for each picture in one of both whose ending is of a format that is not read.
    """
    files, problems = dict[PictureFile, None](), list[str]()
    for argument in arguments:
        reported = len(problems)
        found = _files_of(argument, encoding, problems)
        if not found and len(problems) == reported:
            problems.append(f"{argument}: there are no pictures here; correct the path.")
        files.update(dict.fromkeys(found))
    return list(files), list(map(one_line, dict.fromkeys(problems)))


def count_bytes(files: Iterable[PictureFile]) -> int:
    """Return how many bytes the files and archives have in all; those that cannot be read have none."""
    size = 0
    for path in {file.path for file in files}:
        with contextlib.suppress(OSError):
            size += os.stat(path).st_size
    return size


def _files_of(argument: str, encoding: str | None, problems: list[str]) -> list[PictureFile]:
    try:
        mode = os.stat(argument).st_mode
        if stat.S_ISDIR(mode):
            return [PictureFile(path) for path in sorted(_walk(argument, problems), key=_by_folder)]
        if stat.S_ISREG(mode) and kind_by_name(argument):
            path, (members, damage) = str(Path(argument)), list_undamaged(Path(argument), encoding)
            if damage is not None:
                problems.append(_in_command(str(damage)))
            members = [name for name in members if not any(map(is_ignored, name.split("/")))]
            return [PictureFile(path, name) for name in _pictures(members, f"{path}/", problems)]
        return [PictureFile(str(Path(argument)))]
    except UserError as error:
        problems.append(_in_command(str(error)))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte
        if glob.has_magic(argument):
            problems += _unreadable_folders(argument)
            matches = sorted(glob.glob(argument, recursive=True))
            return [file for match in matches for file in _files_of(match, encoding, problems)]
        problems.append(f"{argument}: does not exist; correct the path.")
    except OSError as error:
        problems.append(_unreadable(error, argument))
    return []


def _unreadable_folders(pattern: str) -> Iterator[str]:
    """Yield a line for each folder that a pattern looks into and that cannot be read: `glob` leaves it out silently."""
    for folder in dict.fromkeys(each.rstrip(os.sep) or os.sep for each in _folders_of(pattern)):
        try:
            os.scandir(folder).close()
        except OSError as error:
            yield _unreadable(error, folder)


def _folders_of(pattern: str) -> Iterator[str]:
    """Yield the folders that a pattern looks into: those above each part with magic, and those below a `**`."""
    parent, name = os.path.split(pattern)
    if glob.has_magic(parent):
        yield from _folders_of(parent)
    if glob.has_magic(name):
        yield from glob.iglob(os.path.join(parent, ""), recursive=True) if parent else [os.curdir]
    if name == "**":
        yield from glob.iglob(os.path.join(pattern, ""), recursive=True)


def _by_folder(path: str) -> list[str]:
    return path.split(os.sep)


def _walk(root: str, problems: list[str]) -> Iterator[str]:
    """Yield the pictures of a folder and of those below it; each folder once, also if links lead to it again."""

    def report(error: OSError) -> None:
        problems.append(_unreadable(error, root))

    seen = set[tuple[int, int]]()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=report):
        try:
            status = os.stat(folder)
        except OSError as error:
            report(error)
            folders.clear()
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not is_ignored(name)]
        start = str(Path(folder, "_"))[:-1]
        visible = (name for name in files if not is_ignored(name))
        yield from (start + name for name in _pictures(visible, start, problems))


def _pictures(names: Iterable[str], start: str, problems: list[str]) -> Iterator[str]:
    """Yield the names of pictures; report those of formats that are not read. `start` is what precedes each name."""
    for name in names:
        if is_image(name):
            yield name
        elif name.lower().endswith(_NOT_READ):
            problems.append(f"{start}{name}: pictures with this ending are not read; convert it to JPEG or PNG.")


def _unreadable(error: OSError, argument: str) -> str:
    return f"{error.filename or argument}: {error.strerror}; correct the path or its permissions."


def _in_command(message: str) -> str:
    """A message about an archive, without what only config.yaml has."""
    return message.replace(ENCODING_OPTION, "--encoding").replace(FOLDER_OPTION, "name the folder")


# -- reading and decoding ----------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """Why a picture has no prediction: a line that starts with its name."""

    line: str


Content = str | bytes | Problem


class Decoded(NamedTuple):
    """Pictures as networks take them.

    names     of those that could be decoded
    images    for each form, those pictures: uint8 (N, size, size, channels)
    problems  a line for each of the others
    dim       names of pictures that nearly lose their contrast, as of `deepnets.data.decode.Dim`
    """

    names: list[str]
    images: list[np.ndarray]
    problems: list[str]
    dim: list[str]


def block_length(forms: Sequence[Form]) -> int:
    """How many pictures a block has: a power of two, so that blocks make whole batches."""
    length, each = BLOCK_PICTURES, sum(form.size**2 * form.channels for form in forms)
    while length > 1 and length * each > _DECODED_BYTES:
        length //= 2
    return length


def read_blocks(
    files: Iterable[PictureFile], length: int = BLOCK_PICTURES, encoding: str | None = None
) -> Iterator[list[tuple[str, Content]]]:
    """Yield the pictures by name, in blocks: files by their path, members of archives with their bytes.

    Args:
        files: the pictures.
        length: how many a block has; fewer where members of archives are large.
        encoding: as of `list_pictures`.
    """
    pictures = _read(files, encoding)
    while first := next(pictures, None):
        block, size = [first], _bytes(first)
        for each in itertools.islice(pictures, length - 1) if size <= _BLOCK_BYTES else ():
            block.append(each)
            size += _bytes(each)
            if size > _BLOCK_BYTES:
                break
        yield block


def _bytes(picture: tuple[str, Content]) -> int:
    return len(picture[1]) if isinstance(picture[1], bytes) else 0


def _read(files: Iterable[PictureFile], encoding: str | None) -> Iterator[tuple[str, Content]]:
    for path, group in itertools.groupby(files, key=lambda file: file.path):
        members = [file.member for file in group if file.member is not None]
        if not members:
            yield path, path
            continue
        for member, content in try_members(Path(path), dict.fromkeys(members), encoding):
            file = PictureFile(path, member)
            yield file.name, content if isinstance(content, bytes) else _lost(file, content)


def _lost(file: PictureFile, error: Exception) -> Problem:
    """Say why a member cannot be read, by the error of its archive, whose message starts with the archive's name."""
    line = _unreadable(error, file.path) if isinstance(error, OSError) else _in_command(str(error))
    return Problem(one_line(f"{file.name}: {line.removeprefix(f'{file.path}: ')}"))


def decode_block(block: Sequence[tuple[str, Content]], forms: Sequence[Form], invert: bool = False) -> Decoded:
    """Decode a block of pictures for each of some networks, or say what is wrong with one."""
    names, problems, dim = list[str](), list[str](), list[str]()
    images = [np.empty((len(block), form.size, form.size, form.channels), np.uint8) for form in forms]
    with quiet_pillow:  # once, not for each picture
        for name, content in block:
            if isinstance(content, Problem):
                problems.append(content.line)
                continue
            try:
                data = _file_bytes(content) if isinstance(content, str) else content
                prepared = [prepare_picture(data, form, invert) for form in forms]
            except ValueError as error:
                problems.append(one_line(f"{name}: {error}."))
                continue
            for of_form, each in zip(images, prepared, strict=True):
                of_form[len(names)] = each.pixels
            names.append(name)
            if any(each.is_dim for each in prepared):
                dim.append(name)
    return Decoded(names, [of_form[: len(names)] for of_form in images], problems, dim)


def dim_line(names: Sequence[str]) -> str:
    """Return the warning of pictures that nearly lose their contrast."""
    return one_line(
        f"{first_few(names)}: of 16 bits with hardly a value above a quarter of white, so that the network gets nearly"
        " black; if their values have fewer bits, convert them to 8 bits first"
    )


class Prepared(NamedTuple):
    """A picture as a network takes it, and whether it nearly loses its contrast, as of `deepnets.data.decode.Dim`."""

    pixels: Pixels
    is_dim: bool


def prepare_picture(
    picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form, invert: bool = False
) -> Prepared:
    """Turn a picture into what the network was trained on: upright, fitted into a square as its images were, in 8 bits.

    Args:
        picture: the path or the bytes of an image file, decoded as a dataset's is; a picture of Pillow, or an array,
            uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is opacity.
        form: what the network takes.
        invert: make bright what is dark and dark what is bright, as for ink on paper where the training images are
            bright on black; see `to_bright_on_black`.

    Raises:
        ValueError: it is no such thing; with what to do.
    """
    pixels, is_dim = _as_in_training(picture, form)
    return Prepared(to_bright_on_black(pixels) if invert else pixels, is_dim)


def _as_in_training(picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form) -> Prepared:
    if isinstance(picture, Image.Image):
        return Prepared(_of_image(picture, form), False)
    if isinstance(picture, np.ndarray):
        return Prepared(_of_array(picture, form), False)
    data = picture if isinstance(picture, bytes) else _file_bytes(picture)
    try:
        pixels, dim = decode(data, form.size, form.channels, form.max_megapixels, form.bit_depth, form.non_square)
    except ValueError as error:
        raise ValueError(_OPTION_OF_CONFIG.sub(r"take more with max_megapixels \1", str(error))) from None
    return Prepared(pixels, dim is not None)


def _file_bytes(path: str | os.PathLike) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no file; correct the path")
        if status.st_size > MAX_MEMBER_BYTES:
            raise ValueError(f"has {status.st_size:,} bytes, more than any image; replace or remove it")
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError("does not exist; correct the path") from None
    except OSError as error:
        raise ValueError(f"{error.strerror}; correct the path or its permissions") from None


def _of_array(array: np.ndarray, form: Form) -> Pixels:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"an array must be uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), with values from 0 to 255 (got"
            f" {array.dtype} {array.shape})"
        )
    return fit(
        Image.fromarray(array[..., 0] if array.ndim == 3 and channels == 1 else array),
        form.size,
        form.channels,
        form.non_square,
    )


def _of_image(image: Image.Image, form: Form) -> Pixels:
    if image.mode.startswith(_NOT_8_BITS):
        raise ValueError(f"a picture of the mode {image.mode} is not of 8 bits; give its file, or convert it")
    try:
        return fit(ImageOps.exif_transpose(image), form.size, form.channels, form.non_square)
    except Exception as error:  # a picture of Pillow is decoded when it is used, and damage can raise anything
        raise ValueError(f"not a whole image: {error}; replace or remove it") from None
