"""fastai's Learner, trained by fit_one_cycle.

Source: fastai's documentation (docs.fast.ai): Datasets of an array by its mid-level API, item transforms on PIL
images, batch transforms on tensors, a Learner with fastai's own optimizer. Progress bar and log are off, as neither is
what is measured. Best: its callback ChannelsLast, and bfloat16. Its own callback for that (`Learner.to_bf16`) opens
autocast for CUDA only, so a callback of four lines opens it for the CPU.

The recommended recipe is its Learner's defaults: Adam with decoupled weight decay, 64 images a step, the learning rate
that `lr_find` suggests, `aug_transforms` (without mirroring where the dataset allows none), one cycle, five epochs as
in its Imagenette tutorial.
"""

import random
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders, Datasets
from fastai.data.transforms import IntToFloatTensor, Normalize, ToTensor
from fastai.learner import Callback, CancelFitException
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import SGD
from fastai.torch_core import TensorCategory, default_device
from fastai.vision.augment import CropPad, FlipItem, RandomCrop, Resize, aug_transforms
from fastai.vision.core import PILImage, PILImageBW
from torch import nn

from deepnets.config.recipe import Recipe
from peers.common import WORKERS, input_side, pil_image, statistics, use_bfloat16

EPOCHS = 5
BATCH = 64


class _Bfloat16(Callback):
    def before_batch(self) -> None:
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        self.learn.pred = self.pred.float()

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)


class _Stop(Callback):
    def __init__(self, should_stop: Callable[[], bool]):
        super().__init__()
        self.should_stop = should_stop

    def after_batch(self) -> None:
        if self.training and self.should_stop():
            raise CancelFitException


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
    side, padding = images.shape[1], recipe.augment.crop_padding
    augment = [CropPad(side + 2 * padding), RandomCrop(side), *([FlipItem()] if flips else [])]
    loaders = _loaders(model, images, labels, recipe.batch_size, augment, [])
    loss = CrossEntropyLossFlat(label_smoothing=recipe.label_smoothing)
    optimizer = partial(SGD, mom=recipe.momentum)
    learner = Learner(loaders, model, loss, optimizer, lr=recipe.lr, wd=recipe.weight_decay, cbs=_flags(best))
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(recipe.epochs, cbs=_Stop(should_stop))


def train_recommended(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    flips: bool,
    epochs: int,
    should_stop: Callable[[], bool],
) -> None:
    """Train by the Learner's defaults for `epochs`, or until `should_stop` returns True."""
    loaders = _loaders(model, images, labels, BATCH, [], aug_transforms(do_flip=flips))
    with tempfile.TemporaryDirectory() as folder:  # lr_find saves the weights, and loads them again at its end
        learner = Learner(loaders, model, CrossEntropyLossFlat(), cbs=_flags(best=True), path=folder)
        with learner.no_bar(), learner.no_logging():
            lr = learner.lr_find(show_plot=False).valley
            learner.fit_one_cycle(epochs, lr, cbs=_Stop(should_stop))


def _flags(best: bool) -> list[Callback]:
    return [ChannelsLast(), *([_Bfloat16()] if use_bfloat16(best) else [])] if best else []


def _loaders(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, batch_size: int, of_items: list, of_batches: list
) -> DataLoaders:
    """Loaders of all images; fit ends each epoch with a validation, which has two of the images here."""
    kind = PILImageBW if images.shape[3] == 1 else PILImage
    side = input_side(model, images)
    default_device(use=False)
    datasets = Datasets(
        range(len(labels)),
        [[lambda index: kind(pil_image(images[index]))], [lambda index: TensorCategory(int(labels[index]))]],
        splits=[range(len(labels)), random.Random(0).sample(range(len(labels)), 2)],
    )
    return datasets.dataloaders(
        bs=batch_size,
        num_workers=WORKERS,
        after_item=[*of_items, *([Resize(side)] if side != images.shape[1] else []), ToTensor()],
        after_batch=[IntToFloatTensor(), *of_batches, Normalize.from_stats(*statistics(images), cuda=False)],
    )
