"""Decode image files: format, colour, orientation and size."""

import contextlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from deepnets.data.decode_options import DEFAULT_MEGAPIXELS, LARGEST_MEGAPIXELS, NonSquare
from deepnets.data.file_kinds import AVIF, EMPTY, PACKED_KINDS, kind_of

# Texts and colour profiles of a PNG: Pillow refuses a whole image for one of a megabyte.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
# No other decoder of Pillow ever sees a user's bytes.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", *(["AVIF"] if features.check("avif") else []))
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # tags of EXIF and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FITS: dict[NonSquare, Callable[[Image.Image, tuple[int, int], Image.Resampling], Image.Image]]
_FITS = {"crop": ImageOps.fit, "pad": ImageOps.pad, "squash": Image.Image.resize}
_STRIP = 256  # pixels
_GRAY_MODES = ("1", "L", "LA", "La", "F", "I", "I;16", "I;16B", "I;16L", "I;16N")
# A Netpbm file up to the value that stands for white: kind, width, height.
_NETPBM_WHITE = re.compile(rb"P[2356]" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" * 3)
_USED_BITS = (8, 10, 12, 14)  # of 16; values of sensors have as many, and are dark as they stand
_ODD_PIXELS = 1000  # one of as many may be brighter: a few pixels of a sensor are stuck


class Dim(NamedTuple):
    """Nearly all values of a 16-bit image are below a quarter of white, so that it loses most of its contrast.

    used_bits  that hold these values: 8, 10, 12 or 14
    is_gray    whether `bit_depth` can say so
    """

    used_bits: int
    is_gray: bool


class DecodedImage(NamedTuple):
    """An image, uint8 (size, size, channels), and how dim its file is; None if it is not."""

    pixels: np.ndarray
    dim: Dim | None


def decode(
    data: bytes,
    size: int,
    channels: int,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
    bit_depth: int | None = None,
    non_square: NonSquare = "crop",
) -> DecodedImage:
    """Decode an image file to uint8 (size, size, channels), and find whether it is dim.

    The format is found by the content. The image is turned upright by its EXIF orientation, if that can be read.
    Transparent areas become white, 16 bits per channel become 8, CMYK becomes RGB. The first frame of an animation and
    the first page of a TIFF are used.

    Args:
        data: the file's bytes.
        size: height and width of the result in pixels.
        channels: 1 or 3.
        max_megapixels: an image with more is refused before its pixels are decoded.
        bit_depth: how many bits a value has in gray images of 16 bits; with 12, 4095 is white. None: 16.
        non_square: as for `fit`.

    Raises:
        ValueError: the bytes are not a whole image of a known format, or have too many pixels; with what to do.
    """
    try:
        with quiet_pillow:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            if image.width * image.height > max_megapixels * 1e6:
                raise _Refusal(_too_large(image.width, image.height, max_megapixels))
            if isinstance(image, TiffImageFile):  # one odd tag would fail its load_end, which only turns the image
                image.load_end = lambda: None  # type: ignore[method-assign]
            image.load()
            turn, bits = _UPRIGHT.get(_orientation(image) or 1), _bits(image, data)
            eight_bits, used_bits = _to_eight_bits(image, bits, bit_depth)
            result = fit(eight_bits if turn is None else eight_bits.transpose(turn), size, channels, non_square)
    except _Refusal:
        raise
    except UnidentifiedImageError:  # its message is a memory address
        raise ValueError(_unidentified(data)) from None
    except Exception as error:  # a decoder reports damage by any exception: OSError, SyntaxError, struct.error ...
        raise ValueError(f"not a whole image: {error}; replace or remove it") from None
    is_dim = bits == 16 and bit_depth is None and used_bits < 16
    return DecodedImage(result, Dim(used_bits, _is_16_bit_gray(image)) if is_dim else None)


class Header(NamedTuple):
    """What the start of an image file says: width and height in pixels, and its format, such as PNG."""

    width: int
    height: int
    is_gray: bool
    format: str


def read_header(file: BinaryIO) -> Header | None:
    """Read the start of an image file. None: not an image."""
    try:
        with quiet_pillow, Image.open(file, formats=_FORMATS) as image:
            return Header(image.width, image.height, image.mode in _GRAY_MODES, image.format or "")
    except Exception:  # a decoder reports damage by any exception; `decode` names it
        return None


def fit(image: Image.Image, size: int, channels: int, non_square: NonSquare = "crop") -> np.ndarray:
    """Fit an image into uint8 (size, size, channels), resized bilinearly with antialiasing.

    Of an image that is not square, "crop" keeps the largest centred square, "pad" keeps all with black at two sides,
    and "squash" keeps all in other proportions. Colour becomes gray by ITU-R 601-2 luma (Pillow's "L"); gray becomes
    colour by repeating the channel.
    """
    if image.has_transparency_data:
        image = _on_white(image)
    image = image.convert("L" if channels == 1 else "RGB")
    image = _FITS[non_square](image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def _on_white(image: Image.Image) -> Image.Image:
    """Put a transparent image on white, in strips: four copies of a large one would take more than a gigabyte."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), (0, top))
    return result


class _Refusal(ValueError):
    """A reason that is not damage."""


class _QuietPillow:
    """Without Pillow's own limit, as `max_megapixels` is ours, and without its warnings of tags that nothing reads.

    Both belong to the whole process, so several threads share them: the first one that enters sets them, and the last
    one that leaves restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._limit: int | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._limit


quiet_pillow = _QuietPillow()


def _too_large(width: int, height: int, max_megapixels: float) -> str:
    megapixels = width * height / 1e6
    needed = int(megapixels) + 1
    option = f", or write `max_megapixels: {needed}` for this dataset in config.yaml"
    return (
        f"{width:,} x {height:,} pixels are {megapixels:.4g} megapixels, more than {max_megapixels:g}; make it smaller"
        f"{option if needed <= LARGEST_MEGAPIXELS else ''}"
    )


def _unidentified(data: bytes) -> str:
    known = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
    kind = kind_of(data)
    if kind == EMPTY:
        return "is empty; replace or remove it"
    if kind is None or (kind == AVIF and "AVIF" in _FORMATS):
        return f"not a whole {known}; replace or remove it"
    if kind in PACKED_KINDS:
        return f"is {kind}; unpack it, or remove it"
    return f"is {kind}; convert it to {known}, or remove it"


def _orientation(image: Image.Image) -> int | None:
    """The orientation of EXIF or TIFF, 1 to 8; None if it is missing or cannot be read."""
    try:
        if isinstance(image, TiffImageFile):
            return image.tag_v2.get(_ORIENTATION)
        return _orientation_of_exif(image.info.get("exif", b"")) or image.getexif().get(_ORIENTATION)
    except Exception:  # the image is whole; it stays as it is stored
        return None


def _orientation_of_exif(exif: bytes) -> int | None:
    """Read the orientation alone: Pillow reads no tag behind one that is odd."""
    start = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[:4])
    if order is None:
        return None
    with contextlib.suppress(struct.error):  # it breaks off
        (place,) = struct.unpack_from(f"{order}L", start, 4)
        (count,) = struct.unpack_from(f"{order}H", start, place)
        for index in range(count):
            tag, kind, values, value = struct.unpack_from(f"{order}HHLH", start, place + 2 + 12 * index)
            if (tag, kind, values) == (_ORIENTATION, 3, 1):  # one number of 16 bits
                return value
    return None


def _bits(image: Image.Image, data: bytes) -> int:
    """How many bits a value of the file has."""
    if image.format == "PNG":
        return data[24]  # in its header
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    if image.format == "PPM" and (header := _NETPBM_WHITE.match(data)):
        # Any other number than that of all 16 bits is what the file calls white, and Pillow scales by it.
        return 16 if int(header[3]) == 2**16 - 1 else 8
    return 8


def _is_16_bit_gray(image: Image.Image) -> bool:
    return image.mode.startswith("I")  # "I;16" and, in older Pillow and of PGM, "I"


def _to_eight_bits(image: Image.Image, bits: int, bit_depth: int | None) -> tuple[Image.Image, int]:
    """Scale 16 bits to 8: 65535 becomes 255, so one step of 8 bits is 257 steps of 16; and count the bits in use."""
    if not _is_16_bit_gray(image) and image.mode not in ("F", "LAB"):
        if bits == 16 and bit_depth not in (None, 16):
            raise _Refusal(
                "16 bits in colour or with transparency have no `bit_depth`, only the upper 8 are kept; convert it to"
                " 8 bits, or to gray without transparency"
            )
        if bits != 16:
            return image, 16
        if isinstance(transparent := image.info.get("transparency"), tuple):  # the one colour that is clear
            image.info["transparency"] = tuple(value >> 8 for value in transparent)
        bands = (np.asarray(image.getchannel(band)) for band in image.getbands() if band != "A")
        return image, max(_used_bits(band, 2**8) for band in bands)
    values = np.asarray(image)
    if image.mode in ("F", "LAB") or bits > 16 or values.min() < 0:
        kind = "LAB" if image.mode == "LAB" else "signed or 32-bit"
        raise _Refusal(f"its pixels are {kind} values; convert it to gray or RGB of 8 or 16 bits")
    white = 2 ** {12: 12, 16: bit_depth or 16}.get(bits, 16) - 1
    scaled = np.rint(np.minimum(np.arange(2**16), white) / (white / 255)).astype(np.uint8)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:  # 0 is white; Pillow turns 8 bits only
        scaled = 255 - scaled
    if isinstance(clear := image.info.get("transparency"), int):
        scaled[clear] = 255  # transparent areas become white
    is_black = np.count_nonzero(values) <= values.size // _ODD_PIXELS
    return Image.fromarray(scaled[values]), 16 if is_black else _used_bits(values)


def _used_bits(values: np.ndarray, step: int = 1) -> int:
    """How many of 16 bits hold all values but a few; `step` is how much of 16 bits a step of these values is."""
    few = values.size // _ODD_PIXELS
    return next((bits for bits in _USED_BITS if np.count_nonzero(values >= 2**bits // step) <= few), 16)
