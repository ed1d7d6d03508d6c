"""The training loop that most people write first.

A torchvision dataset, per-image transforms, a DataLoader with two workers, float32 in PyTorch's default layout. At its
best it has what PyTorch's performance tuning guide (docs.pytorch.org, recipes/recipes/tuning_guide) adds for a CPU:
bfloat16 autocast and channels_last, and workers that stay from epoch to epoch.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from deepnets.config.recipe import Recipe
from peers.common import data_loader, layout, use_bfloat16


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    flips: bool,
    should_stop: Callable[[], bool],
    best: bool = False,
) -> None:
    """Train for the recipe's epochs, or until `should_stop` returns True."""
    loader = data_loader(model, images, labels, recipe, flips, best)
    model = model.to(memory_format=layout(best))
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    bfloat16 = use_bfloat16(best)
    model.train()
    for _ in range(recipe.epochs):
        for batch, targets in loader:
            batch = batch.contiguous(memory_format=layout(best))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = criterion(model(batch), targets)
            loss.backward()
            optimizer.step()
            loss.item()  # most loops sum it up for the epoch's line
            if should_stop():
                return
