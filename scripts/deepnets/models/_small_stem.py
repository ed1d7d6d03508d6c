"""The stem for small images: the first convolution 3x3 with stride 1, and the next halving left out.

So ResNets are used on CIFAR (He et al. 2015, section 4.2); the other families lose the first factor of 4, too.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepnets.models import _stem
from deepnets.models._named import FAMILIES_WITH_SMALL_STEM, HAS_SMALL_STEM
from deepnets.utils.errors import UserError

_SIZE = 64  # px, of the image on which the halvings are found
_FACTOR = 4  # between the sides of the maps without and with this stem
_KEPT = _SIZE // _FACTOR  # px; smaller maps are made by later layers, which stay as they are


class _Call(NamedTuple):
    name: str
    layer: nn.Module
    before: int  # height in pixels
    after: int


def apply(network: nn.Module, architecture: str) -> None:
    """Change a library's network in place.

    Raises:
        UserError: it is of another family, or its first layers cannot be changed so.
    """
    if not HAS_SMALL_STEM.search(architecture):
        raise UserError(
            f"{architecture}: has no small stem, which the families {FAMILIES_WITH_SMALL_STEM} have; leave out stem, or"
            " choose another network"
        )
    try:
        calls = _calls(network)
        smallest = _smallest_map(calls)
        _change(network, calls)
        is_changed = _smallest_map(_calls(network)) == _FACTOR * smallest
    except Exception:  # another's network can refuse a size, or other maps, in any way
        is_changed = False
    if not is_changed:
        raise UserError(
            f"{architecture}: its first layers cannot be changed into a small stem; leave out stem, and write resize:"
            f" with {_FACTOR} times the side of the images, which makes its maps as large"
        )


def _change(network: nn.Module, calls: list[_Call]) -> None:
    """Make the first convolution 3x3 with stride 1, and leave out what else changes the size before the third halving.

    That is a pooling, a blur or a padding, or the stride of a convolution; shortcuts have one of their own.
    """
    first, conv = next((call, call.layer) for call in calls if isinstance(call.layer, nn.Conv2d))
    if conv.kernel_size == (3, 3):
        conv.stride = (1, 1)
    else:
        _stem.put(network, first.name, _stem.like(conv, kernel_size=3, stride=1, padding=1))
    for call in calls:
        if call is first or call.after == call.before or call.before <= _KEPT or call.after < _KEPT:
            continue
        if isinstance(call.layer, nn.Conv2d):
            call.layer.stride = (1, 1)
        else:
            _stem.put(network, call.name, nn.Identity())


def _calls(network: nn.Module) -> list[_Call]:
    """The layers that an image goes through, in their order; those that consist of others are left out."""
    calls = list[_Call]()

    def record(name: str):
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            images = inputs[0] if inputs else None
            if isinstance(images, Tensor) and isinstance(output, Tensor) and images.ndim == output.ndim == 4:
                # Channels may be the last dimension, but never the last but one.
                calls.append(_Call(name, layer, images.shape[-2], output.shape[-2]))

        return hook

    layers = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(record(name)) for name, layer in layers]
    weight = next(network.parameters())
    channels = next(layer.in_channels for _, layer in layers if isinstance(layer, nn.Conv2d))
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, _SIZE, _SIZE, device=weight.device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return calls


def _smallest_map(calls: list[_Call]) -> int:
    return min(call.after for call in calls if call.after > 1)  # 1 px: gates read the mean of a map
