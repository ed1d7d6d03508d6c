"""The training loop that most people write first: what `make bench` compares ours with.

A torchvision dataset, per-image transforms, a DataLoader with two workers, float32 in PyTorch's default layout. The
network is the same, to the last parameter, and runs as torchvision wrote it.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset
from torchvision.models import VGG

from deepnets.config.recipe import Recipe

WORKERS = 2
VGG_SIDE = 32  # px; torchvision's VGG takes no smaller images


class Images(VisionDataset):
    """Arrays in memory, read like torchvision's MNIST and CIFAR10: one PIL image at a time, transformed.

    images: uint8 (N, H, W, C). labels: int64 (N,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: transforms.Compose):
        super().__init__(root=None, transform=transform)
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        return self.transform(image), int(self.labels[index])


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    flips: bool,
    should_stop: Callable[[], bool],
) -> None:
    """Train for the recipe's epochs, or until `should_stop`, called after every step, returns True."""
    side = images.shape[1]
    resize = [transforms.Resize(VGG_SIDE)] if isinstance(model, VGG) and side < VGG_SIDE else []
    mean, std = images.mean(axis=(0, 1, 2)) / 255, images.std(axis=(0, 1, 2)) / 255
    transform = transforms.Compose(
        [
            transforms.RandomCrop(side, padding=recipe.augment.crop_padding),
            *([transforms.RandomHorizontalFlip()] if flips else []),
            *resize,
            transforms.ToTensor(),
            transforms.Normalize(mean.tolist(), std.tolist()),
        ]
    )
    loader = DataLoader(
        Images(images, labels, transform),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
    )
    forward = partial(VGG.forward, model) if isinstance(model, VGG) else model  # torchvision's own, not our shortcut
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    model.train()
    for _ in range(recipe.epochs):
        for batch, targets in loader:
            optimizer.zero_grad()
            loss = criterion(forward(batch), targets)
            loss.backward()
            optimizer.step()
            loss.item()  # most loops sum it up for the epoch's line
            if should_stop():
                return
