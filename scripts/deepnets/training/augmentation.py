"""Batched augmentation, on the device of the batch: draw the random numbers for a whole batch, then apply them.

Each `draw_*` takes a generator and returns tensors with one entry per image. Each transform (`crop_at`, `flip_where`,
...) is a plain function of images and draws; the tests compare it with a slow loop over images. `Augmentation` applies
them in this order: crop and flip (exact, on uint8) -> affine (on floats, outside is black) -> normalise ->
cutout and random erasing (the box is filled with 0, the dataset's mean) -> mixup or cutmix.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepnets.config.recipe import Augment


def draw_offsets(n: int, padding: int, generator: torch.Generator) -> Tensor:
    """Top-left corners for `crop_at`: int64 (n, 2), row and column uniform in 0..2*padding."""
    return torch.randint(2 * padding + 1, (n, 2), generator=generator, device=generator.device)


def crop_at(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Shift each image of (N, C, H, W) inside a black frame `padding` pixels wide; same shape, dtype and device.

    One gather over pixel positions crops the whole batch; a loop over crops would need a kernel per image.
    """
    n, _, height, width = images.shape
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))  # (N, H+2p, W+2p, C)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)  # (N, H)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)  # (N, W)
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw_coins(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """bool (n,), True with the given probability."""
    return torch.rand(n, generator=generator, device=generator.device) < probability


def flip_where(images: Tensor, coins: Tensor) -> Tensor:
    """Mirror left-right those images of (N, C, H, W) whose entry of `coins`, bool (N,), is True."""
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def draw_affine(n: int, augment: Augment, generator: torch.Generator) -> Tensor:
    """Matrices for `affine_by`: float32 (n, 2, 3), from output to input positions, both in [-1, 1] (x right, y down).

    Rotation, shear, scale and translation are uniform in the ranges of the recipe, in the order
    rotate(shear(scale(x))) + translation, about the image's centre.
    """

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator, device=generator.device) * 2 - 1) * limit

    angle, shear = uniform(math.radians(augment.rotation)), uniform(math.radians(augment.shear)).tan()
    zoom = 1 / (1 + uniform(augment.scale))  # from output to input: a larger object reads from a smaller area
    # translate is a fraction of the image size, which is 2 in these coordinates
    shift_x, shift_y = uniform(2 * augment.translate), uniform(2 * augment.translate)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    row_x = torch.stack([cos, cos * shear - sin, shift_x], dim=1)
    row_y = torch.stack([sin, sin * shear + cos, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def affine_by(images: Tensor, matrices: Tensor) -> Tensor:
    """Warp float images (N, C, H, W) by (N, 2, 3) output-to-input matrices, bilinear; outside the image is 0."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def draw_boxes(n: int, heights: Tensor, widths: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Boxes for `erase_boxes`: int64 (n, 4) as top, bottom, left, right; the centre is uniform over the image.

    Args:
        n: number of images.
        heights, widths: int64 (n,), pixels before clipping at the border.
        size: the images' height and width in pixels.
        generator: source of randomness, on the images' device.
    """
    height, width = size
    centre_y = torch.randint(height, (n,), generator=generator, device=generator.device)
    centre_x = torch.randint(width, (n,), generator=generator, device=generator.device)
    top, left = centre_y - heights // 2, centre_x - widths // 2
    return torch.stack(
        [top.clamp(min=0), (top + heights).clamp(max=height), left.clamp(min=0), (left + widths).clamp(max=width)],
        dim=1,
    )


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """bool (N, 1, H, W), True inside each image's box of int64 (N, 4): top, bottom (exclusive), left, right."""
    top, bottom, left, right = boxes[:, :, None].unbind(1)  # each (N, 1)
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    inside_rows = (rows >= top) & (rows < bottom)  # (N, H)
    inside_columns = (columns >= left) & (columns < right)  # (N, W)
    return inside_rows[:, None, :, None] & inside_columns[:, None, None, :]


def erase_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Fill each image's box with 0, the dataset's mean after normalisation."""
    return images.masked_fill(box_mask(boxes, *images.shape[-2:]), 0)


def draw_erasing(n: int, probability: float, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Boxes of random erasing (Zhong et al. 2020, arXiv 1708.04896): int64 (n, 4), empty where the image is not erased.

    Area uniform in 2 %..33 % of the image, aspect ratio log-uniform in 0.3..3.3, as in torchvision's RandomErasing.
    torchvision repeats the draw until the box lies inside the image; here the box is clipped at the border.
    """
    height, width = size
    area = torch.empty(n, device=generator.device).uniform_(0.02, 0.33, generator=generator) * height * width
    log_ratio = math.log(3.3)
    ratio = torch.empty(n, device=generator.device).uniform_(-log_ratio, log_ratio, generator=generator).exp()
    coins = draw_coins(n, probability, generator)
    heights = (area * ratio).sqrt().round().long().clamp(1, height) * coins
    widths = (area / ratio).sqrt().round().long().clamp(1, width) * coins
    return draw_boxes(n, heights, widths, size, generator)


def mix_with_neighbour(images: Tensor, weight: float) -> Tensor:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): weight * image + (1 - weight) * the previous image of the batch.

    A batch is already in random order, so rolling it by one pairs images at random without another shuffle.
    """
    return images * weight + images.roll(1, 0) * (1 - weight)


def paste_from_neighbour(images: Tensor, boxes: Tensor) -> Tensor:
    """CutMix (Yun et al. 2019, arXiv 1905.04899): each image's box is copied from the previous image of the batch."""
    return torch.where(box_mask(boxes, *images.shape[-2:]), images.roll(1, 0), images)


@dataclass(frozen=True)
class Batch:
    """Augmented images with the labels to learn.

    images: float (N, C, H, W). labels: int64 (N,). other_labels: the labels mixed in, or None.
    weight: weight of `labels` in the loss, float (N,), or None; `other_labels` have 1 - weight.
    """

    images: Tensor
    labels: Tensor
    other_labels: Tensor | None = None
    weight: Tensor | None = None


class Augmentation:
    """A recipe's augmentation as one callable: uint8 batch in, normalised and augmented `Batch` out.

    Args:
        augment: ranges and probabilities.
        may_flip: whether the dataset allows mirrored images (never for digits or letters).
        mean, std: float (C,), in fractions of 255.
        device: the device of the batches.
    """

    def __init__(self, augment: Augment, may_flip: bool, mean: list[float], std: list[float], device: torch.device):
        self.augment = augment
        self.flips = augment.horizontal_flip and may_flip
        self.warps = bool(augment.rotation or augment.shear or augment.scale or augment.translate)
        # x/255 normalised is x*scale + offset: one fused multiply-add per pixel
        self.scale = torch.tensor([1 / (255 * s) for s in std], device=device)[:, None, None]
        self.offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)[:, None, None]

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) to float32 with zero mean and unit variance per channel over the training split."""
        return torch.addcmul(self.offset, images.float(), self.scale)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
        """Augment uint8 images (N, C, H, W) with int64 labels (N,); the inputs are not changed."""
        augment, n, image_size = self.augment, len(images), (images.shape[-2], images.shape[-1])
        if augment.crop_padding:
            images = crop_at(images, draw_offsets(n, augment.crop_padding, generator), augment.crop_padding)
        if self.flips:
            images = flip_where(images, draw_coins(n, 0.5, generator))
        if self.warps:
            warped = affine_by(images.float(), draw_affine(n, augment, generator))
            images = torch.addcmul(self.offset, warped, self.scale)
        else:
            images = self.normalise(images)
        if augment.cutout:
            sides = torch.full((n,), augment.cutout, device=images.device)
            images = erase_boxes(images, draw_boxes(n, sides, sides, image_size, generator))
        if augment.random_erasing:
            images = erase_boxes(images, draw_erasing(n, augment.random_erasing, image_size, generator))
        return self._mix(images, labels, generator)

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
        """Apply mixup or cutmix; if the recipe has both, one of them with equal probability."""
        augment = self.augment
        if not (augment.mixup or augment.cutmix):
            return Batch(images, labels)
        # One choice and one weight per batch, as in both papers; drawn on the host, as reading from a GPU would stall.
        host = np.random.default_rng(generator.initial_seed())
        if augment.cutmix and (not augment.mixup or host.random() < 0.5):
            area = 1 - host.beta(augment.cutmix, augment.cutmix)
            height, width = images.shape[-2:]
            heights = torch.full_like(labels, round(height * math.sqrt(area)))
            widths = torch.full_like(labels, round(width * math.sqrt(area)))
            boxes = draw_boxes(len(images), heights, widths, (height, width), generator)
            pasted = box_mask(boxes, height, width).float().mean(dim=(1, 2, 3))  # after clipping at the border
            return Batch(paste_from_neighbour(images, boxes), labels, labels.roll(1, 0), 1 - pasted)
        weight = host.beta(augment.mixup, augment.mixup)
        return Batch(
            mix_with_neighbour(images, weight), labels, labels.roll(1, 0), torch.full_like(images[:, 0, 0, 0], weight)
        )
