"""Build the networks of torchvision and timm, without weights of others: nothing is downloaded."""

import re
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import nn

from deepnets.models import _named, _resize, _small_stem, _stem
from deepnets.utils.errors import UserError

_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
# torchvision's networks that are built for one image size, and their argument for it.
_SIZE_OF = {"vit": "image_size", "maxvit": "input_size"}
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def build(
    network: _named.Network,
    num_classes: int,
    in_channels: int,
    options: _named.LibraryOptions,
    image_size: tuple[int, int] | None,
) -> nn.Module:
    """The network: float (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        network: its name.
        num_classes: length of the logits.
        in_channels: of the images; for other than 3, torchvision's first convolution is replaced.
        options: resize, stem, and arguments of the network itself.
        image_size: height and width of the images; networks that are built for one size are built for it.

    Raises:
        UserError: the network has no such option, or no small stem.
    """
    library, _, name = network.architecture.partition("/")
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in (options.model_extra or {}).items()
    }
    size = _seen_size(image_size, options.resize)
    try:
        if library == "timm":
            model = _from_timm(name, num_classes, in_channels, given, size)
        else:
            model = _from_torchvision(name, num_classes, in_channels, given, size)
    except TypeError as error:
        unexpected = _UNEXPECTED.search(str(error))
        if unexpected is None or unexpected[1] not in given:
            raise
        raise UserError(_named.no_option(network.architecture, unexpected[1], given[unexpected[1]])) from None
    if options.stem == "small":
        _small_stem.apply(model, network.architecture)
    return _resize.inside(model, options.resize)


def _seen_size(image_size: tuple[int, int] | None, resize: int | None) -> tuple[int, int] | None:
    """Height and width of what the network gets, after it has enlarged the images."""
    if image_size is None:
        return None if resize is None else (resize, resize)
    height, width = image_size
    scale = max(1, (resize or 0) / min(height, width))
    return ceil(height * scale), ceil(width * scale)


def _from_torchvision(name: str, classes: int, channels: int, given: dict, size: tuple[int, int] | None) -> nn.Module:
    from deepnets.utils.light_torchvision import torchvision

    fixed = dict[str, Any]()
    if name in _WITH_AUXILIARY_HEADS:
        fixed = {"aux_logits": False, "init_weights": True}
    if size is not None and (key := _SIZE_OF.get(name.partition("_")[0])) is not None:
        fixed[key] = size if key == "input_size" else min(size)
    network = torchvision.models.get_model(name, weights=None, num_classes=classes, **(fixed | given))
    if channels != 3:
        stem, conv = next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
        _stem.put(network, stem, _stem.like(conv, in_channels=channels))
    return network


def _from_timm(name: str, classes: int, channels: int, given: dict, size: tuple[int, int] | None) -> nn.Module:
    import timm

    create = partial(timm.create_model, name, pretrained=False, num_classes=classes, in_chans=channels)
    if size is None or "img_size" in given:
        return create(**given)
    state = torch.get_rng_state()
    try:
        return create(**given, img_size=size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    torch.set_rng_state(state)  # networks for any size have no such argument
    return create(**given)
