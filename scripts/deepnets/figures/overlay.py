"""A picture, and next to it the same under the map of where a network looked."""

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

_SIDE = 224  # pixels at least: small pictures are enlarged
_STRENGTH = 0.6  # of the colour where the map is 1


def overlay(pixels: NDArray, saliency: NDArray) -> Image.Image:
    """Draw a picture twice: as the network gets it, and under its saliency map, bright where the map is.

    Args:
        pixels: uint8 (size, size, 1 or 3).
        saliency: float (size, size), from 0 to 1.

    Returns:
        RGB, with both next to each other.
    """
    size = len(pixels)
    side = size * -(-_SIDE // size)
    picture = Image.fromarray(pixels.squeeze()).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    strength = Image.fromarray(saliency.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    share = np.asarray(strength)[..., np.newaxis].clip(0, 1)
    colours = colormaps["inferno"](share[..., 0])[..., :3] * 255
    mixed = np.asarray(picture) * (1 - _STRENGTH * share) + colours * (_STRENGTH * share)
    return Image.fromarray(np.hstack([np.asarray(picture), mixed.round().astype(np.uint8)]))
