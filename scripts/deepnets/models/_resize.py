"""Enlarge images for networks whose poolings leave nothing of small ones."""

from functools import partial
from math import ceil

from torch import Tensor, nn
from torch.nn.functional import interpolate


def at_least(images: Tensor, image_size: int) -> Tensor:
    """Enlarge images bilinearly, keeping their proportions, until height and width have `image_size` pixels or more.

    Args:
        images: float (N, C, H, W); returned as they are if H and W are at least `image_size`.
        image_size: in pixels.

    Returns:
        float (N, C, H', W') with min(H', W') == image_size if they were enlarged; dtype and memory format are kept.
    """
    height, width = images.shape[-2:]
    smaller = min(height, width)
    if smaller >= image_size:
        return images
    size = (ceil(height * image_size / smaller), ceil(width * image_size / smaller))
    return interpolate(images, size, mode="bilinear", align_corners=False)


def inside(network: nn.Module, image_size: int | None) -> nn.Module:
    """Let a network enlarge its images as `at_least` does; the names of its state stay the same. None: as it is."""
    if image_size is not None:
        network.register_forward_pre_hook(partial(_enlarge, image_size))
    return network


def _enlarge(image_size: int, _network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return at_least(inputs[0], image_size), *inputs[1:]
