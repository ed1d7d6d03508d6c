"""What the peers share: a torchvision dataset in memory, the recipe's crops and flips, and what the best flags are."""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset
from torchvision.models import VGG

from deepnets.config.recipe import Recipe
from deepnets.training.device import multiplies_bfloat16

WORKERS = 2
VGG_SIDE = 32  # px; torchvision's VGG takes no smaller images


class Images(VisionDataset):
    """Arrays in memory, read like torchvision's MNIST and CIFAR10: one PIL image at a time, transformed.

    images: uint8 (N, H, W, C). labels: int64 (N,). transform: of a PIL image; None: it stays one.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: transforms.Compose | None = None):
        super().__init__(root=None, transform=transform)
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor | Image.Image, int]:
        image = pil_image(self.images[index])
        return self.transform(image) if self.transform else image, int(self.labels[index])


def pil_image(image: np.ndarray) -> Image.Image:
    """The image of an array, uint8 (H, W, C) of one or three channels."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def input_side(model: nn.Module, images: np.ndarray) -> int:
    """Height and width in pixels of the images that the network is trained on."""
    side = images.shape[1]
    return max(side, VGG_SIDE) if isinstance(model, VGG) else side


def augmentation(model: nn.Module, images: np.ndarray, recipe: Recipe, flips: bool) -> list[nn.Module]:
    """Return the recipe's random crop and flip as torchvision's transforms, from PIL image to PIL image."""
    side, shown = images.shape[1], input_side(model, images)
    return [
        transforms.RandomCrop(side, padding=recipe.augment.crop_padding),
        *([transforms.RandomHorizontalFlip()] if flips else []),
        *([transforms.Resize(shown)] if shown != side else []),
    ]


def statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, as fractions of full intensity."""
    return (images.mean(axis=(0, 1, 2)) / 255).tolist(), (images.std(axis=(0, 1, 2)) / 255).tolist()


def to_tensor(images: np.ndarray) -> list[nn.Module]:
    """Torchvision's transforms from PIL image to normalised tensor, float32 (C, H, W)."""
    return [transforms.ToTensor(), transforms.Normalize(*statistics(images))]


def data_loader(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, recipe: Recipe, flips: bool, best: bool
) -> DataLoader:
    """Return the DataLoader of the recipe's batches that torch's tutorials write; best: its workers stay."""
    transform = transforms.Compose([*augmentation(model, images, recipe, flips), *to_tensor(images)])
    return DataLoader(
        Images(images, labels, transform),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=best,
    )


def use_bfloat16(best: bool) -> bool:
    """Whether the best flags have bfloat16 autocast: where the CPU multiplies it natively. Elsewhere it is slower."""
    return best and multiplies_bfloat16(torch.device("cpu"))


def layout(best: bool) -> torch.memory_format:
    """The memory format of images and weights."""
    return torch.channels_last if best else torch.contiguous_format
