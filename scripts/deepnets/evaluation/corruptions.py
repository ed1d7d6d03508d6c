"""Corruptions of test images, for the accuracy on worse pictures: eight kinds at three severities each.

Six of them are those of Hendrycks and Dietterich 2019, 'Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations', arXiv 1903.12261, at the levels 1, 3 and 5 of their code. They give one strength for images of 32
pixels (CIFAR-10-C), which smaller ones get here, too, and another one for images of 224 (ImageNet-C); images between
them get a strength between them.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from deepnets.training.augmentation import affine_by

SEVERITIES = (1, 2, 3)
_SMALL, _LARGE = 32, 224  # pixels of a side


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        apply: takes images, uint8 (N, C, H, W), a strength and a generator; returns images of the same shape, whose
            values may be fractions, or outside 0..255.
        small: the strength at each severity for images of 32 pixels and fewer.
        large: for images of 224 pixels and more.
    """

    apply: Callable[[Tensor, float, torch.Generator], Tensor]
    small: tuple[float, float, float]
    large: tuple[float, float, float]

    def strength(self, severity: int, image_size: int) -> float:
        """Return the strength at a severity, 1 to 3; between the two sizes it is geometric in the size."""
        share = min(max(math.log(image_size / _SMALL) / math.log(_LARGE / _SMALL), 0.0), 1.0)
        return float(self.small[severity - 1] ** (1 - share) * self.large[severity - 1] ** share)


def corrupt(images: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
    """Corrupt a batch of images.

    Args:
        images: uint8 (N, C, H, W) with C 1 or 3, on the CPU; they are not changed.
        kind: a key of CORRUPTIONS.
        severity: 1, 2 or 3.
        generator: of the CPU; the same state gives the same bytes.

    Returns:
        uint8 (N, C, H, W).
    """
    corruption = CORRUPTIONS[kind]
    strength = corruption.strength(severity, min(images.shape[-2:]))
    with torch.autocast("cpu", enabled=False):  # a network in bf16 gets the same images
        return corruption.apply(images, strength, generator).float().round().clamp(0, 255).to(torch.uint8)


def _noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return images.float() + 255 * deviation * torch.randn(images.shape, generator=generator)


def _blur(images: Tensor, sigma: float, _generator: torch.Generator) -> Tensor:
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-((torch.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    kernel /= kernel.sum()
    planes = F.pad(images.float().flatten(0, 1)[:, None], [radius] * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None, :])
    return blurred.reshape(images.shape)


def _contrast(images: Tensor, factor: float, _generator: torch.Generator) -> Tensor:
    means = images.float().mean((2, 3), keepdim=True)
    return means + factor * (images.float() - means)


def _brightness(images: Tensor, more: float, _generator: torch.Generator) -> Tensor:
    """Raise the value of HSV; hue and saturation stay, so the channels of a pixel keep their proportions."""
    value = images.amax(1, keepdim=True).float()
    brighter = (value + 255 * more).clamp(max=255)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1)), brighter)


def _jpeg(images: Tensor, quality: float, _generator: torch.Generator) -> Tensor:
    def compress(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=round(quality))
        return Image.open(file)

    return _by_pillow(images, compress)


def _pixelation(images: Tensor, factor: float, _generator: torch.Generator) -> Tensor:
    def pixelate(picture: Image.Image) -> Image.Image:
        smaller = max(1, int(factor * picture.width)), max(1, int(factor * picture.height))
        return picture.resize(smaller, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)

    return _by_pillow(images, pixelate)


def _by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Change each image as Pillow does, as in the code of the paper."""
    arrays = images.permute(0, 2, 3, 1).numpy()
    pictures = [Image.fromarray(each[:, :, 0] if each.shape[2] == 1 else each) for each in arrays]
    changed = np.stack([np.asarray(change(picture)) for picture in pictures]).reshape(arrays.shape)
    return torch.from_numpy(changed).permute(0, 3, 1, 2)


def _shift(images: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Shift each image along both axes, to one of the four corners that are drawn; outside is black.

    A shift by a part of a pixel is interpolated, so that small images are shifted by the same share of their size.
    """
    corners = 2 * torch.randint(2, (len(images), 2), generator=generator) - 1
    matrices = torch.eye(2, 3).repeat(len(images), 1, 1)
    matrices[:, :, 2] = 2 * fraction * corners  # the grid of positions is 2 wide
    return affine_by(images.float(), matrices)


def _rotation(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Rotate each image, to the left or to the right as is drawn; outside is black."""
    angles = math.radians(degrees) * (2 * torch.randint(2, (len(images),), generator=generator) - 1)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros(len(images))
    matrices = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    return affine_by(images.float(), matrices)


# By their keys in robustness.json, in the order of the report. Shift and rotation are not in the paper.
CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(_noise, (0.04, 0.08, 0.10), (0.08, 0.18, 0.38)),  # standard deviation, of full intensity
    "blur": Corruption(_blur, (0.4, 0.7, 1.0), (1, 3, 6)),  # standard deviation of a Gaussian, in pixels
    "contrast": Corruption(_contrast, (0.75, 0.4, 0.15), (0.4, 0.2, 0.05)),  # factor
    "brightness": Corruption(_brightness, (0.05, 0.15, 0.3), (0.1, 0.3, 0.5)),  # added, of full intensity
    "jpeg": Corruption(_jpeg, (80, 58, 40), (25, 15, 7)),  # quality
    "pixelation": Corruption(_pixelation, (0.95, 0.85, 0.65), (0.6, 0.4, 0.25)),  # factor of height and width
    "shift": Corruption(_shift, (1 / 16, 1 / 8, 3 / 16), (1 / 16, 1 / 8, 3 / 16)),  # of height and width
    "rotation": Corruption(_rotation, (10, 20, 30), (10, 20, 30)),  # degrees
}
