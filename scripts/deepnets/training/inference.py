"""Logits of all images of a split, without augmentation."""

from typing import Protocol

import torch
from torch import Tensor, nn

from deepnets.data.splits import Split
from deepnets.training.device import Device
from deepnets.training.distributed import SINGLE_PROCESS, ProcessGroup

EVALUATION_BATCH = 256


class Normalisation(Protocol):
    """What an image undergoes in training and evaluation alike."""

    def normalise(self, images: Tensor) -> Tensor:
        """The images as the network gets them."""


def predict(
    model: nn.Module,
    split: Split,
    augmentation: Normalisation,
    device: Device,
    group: ProcessGroup = SINGLE_PROCESS,
    *,
    mirrored: bool = False,
) -> Tensor:
    """Logits of every image: float32 (N, num_classes), on the CPU, in the order of the split.

    Args:
        model: the network, already on the device; it is switched to evaluation.
        split: the N images.
        augmentation: only its normalisation is used.
        device: device and precision.
        group: the processes that share the work; each gets all logits.
        mirrored: mirror every image left to right.
    """
    model.eval()
    logits = []
    with torch.inference_mode(), device.autocast():
        for index in torch.arange(len(split))[group.shard(len(split))].split(EVALUATION_BATCH):
            split.prefetch(index)
            images, _ = split.get_batch(index, device.device)
            images = images.flip(-1) if mirrored else images
            logits.append(model(channels_last(augmentation.normalise(images))).float())
    return group.all_gather(torch.cat(logits).cpu(), len(split))


def channels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with the channels innermost in memory, the fastest layout for convolutions."""
    return images.contiguous(memory_format=torch.channels_last)
