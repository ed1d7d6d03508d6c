"""Images on their way into arrays: decoding files, colour and size, and what a source hands to the prepare stage."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

CHUNK = 256  # images: a kill costs each process so many at most, and handing over a chunk costs little beside its work
_FORMATS = ("JPEG", "PNG", "WEBP")  # no other decoder of Pillow ever sees a user's bytes


@dataclass(frozen=True)
class DecodeTask:
    """Images that one process makes and writes; the chunk itself is pickled on its way there.

    places   (part, index) of each image
    make     gives them in that order, uint8 (H, W, C) each, or the ValueError that says what is wrong with one
    origin   JSON-able, all that they are made from; None where making them takes no longer than looking for them
    """

    places: list[tuple[str, int]]
    make: Callable[[], Iterable[np.ndarray | ValueError]]
    origin: Any = None


@dataclass(frozen=True)
class ImageSource:
    """The content of a dataset before it is written.

    classes   names, by label
    labels    part -> int64 (N,)
    chunks    each image of each part once, in any order
    """

    classes: list[str]
    labels: dict[str, np.ndarray]
    chunks: Iterator[DecodeTask]


def from_arrays(
    classes: list[str], parts: dict[str, tuple[np.ndarray, np.ndarray]], input_shape: tuple[int, int, int]
) -> ImageSource:
    """ImageSource from arrays in memory.

    Args:
        classes: names, by label.
        parts: part -> images uint8 (N, h, w, c) with c 1 or 3, labels (N,) of any integer type.
        input_shape: (C, H, W) that the images are brought to.
    """

    channels, size, _ = input_shape
    chunks = (
        DecodeTask(
            [(part, start + index) for index in range(len(arrays[start : start + CHUNK]))],
            partial(_fit_all, arrays[start : start + CHUNK], size, channels),
        )
        for part, (arrays, _) in parts.items()
        for start in range(0, len(arrays), CHUNK)
    )
    return ImageSource(classes, {part: labels.astype(np.int64) for part, (_, labels) in parts.items()}, chunks)


def _fit_all(arrays: np.ndarray, size: int, channels: int) -> Iterator[np.ndarray]:
    fits = arrays.shape[1:] == (size, size, channels)
    for array in arrays:
        yield array if fits else fit(Image.fromarray(array.squeeze()), size, channels)


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """An image file as uint8 (size, size, channels).

    Upright by its EXIF orientation; transparent parts on white; 16 bits a channel scaled to 8; CMYK to RGB; the first
    frame of an animation.

    Raises:
        ValueError: the bytes are no whole jpg, png or webp, or hold more pixels than Pillow's limit for bombs.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        image = ImageOps.exif_transpose(image)
        image.load()
        return fit(image, size, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except UnidentifiedImageError:  # its own words are a memory address
        raise ValueError("not a whole jpg, png or webp image") from None
    except Exception as error:  # decoders meet damage with any exception: OSError, SyntaxError, struct.error ...
        raise ValueError(f"not a whole jpg, png or webp image: {error}") from None


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """An image as uint8 (size, size, channels): the largest centred square of it, resized bilinearly with antialiasing.

    Colour to gray by ITU-R 601-2 luma (Pillow's "L"); gray to colour by repeating the channel.
    """
    image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):  # "I;16" and, in older Pillow, "I": a gray PNG of 16 bits
        return image
    return Image.fromarray(np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
