"""A LightningModule trained by Lightning's Trainer.

Source: Lightning's documentation (lightning.ai/docs/pytorch/stable). At its defaults the Trainer has float32; logger,
checkpoints, progress bar and summary are off, as none of them is what is measured. Best: `precision="bf16-mixed"`, a
model and batches in channels_last, and `persistent_workers`, which it asks for in a warning.

The recommended recipe is that of its CIFAR-10 tutorial (notebooks/lightning_examples/cifar10-baseline): SGD with weight
decay 5e-4, 64 images a step (its number where there is no GPU), one cycle up to a learning rate of 0.1 and down, 30
epochs, crops of the image with a frame of 4 pixels, flips.
"""

from collections.abc import Callable

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader

from deepnets.config.recipe import Augment, Recipe
from peers.common import data_loader, layout, use_bfloat16

EPOCHS, BATCH = 30, 64
RECIPE = Recipe(batch_size=BATCH, lr=0.05, weight_decay=5e-4, augment=Augment(crop_padding=4))
HIGHEST_LR = 0.1


class Classifier(pl.LightningModule):
    """A network with its loss and its optimizer, as Lightning's Trainer takes them."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None,
        label_smoothing: float,
        best: bool,
    ):
        super().__init__()
        self.model = model.to(memory_format=layout(best))
        self.optimizer, self.scheduler, self.layout = optimizer, scheduler, layout(best)
        self.loss_function = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        images, labels = batch
        loss = self.loss_function(self.model(images.contiguous(memory_format=self.layout)), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> dict:
        if self.scheduler is None:
            return {"optimizer": self.optimizer}
        return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": self.scheduler, "interval": "step"}}


class _Stop(pl.Callback):
    def __init__(self, should_stop: Callable[[], bool]):
        self.should_stop = should_stop

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        trainer.should_stop = self.should_stop()


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
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    _fit(Classifier(model, optimizer, None, recipe.label_smoothing, best), loader, recipe.epochs, should_stop, best)


def train_recommended(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    flips: bool,
    epochs: int,
    should_stop: Callable[[], bool],
) -> None:
    """Train by the tutorial's recipe for `epochs`, or until `should_stop` returns True."""
    loader = data_loader(model, images, labels, RECIPE, flips, best=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RECIPE.lr, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay
    )
    scheduler = OneCycleLR(optimizer, HIGHEST_LR, epochs=epochs, steps_per_epoch=len(loader))
    classifier = Classifier(model, optimizer, scheduler, RECIPE.label_smoothing, best=True)
    _fit(classifier, loader, epochs, should_stop, best=True)


def _fit(classifier: Classifier, loader: DataLoader, epochs: int, should_stop: Callable[[], bool], best: bool) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="bf16-mixed" if use_bfloat16(best) else "32-true",
        max_epochs=epochs,
        callbacks=[_Stop(should_stop)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier, loader)
