"""Networks without training, with what their weights files would say, for tests of exports."""

import numpy as np
import torch
from torch import nn

from deepnets.config.recipe import Recipe
from deepnets.config.yaml_reader import read
from deepnets.evaluation.onnx_export import FromPixels
from deepnets.training.augmentation import Augmentation
from deepnets.utils import paths

# The networks of config.yaml: (architecture, options).
OF_CONFIG = [
    (network.pop("architecture"), {key: value for key, value in network.items() if key != "on"})
    for network in read(paths.REPOSITORY / "config.yaml").content["models"].values()
]
# (architecture, channels, size, options): a network in a file, as users write them, and one with the small stem.
WITH_OPTIONS = [
    ("workflow/networks/resnet9.py:ResNet9", 3, 32, {"width": 8}),
    ("timm/convnext_atto", 3, 32, {"stem": "small"}),
]


def from_pixels(network: nn.Module, mean: list[float], std: list[float]) -> FromPixels:
    """Put the normalisation into a network."""
    augment = Recipe(epochs=1, batch_size=8).augment
    return FromPixels(network, Augmentation(augment, False, mean, std, torch.device("cpu"))).eval()


def metadata(channels: int, size: int, classes: int = 5) -> dict:
    """Return what the weights file of a network says, as far as an export reads it."""
    names = [f"class {index}" for index in range(classes)]
    shape = {"input_shape": [channels, size, size], "mean": [0.4] * channels, "std": [0.2] * channels}
    return {"spec": {}, "spec_sha256": "0" * 64, "classes": names, **shape}


def give_statistics(model: nn.Module, images: np.ndarray) -> None:
    """Normalise the batches as after training: with the initial statistics, Inception V3 has logits of millions."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.from_numpy(images))
    model.eval()
