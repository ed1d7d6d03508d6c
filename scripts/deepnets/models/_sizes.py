"""The smallest images that a network of a library or of a user's file takes: found by trying it, without weights."""

from typing import Any

import torch
from torch import nn

from deepnets import models
from deepnets.models._named import HAS_SMALL_STEM
from deepnets.utils.errors import UserError

_LARGEST = 512  # px; no network that is known takes larger images only
# px, the commonest first; a network that takes none of them has another problem than the size
_USUAL = (224, 240, 256, 384, _LARGEST, 32, 64, 96, 128)
# Networks that cut images into patches take multiples of the patches' side: 4, 8, 14, 16 or 32 px.
_CANDIDATES = sorted({*range(8, _LARGEST + 1, 8), *range(14, _LARGEST + 1, 14)})


def too_small(spec: dict[str, Any], input_shape: tuple[int, int, int], num_classes: int) -> UserError | None:
    """The error for images that are too small for a network that is elsewhere; None if their size is not the reason.

    Args:
        spec: of the model, {"architecture": ..., **options}.
        input_shape: (C, H, W) of the images.
        num_classes: length of the logits.
    """
    network = models.named(spec["architecture"])
    if network is None:
        return None
    channels, height, width = input_shape
    size = min(height, width)
    if _parameters(spec, channels, size, num_classes) is not None:
        return None
    if not any(_parameters(spec, channels, usual, num_classes) for usual in _USUAL if usual > size):
        return None
    smallest = _smallest(spec, channels, size, num_classes)
    if smallest is None:
        return None
    ways = [f"resize: {smallest} (images are enlarged inside the network)"]
    if network.library is not None and HAS_SMALL_STEM.search(spec["architecture"]):
        parameters = _parameters({**spec, "stem": "small"}, channels, size, num_classes)
        if parameters is not None:
            ways.append(f"stem: small (a first convolution for small images; {parameters:,} parameters)")
    return UserError(
        f"{spec['architecture']}: images of {height}x{width} pixels are too small for it, the smallest that it takes"
        f" are {smallest}x{smallest}; give the model in config.yaml {', or '.join(ways)}"
    )


def _smallest(spec: dict[str, Any], channels: int, size: int, num_classes: int) -> int | None:
    tried = size
    for candidate in (each for each in _CANDIDATES if each > size):
        if _parameters(spec, channels, candidate, num_classes) is not None:
            between = range(tried + 1, candidate)
            works = (each for each in between if _parameters(spec, channels, each, num_classes) is not None)
            return next(works, candidate)
        tried = candidate
    return None


def _parameters(spec: dict[str, Any], channels: int, size: int, num_classes: int) -> int | None:
    """How many parameters the network has, if it takes square images of this size; else None."""
    try:
        network = _weightless(spec, channels, size, num_classes)
        for training, number in ((True, 2), (False, 1)):
            with torch.no_grad():
                network.train(training)(torch.empty(number, channels, size, size, device="meta"))
    except (Exception, SystemExit):  # another's network can refuse a size in any way
        return None
    return sum(parameter.numel() for parameter in network.parameters())


def _weightless(spec: dict[str, Any], channels: int, size: int, num_classes: int) -> nn.Module:
    try:
        with torch.device("meta"):
            return models.build(spec, num_classes, channels, (size, size))
    except UserError:  # it computes with values while it is built
        return models.build(spec, num_classes, channels, (size, size)).to("meta")
