"""A network's first convolution, replaced for other channels or another kernel."""

from typing import Any

from torch import nn


def replace(conv: nn.Conv2d, **changes: Any) -> nn.Conv2d:
    """A new convolution with the settings of `conv` except `changes` (keywords of nn.Conv2d).

    Weights are drawn as torchvision draws those of VGG, ResNet and MobileNetV2: Kaiming normal by fan-out (He et al.
    2015), bias zero. With PyTorch's own default the scale of the stem would differ from that of its neighbours.
    """
    kept = {name: getattr(conv, name) for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding")}
    stem = nn.Conv2d(**(kept | {"bias": conv.bias is not None} | changes))
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    if stem.bias is not None:
        nn.init.zeros_(stem.bias)
    return stem
