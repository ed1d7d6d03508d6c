"""Logits of all images of a split, without augmentation."""

import torch
from torch import Tensor, nn

from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device
from deepnets.training.distributed import ALONE, Processes

EVALUATION_BATCH = 256


def predict(
    model: nn.Module, part: Split, augmentation: Augmentation, hardware: Device, processes: Processes = ALONE
) -> Tensor:
    """Logits of every image, without augmentation: float32 (N, num_classes), on the CPU, in the order of the part."""
    model.eval()
    logits = []
    with torch.inference_mode(), hardware.autocast():
        for index in torch.arange(len(part))[processes.share(len(part))].split(EVALUATION_BATCH):
            part.expect(index)
            images, _ = part.take(index, hardware.device)
            logits.append(model(channels_last(augmentation.normalise(images))).float())
    return processes.whole(torch.cat(logits).cpu(), len(part))


def channels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with the channels innermost in memory, as convolutions are fastest."""
    return images.contiguous(memory_format=torch.channels_last)
