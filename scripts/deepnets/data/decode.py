"""Decode image files: colour, orientation and size."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG", "WEBP")  # no other decoder of Pillow ever sees a user's bytes
_NOT_AN_IMAGE = "not a whole jpg, png or webp image"


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """Decode an image file to uint8 (size, size, channels).

    It is turned upright by its EXIF orientation. Transparent areas become white, 16 bits per channel become 8, CMYK
    becomes RGB. The first frame of an animation is used.

    Raises:
        ValueError: the bytes are not a whole jpg, png or webp, or have more pixels than Pillow allows.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        upright = ImageOps.exif_transpose(image)
        upright.load()
        return fit(upright, size, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except UnidentifiedImageError:  # its message is a memory address
        raise ValueError(_NOT_AN_IMAGE) from None
    except Exception as error:  # a decoder reports damage by any exception: OSError, SyntaxError, struct.error ...
        raise ValueError(f"{_NOT_AN_IMAGE}: {error}") from None


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Fit an image into uint8 (size, size, channels): its largest centred square, resized bilinearly with antialiasing.

    Colour becomes gray by ITU-R 601-2 luma (Pillow's "L"); gray becomes colour by repeating the channel.
    """
    image = _to_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits to 8: 65535 becomes 255, so one step of 8 bits is 257 steps of 16."""
    if not image.mode.startswith("I"):  # "I;16" and, in older Pillow, "I": a gray PNG of 16 bits
        return image
    return Image.fromarray(np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
