"""Progressive resizing: the size of the training images at each step."""

import math

import torch.nn.functional as F
from torch import Tensor

from deepnets.config.recipe import ProgressiveResizing


def image_size_at(step: int, total_steps: int, full_size: int, resizing: ProgressiveResizing | None) -> int:
    """Image size in pixels at a step: it grows up to the full size, by quarters of it.

    Of 32 px that is 16, 24 and 32, all multiples of 8: on two CPU cores an image of 28 px cost ResNet50 and
    MobileNetV2 nine tenths of one of 32 px, and one of 20 px as much as one of 24 px.
    """
    if resizing is None:
        return full_size
    reached = min(1.0, step / (total_steps * resizing.until))
    quarters = math.floor(4 * (resizing.start + (1 - resizing.start) * reached))
    return round(full_size * max(resizing.start, quarters / 4))


def shrink(images: Tensor, image_size: int) -> Tensor:
    """Images (N, C, H, W) reduced to (N, C, image_size, image_size), with antialiasing; returned as they are if not
    larger.
    """
    if image_size >= images.shape[-1]:
        return images
    return F.interpolate(images, size=(image_size, image_size), mode="bilinear", antialias=True)
