"""The stem for small images: the first convolution 3x3 with stride 1, and the next halving left out.

So ResNets are used on CIFAR (He et al. 2015, section 4.2); the other families lose the first factor of 4, too.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepnets.models import _stem
from deepnets.models._named import FAMILIES_WITH_SMALL_STEM, HAS_SMALL_STEM
from deepnets.utils.errors import UserError

_SIZE = 64  # px, of the image on which the halvings are found
_FACTOR = 4  # between the sides of the maps without and with this stem


class _Call(NamedTuple):
    name: str
    layer: nn.Module
    before: int  # width in pixels
    after: int


def apply(network: nn.Module, architecture: str) -> None:
    """Change a library's network in place.

    Raises:
        UserError: it is of another family, or its first layers are not as expected.
    """
    calls = _calls(network) if HAS_SMALL_STEM.search(architecture) else []
    first, layer = (calls[0], calls[0].layer) if calls else (None, None)
    if first is None or not isinstance(layer, nn.Conv2d) or first.before != _SIZE:
        raise _no_small_stem(architecture)
    smallest = _smallest_map(calls)
    if layer.kernel_size == (3, 3):
        layer.stride = (1, 1)
    else:
        _stem.put(network, first.name, _stem.like(layer, kernel_size=3, stride=1, padding=1))
    if first.after > _SIZE // _FACTOR:  # a stem of stride 4, as ConvNeXt's, has both halvings
        for call in calls[1:]:
            if (
                call.before == first.after and call.after == first.after // 2
            ):  # shortcuts have a convolution of their own
                _keep_size(network, call)
    if _smallest_map(_calls(network)) != _FACTOR * smallest:
        raise _no_small_stem(architecture)


def _keep_size(network: nn.Module, call: _Call) -> None:
    if isinstance(call.layer, nn.Conv2d):
        call.layer.stride = (1, 1)
    else:
        _stem.put(network, call.name, nn.Identity())


def _calls(network: nn.Module) -> list[_Call]:
    """The convolutions and poolings that an image goes through, in their order."""
    calls = list[_Call]()

    def record(name: str):
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(_Call(name, layer, inputs[0].shape[-1], output.shape[-1]))

        return hook

    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
    ]
    hooks = [layer.register_forward_hook(record(name)) for name, layer in layers]
    weight = next(network.parameters())
    channels = next(layer.in_channels for _, layer in layers if isinstance(layer, nn.Conv2d))
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, _SIZE, _SIZE, device=weight.device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return calls


def _smallest_map(calls: list[_Call]) -> int:
    return min(call.after for call in calls if call.after > 1)  # 1 px: gates read the mean of a map


def _no_small_stem(architecture: str) -> UserError:
    return UserError(
        f"{architecture}: has no small stem, which the families {FAMILIES_WITH_SMALL_STEM} have; leave out stem, or"
        " choose another network"
    )
