"""Layers of a network that are replaced, such as its first convolution, for other channels or another kernel."""

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


def like(conv: nn.Conv2d, **changes: Any) -> nn.Conv2d:
    """A new convolution of the kind and the settings of `conv` except `changes` (keywords of its class).

    Weights are normal; their standard deviation keeps the variance of the outputs, whatever the library's own
    distribution is: the one of `conv`, times the root of the ratio of the inputs of an output. Biases are zero.
    """
    kept = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
    channels = {"in_channels": conv.in_channels} | changes
    new = type(conv)(
        channels.pop("in_channels"), conv.out_channels, **(kept | {"bias": conv.bias is not None} | channels)
    )
    if not new.weight.is_meta:
        inputs = conv.weight[0].numel() / new.weight[0].numel()
        nn.init.normal_(new.weight, std=conv.weight.std().item() * inputs**0.5)
        if new.bias is not None:
            nn.init.zeros_(new.bias)
    return new


def put(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace the layer of a network that has this name, such as "features.0"."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, layer)
