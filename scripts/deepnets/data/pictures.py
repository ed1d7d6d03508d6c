"""Pictures that a user names, to be predicted: found by path, and decoded as the images of a dataset are.

Here is no torch: the processes that decode start in a moment.
"""

import glob
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from deepnets.data.archive import FOLDER_OPTION, MAX_MEMBER_BYTES, list_members, try_members
from deepnets.data.archive import SUFFIXES as ARCHIVES
from deepnets.data.decode import MAX_MEGAPIXELS, decode_and_look, fit, quiet_pillow
from deepnets.data.decode_options import NonSquare
from deepnets.data.folder_tree import is_ignored, is_image
from deepnets.data.ink import to_bright_on_black
from deepnets.data.member_names import ENCODING_OPTION
from deepnets.utils.errors import UserError
from deepnets.utils.text import first_few, one_line

BLOCK_PICTURES = 128  # that a process decodes at once,
_DECODED_BYTES = 2**22  # and fewer if they are large: a process hands them over in one piece,
_BLOCK_BYTES = 2**23  # or their files are large in an archive: they are in memory
_NOT_8_BITS = ("I", "F", "LAB")  # starts of Pillow's names of such pixels
_OPTION_OF_CONFIG = re.compile(r"write `max_megapixels: (\d+)` for this dataset in config.yaml")

Pixels = np.ndarray  # uint8 (size, size, channels)


class Form(NamedTuple):
    """What a network takes: square images of `size` pixels with 1 or 3 channels; `bit_depth` is that of its dataset."""

    size: int
    channels: int
    bit_depth: int | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    non_square: NonSquare = "crop"


class Place(NamedTuple):
    """A file, or a member of an archive."""

    path: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The name that the user reads: a.png, pictures.zip/a.png."""
        return self.path if self.member is None else f"{self.path}/{self.member}"


def find(arguments: Iterable[str], encoding: str | None = None) -> tuple[list[Place], list[str]]:
    """List the pictures of files, folders, archives and glob patterns, in this order; one that is named twice is once.

    A file that is named is always taken. Of a folder, with those below it, and of an archive, the files are taken
    whose names end as those of images do, without what desktops leave. A folder's are sorted by name.

    Args:
        arguments: what the user names.
        encoding: of names in archives that do not say theirs.

    Returns:
        The pictures, and a line for each argument that leads to none, and for each folder that cannot be read.
    """
    places, problems = dict[Place, None](), list[str]()
    for argument in arguments:
        reported = len(problems)
        found = _places(argument, encoding, problems)
        if not found and len(problems) == reported:
            problems.append(f"{argument}: there are no pictures here; correct the path.")
        places.update(dict.fromkeys(found))
    return list(places), list(map(one_line, problems))


def _places(argument: str, encoding: str | None, problems: list[str]) -> list[Place]:
    try:
        mode = os.stat(argument).st_mode
        if stat.S_ISDIR(mode):
            return [Place(file) for file in sorted(_walk(argument, problems), key=lambda file: file.split(os.sep))]
        if stat.S_ISREG(mode) and argument.lower().endswith(ARCHIVES):
            members = list_members(Path(argument), encoding=encoding)
            return [Place(str(Path(argument)), name) for name in members if _is_picture(name)]
        return [Place(str(Path(argument)))]
    except UserError as error:
        problems.append(_in_command(str(error)))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte
        if glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))
            return [place for match in matches for place in _places(match, encoding, problems)]
        problems.append(f"{argument}: does not exist; correct the path.")
    except OSError as error:
        problems.append(_unreadable(error, argument))
    return []


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
        yield from (start + name for name in files if is_image(name) and not is_ignored(name))


def _is_picture(member: str) -> bool:
    return is_image(member) and not any(map(is_ignored, member.split("/")))


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
    places: Iterable[Place], length: int = BLOCK_PICTURES, encoding: str | None = None
) -> Iterator[list[tuple[str, Content]]]:
    """Yield the pictures by name, in blocks: files by their path, members of archives with their bytes.

    Args:
        places: the pictures.
        length: how many a block has; fewer where members of archives are large.
        encoding: as of `find`.
    """
    pictures = _read(places, encoding)
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


def _read(places: Iterable[Place], encoding: str | None) -> Iterator[tuple[str, Content]]:
    for path, group in itertools.groupby(places, key=lambda place: place.path):
        members = [place.member for place in group if place.member is not None]
        if not members:
            yield path, path
            continue
        for member, content in try_members(Path(path), dict.fromkeys(members), encoding):
            place = Place(path, member)
            yield place.name, content if isinstance(content, bytes) else _lost(place, content)


def _lost(place: Place, error: Exception) -> Problem:
    """Say why a member cannot be read, by the error of its archive, whose message starts with the archive's name."""
    line = _unreadable(error, place.path) if isinstance(error, OSError) else _in_command(str(error))
    return Problem(one_line(f"{place.name}: {line.removeprefix(f'{place.path}: ')}"))


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
                read = [look_at(data, form, invert) for form in forms]
            except ValueError as error:
                problems.append(one_line(f"{name}: {error}."))
                continue
            for of_form, each in zip(images, read, strict=True):
                of_form[len(names)] = each.pixels
            names.append(name)
            if any(each.is_dim for each in read):
                dim.append(name)
    return Decoded(names, [of_form[: len(names)] for of_form in images], problems, dim)


def dim_line(names: Sequence[str]) -> str:
    """Return the warning of pictures that nearly lose their contrast."""
    return one_line(
        f"{first_few(names)}: of 16 bits with hardly a value above a quarter of white, so that the network gets nearly"
        " black; if their values have fewer bits, convert them to 8 bits first"
    )


class Read(NamedTuple):
    """A picture as a network takes it, and whether it nearly loses its contrast, as of `deepnets.data.decode.Dim`."""

    pixels: Pixels
    is_dim: bool


def to_pixels(
    picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form, invert: bool = False
) -> Pixels:
    """Turn a picture into what the network was trained on: upright, fitted into a square as its images were, in 8 bits.

    Args:
        picture: the path or the bytes of an image file, decoded as a dataset's is; a picture of Pillow, or an array,
            uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is opacity.
        form: what the network takes.
        invert: make bright what is dark and dark what is bright, as for ink on paper where the training images are
            bright on black; see `to_bright_on_black`.

    Returns:
        uint8 (size, size, channels).

    Raises:
        ValueError: it is no such thing; with what to do.
    """
    return look_at(picture, form, invert).pixels


def look_at(picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form, invert: bool = False) -> Read:
    """Do as `to_pixels`, and say whether the picture is dim."""
    pixels, is_dim = _as_in_training(picture, form)
    return Read(to_bright_on_black(pixels) if invert else pixels, is_dim)


def _as_in_training(picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form) -> Read:
    if isinstance(picture, Image.Image):
        return Read(_of_image(picture, form), False)
    if isinstance(picture, np.ndarray):
        return Read(_of_array(picture, form), False)
    data = picture if isinstance(picture, bytes) else _file_bytes(picture)
    try:
        pixels, dim = decode_and_look(
            data, form.size, form.channels, form.max_megapixels, form.bit_depth, form.non_square
        )
    except ValueError as error:
        raise ValueError(_OPTION_OF_CONFIG.sub(r"take more with max_megapixels \1", str(error))) from None
    return Read(pixels, dim is not None)


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
