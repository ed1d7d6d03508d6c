"""Pictures that a user names, to be predicted: found by path, and decoded as the images of a dataset are.

Here is no torch: the processes that decode start in a moment.
"""

import glob
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from deepnets.data.archive import MAX_MEMBER_BYTES, list_members, read_members
from deepnets.data.archive import SUFFIXES as ARCHIVES
from deepnets.data.decode import MAX_MEGAPIXELS, DimImageWarning, decode, fit
from deepnets.data.folder_tree import is_ignored, is_image
from deepnets.data.sources import NonSquare
from deepnets.utils.errors import UserError

BLOCK_PICTURES = 32  # that a process decodes at once,
_BLOCK_BYTES = 2**25  # and fewer of an archive if they are large: they are in memory
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

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """The name that the user reads: a.png, pictures.zip/a.png."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"


def find(arguments: Iterable[str]) -> tuple[list[Place], list[str]]:
    """List the pictures of files, folders, archives and glob patterns, in this order; one that is named twice is once.

    A file that is named is always taken. Of a folder, with those below it, and of an archive, the files are taken
    whose names end as those of images do, without what desktops leave. A folder's are sorted by name.

    Returns:
        The pictures, and a line for each argument that leads to none.
    """
    places, problems = list[Place](), list[str]()
    for argument in arguments:
        try:
            found = _places(argument)
        except UserError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{error.filename or argument}: {error.strerror}; correct the path or its permissions.")
            continue
        if not found:
            problems.append(f"{argument}: there are no pictures here; correct the path.")
        places += found
    return list(dict.fromkeys(places)), problems


def _places(argument: str) -> list[Place]:
    path = Path(argument)
    if path.is_dir():
        return [Place(file) for file in sorted(_walk(path))]
    if not path.exists() and glob.has_magic(argument):
        return [place for match in sorted(glob.glob(argument, recursive=True)) for place in _places(match)]
    if path.is_file() and argument.lower().endswith(ARCHIVES):
        members = (name for name in list_members(path) if not name.endswith("/"))
        return [Place(path, name) for name in members if _is_picture(Path(name))]
    if not path.exists():
        raise UserError(f"{argument}: does not exist; correct the path.")
    return [Place(path)]


def _walk(root: Path) -> Iterator[Path]:
    """Yield the pictures of a folder and of those below it; each folder once, also if links lead to it again."""
    seen = set[tuple[int, int]]()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not is_ignored(name)]
        yield from (Path(folder, name) for name in files if _is_picture(Path(name)))


def _is_picture(name: Path) -> bool:
    return is_image(name.name) and not any(map(is_ignored, name.parts))


# -- reading and decoding ----------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """Why a picture has no prediction: a line that starts with its name."""

    line: str


Content = Path | bytes | Problem


def read_blocks(places: Iterable[Place]) -> Iterator[list[tuple[str, Content]]]:
    """Yield the pictures by name, in blocks: files by their path, members of archives with their bytes."""
    pictures = _read(places)
    while first := next(pictures, None):
        block, size = [first], 0
        for each in itertools.islice(pictures, BLOCK_PICTURES - 1):
            block.append(each)
            size += len(each[1]) if isinstance(each[1], bytes) else 0
            if size > _BLOCK_BYTES:
                break
        yield block


def _read(places: Iterable[Place]) -> Iterator[tuple[str, Content]]:
    for path, group in itertools.groupby(places, key=lambda place: place.path):
        members = {place.member for place in group if place.member is not None}
        if not members:
            yield str(path), path
            continue
        try:
            yield from ((Place(path, name).name, content) for name, content in read_members(path, members))
        except (UserError, OSError) as error:
            yield str(path), Problem(str(error))


def decode_block(
    block: list[tuple[str, Content]], forms: list[Form], invert: bool = False
) -> list[tuple[str, list[Pixels] | Problem]]:
    """Decode a block of pictures for each of some networks, or say what is wrong with one."""
    return [
        (name, content if isinstance(content, Problem) else _pixels_or_problem(name, content, forms, invert))
        for name, content in block
    ]


def _pixels_or_problem(name: str, content: Path | bytes, forms: list[Form], invert: bool) -> list[Pixels] | Problem:
    try:
        data = _file_bytes(content) if isinstance(content, Path) else content
        return [to_pixels(data, form, invert) for form in forms]
    except ValueError as error:
        return Problem(f"{name}: {error}.")


def to_pixels(
    picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form, invert: bool = False
) -> Pixels:
    """Turn a picture into what the network was trained on: upright, fitted into a square as its images were, in 8 bits.

    Args:
        picture: the path or the bytes of an image file, decoded as a dataset's is; a picture of Pillow, or an array,
            uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is opacity.
        form: what the network takes.
        invert: make bright what is dark and dark what is bright, as for ink on paper where the training images are
            bright on dark.

    Returns:
        uint8 (size, size, channels).

    Raises:
        ValueError: it is no such thing; with what to do.
    """
    pixels = _as_in_training(picture, form)
    return 255 - pixels if invert else pixels


def _as_in_training(picture: str | os.PathLike | bytes | Image.Image | np.ndarray, form: Form) -> Pixels:
    if isinstance(picture, Image.Image):
        return _of_image(picture, form)
    if isinstance(picture, np.ndarray):
        return _of_array(picture, form)
    data = picture if isinstance(picture, bytes) else _file_bytes(Path(picture))
    try:
        with warnings.catch_warnings():  # the training images were as dim, and the log of their preparation said it
            warnings.simplefilter("ignore", DimImageWarning)
            return decode(
                data, form.size, form.channels, form.max_megapixels, form.bit_depth, non_square=form.non_square
            )
    except ValueError as error:
        raise ValueError(_OPTION_OF_CONFIG.sub(r"take more with max_megapixels \1", str(error))) from None


def _file_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ValueError("does not exist, or is no file; correct the path")
        if (size := path.stat().st_size) > MAX_MEMBER_BYTES:
            raise ValueError(f"has {size:,} bytes, more than any image; replace or remove it")
        return path.read_bytes()
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
