"""Enlarging images for networks whose poolings leave nothing of small ones."""

from math import ceil

from torch import Tensor
from torch.nn.functional import interpolate


def at_least(images: Tensor, side: int) -> Tensor:
    """Enlarge images bilinearly, keeping their proportions, until the smaller side has `side` pixels.

    Args:
        images: float (N, C, H, W); returned as they are where H and W are at least `side`.
        side: pixels.

    Returns:
        float (N, C, H', W') with min(H', W') >= side; dtype and memory format are kept.
    """
    height, width = images.shape[-2:]
    smaller = min(height, width)
    if smaller >= side:
        return images
    size = (ceil(height * side / smaller), ceil(width * side / smaller))
    return interpolate(images, size, mode="bilinear", align_corners=False)
