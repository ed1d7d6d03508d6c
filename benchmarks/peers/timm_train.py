"""The loop of timm's train.py, of timm's own pieces: loader, optimizer, scheduler, loss and meter.

Source: timm's training script and its documentation (huggingface.co/docs/timm, training_script). Its defaults are
those of the script's options: float32, PyTorch's default layout, workers that stay, images as uint8 up to the batch,
which its prefetcher normalises. Best: `--amp --amp-dtype bfloat16 --channels-last`. The script's loss scaler is of
float16, so bfloat16 has none.

The recommended recipe is the script's defaults: SGD with Nesterov momentum, 128 images a step, `--lr-base 0.1` for 256
images, weight decay 2e-5, label smoothing 0.1, cosine decay to zero, crops of 8 to 100 % of the image, color jitter
0.4. The default 300 epochs begin with 5 of warm-up; a shorter schedule keeps this share, and the learning rate changes
after every step (`--sched-on-updates`), as an epoch may be most of it.
"""

from collections.abc import Callable

import numpy as np
import torch
from timm.data import create_loader
from timm.data.loader import PrefetchLoader
from timm.data.transforms import ToNumpy
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import AverageMeter
from torch import nn
from torchvision import transforms

from deepnets.config.recipe import Recipe
from peers.common import WORKERS, Images, augmentation, input_side, layout, statistics, use_bfloat16

EPOCHS, WARM_UP_EPOCHS = 300, 5
BATCH, LR_FOR_256, WEIGHT_DECAY, SMOOTHING = 128, 0.1, 2e-5, 0.1


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
    loader = _loader(model, images, labels, recipe.batch_size)
    loader.dataset.transform = transforms.Compose([*augmentation(model, images, recipe, flips), ToNumpy()])
    optimizer = create_optimizer_v2(
        model, opt="sgd", lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
    )
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=recipe.epochs, updates_per_epoch=len(loader))
    _fit(model, loader, optimizer, scheduler, _loss(recipe.label_smoothing), recipe.epochs, should_stop, best)


def train_recommended(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    flips: bool,
    epochs: int,
    should_stop: Callable[[], bool],
) -> None:
    """Train by the defaults of train.py for `epochs`, or until `should_stop` returns True."""
    loader = _loader(model, images, labels, BATCH, hflip=0.5 if flips else 0.0, interpolation="random")
    optimizer = create_optimizer_v2(
        model, opt="sgd", lr=LR_FOR_256 * BATCH / 256, weight_decay=WEIGHT_DECAY, momentum=0.9
    )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=epochs * WARM_UP_EPOCHS / EPOCHS,
        warmup_lr=1e-5,
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    _fit(model, loader, optimizer, scheduler, _loss(SMOOTHING), epochs, should_stop, best=True)


def _loader(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, batch_size: int, **augment: object
) -> PrefetchLoader:
    side, (mean, std) = input_side(model, images), statistics(images)
    return create_loader(
        Images(images, labels),
        (images.shape[3], side, side),
        batch_size,
        is_training=True,
        mean=mean,
        std=std,
        num_workers=WORKERS,
        device=torch.device("cpu"),
        **augment,
    )


def _loss(smoothing: float) -> nn.Module:
    return LabelSmoothingCrossEntropy(smoothing) if smoothing else nn.CrossEntropyLoss()


def _fit(
    model: nn.Module,
    loader: PrefetchLoader,
    optimizer: torch.optim.Optimizer,
    scheduler: Scheduler,
    loss_function: nn.Module,
    epochs: int,
    should_stop: Callable[[], bool],
    best: bool,
) -> None:
    model = model.to(memory_format=layout(best))
    bfloat16, updates = use_bfloat16(best), 0
    for epoch in range(epochs):
        model.train()
        losses = AverageMeter()
        for batch, targets in loader:
            batch = batch.contiguous(memory_format=layout(best))
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = loss_function(model(batch), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
            losses.update(loss.item(), len(batch))
            scheduler.step_update(num_updates=updates, metric=losses.avg)
            if should_stop():
                return
        scheduler.step(epoch + 1)
