"""The smallest images that a network of a library or of a user's file takes: found by trying it, without weights."""

from math import ceil
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


def too_small(
    spec: dict[str, Any], input_shape: tuple[int, int, int], num_classes: int, smallest_image: int | None = None
) -> UserError | None:
    """The error for images that are too small for a network that is elsewhere; None if their size is not the reason.

    Args:
        spec: of the model, {"architecture": ..., **options}.
        input_shape: (C, H, W) of the images.
        num_classes: length of the logits.
        smallest_image: height and width of the images with which training starts; None: as in `input_shape`.
    """
    if models.named(spec["architecture"]) is None:
        return None
    channels, height, width = input_shape
    size = min(height, width)
    if _parameters(spec, channels, size, num_classes) is not None:
        if smallest_image is None or smallest_image >= size:
            return None
        return _too_small_at_start(spec, channels, size, num_classes, smallest_image)
    if not any(_parameters(spec, channels, usual, num_classes) for usual in _USUAL if usual > size):
        return None
    smallest = _smallest(spec, channels, size, num_classes)
    if smallest is None:
        return None
    return UserError(
        f"{spec['architecture']}: images of {height}x{width} pixels are too small for it, the smallest that it takes"
        f" are {smallest}x{smallest}; {_ways(spec, channels, size, num_classes, smallest)}"
    )


def _too_small_at_start(
    spec: dict[str, Any], channels: int, size: int, num_classes: int, start: int
) -> UserError | None:
    """The same of a network that takes images of `size`, but not the smaller ones of progressive resizing."""
    if _parameters(spec, channels, start, num_classes, size) is not None:
        return None
    smallest = _smallest(spec, channels, start, num_classes, size) or size
    share = ceil(100 * smallest / size) / 100
    larger = f", or its start to {share:g} or more" if share < 1 else ""
    return UserError(
        f"{spec['architecture']}: images of {start}x{start} pixels, with which progressive_resizing starts, are too"
        f" small for it, the smallest that it takes are {smallest}x{smallest}; set progressive_resizing of the recipe"
        f" to null{larger}, or {_ways(spec, channels, start, num_classes, smallest, size)}"
    )


def _ways(
    spec: dict[str, Any], channels: int, size: int, num_classes: int, smallest: int, built_for: int | None = None
) -> str:
    """The options of a model with which it takes images of `size`."""
    ways = [f"resize: {smallest} (images are enlarged inside the network)"]
    if models.library_of(spec["architecture"]) is not None and HAS_SMALL_STEM.search(spec["architecture"]):
        parameters = _parameters({**spec, "stem": "small"}, channels, size, num_classes, built_for)
        if parameters is not None:
            ways.append(f"stem: small (a first convolution for small images; {parameters:,} parameters)")
    return f"give the model in config.yaml {', or '.join(ways)}"


def _smallest(
    spec: dict[str, Any], channels: int, size: int, num_classes: int, built_for: int | None = None
) -> int | None:
    """The smallest images above `size` that it takes, at most those that it is built for; None if it takes none."""
    tried, largest = size, built_for or _LARGEST
    for candidate in (*(each for each in _CANDIDATES if size < each < largest), largest):
        if _parameters(spec, channels, candidate, num_classes, built_for) is not None:
            between = range(tried + 1, candidate)
            works = (each for each in between if _parameters(spec, channels, each, num_classes, built_for) is not None)
            return next(works, candidate)
        tried = candidate
    return None


def _parameters(
    spec: dict[str, Any], channels: int, size: int, num_classes: int, built_for: int | None = None
) -> int | None:
    """How many parameters the network has, if it takes square images of this size; else None.

    Args:
        built_for: the side of the images that it is built for; None: `size`.
    """
    try:
        network = _weightless(spec, channels, built_for or size, num_classes)
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
