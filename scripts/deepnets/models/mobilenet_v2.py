"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381; torchvision's mobilenet_v2).

It differs from torchvision in two places: the last 1x1 convolution (320 -> 1280) is left out, so that the classifier
reads 320 features, and the five strides are options, because an image of 32 px has no room for all of them.
1,814,346 parameters for 1 channel and 10 classes, 1,814,922 for 3 channels; state-dict names are torchvision's.
"""

import math
from typing import Literal

from pydantic import Field

from deepnets.models._about import About, Cost
from deepnets.utils.option_types import Fraction, StrictModel

MIN_IMAGE_SIZE = 8  # px; padded convolutions take any size, but under 8 px the strides have nothing to halve
STRIDED_BLOCKS = (2, 4, 7, 14)  # of network.features, whose first convolution is strided too
LINEAR_STD = 0.01  # torchvision's for this network's classifier
ABOUT = About(
    display_name="MobileNetV2",
    differs="without the last 1x1 convolution (320 to 1280 channels), so that the classifier reads 320 features;"
    " strides are an option, to keep the maps of small images larger",
    color="#E69F00",
    marker="D",
    linestyle=(0, (6, 1.5, 1.2, 1.5)),
    cost=Cost(
        parameters=1.8,
        kilobytes=60,
        evaluation_kilobytes=6,
        microseconds=21,
        pixels=lambda options, side: side**2 / math.prod(options["strides"][:3]),
    ),
)


class Options(StrictModel):
    """The options of a mobilenet_v2 in config.yaml."""

    strides: list[Literal[1, 2]] = Field(
        [2, 2, 2, 2, 2],
        min_length=5,
        max_length=5,
        description="Strides (1 or 2) of the first convolution and of the blocks features.2, 4, 7 and 14; "
        "[1, 1, 1, 2, 2] keeps the resolution of small images for longer, at more work and the same parameters.",
    )
    dropout: Fraction = Field(0.2, ge=0, lt=1, description="Share of the last features dropped in training.")


def build(num_classes: int, in_channels: int, options: Options):
    """The network as a torch.nn.Module: float (N, in_channels, H, W) to logits (N, num_classes).

    In training N must be 2 or more where the last maps are one pixel (up to 32 px with the default strides):
    batch normalisation has no variance over one pixel of one image.
    """
    from torch import nn  # here, because torch takes seconds to load and config.yaml needs none

    from deepnets.models import _stem
    from deepnets.utils.light_torchvision import torchvision

    network = torchvision.models.mobilenet_v2(num_classes=num_classes, dropout=options.dropout)
    network.features[0][0] = _stem.replace(network.features[0][0], in_channels=in_channels)

    network.last_channel = network.features[-1][0].in_channels  # 320
    network.features = network.features[:-1]
    network.classifier[1] = nn.Linear(network.last_channel, num_classes)
    nn.init.normal_(network.classifier[1].weight, std=LINEAR_STD)
    nn.init.zeros_(network.classifier[1].bias)

    depthwise = (network.features[block].conv[1][0] for block in STRIDED_BLOCKS)
    for conv, stride in zip([network.features[0][0], *depthwise], options.strides, strict=True):
        conv.stride = (stride, stride)
    return network
