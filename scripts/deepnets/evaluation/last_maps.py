"""Which maps of a network Grad-CAM can show: those of its last convolution, or of the block that this is in."""

from collections.abc import Callable, Sequence

import torch
from torch import nn


class NoMapsError(Exception):
    """A network has no such maps; the message says why."""


def last_maps(network: nn.Module, run: Callable[[], object]) -> tuple[str, nn.Module]:
    """Find the module that gives the last maps of a network: its last convolution, or what contains it.

    Maps are an output (N, C, H, W) of more than one pixel. In a block of several branches, the block's output counts:
    the last branch alone would show a part of what the network found.

    Args:
        network: the network.
        run: calls it with a square image.

    Returns:
        the module's name in the network, and the module.

    Raises:
        NoMapsError: it has no such maps; or layers of tokens (N, L, C) follow them, as in a transformer or a mixer of
            patches, where an early convolution only cuts the image into patches.
    """
    found = list[tuple[str, nn.Module]]()
    tokens = list[nn.Module]()  # layers of tokens that ran after the last maps, or in the block that gave them
    channels_last = False

    def record(path: str, module: nn.Module, inputs: Sequence[object], output: object) -> None:
        nonlocal channels_last
        if _takes_tokens(module, inputs):
            tokens.append(module)
        elif isinstance(output, torch.Tensor) and _are_maps(output.shape) and _has_convolution(module):
            inside = set(module.modules())
            tokens[:] = [each for each in tokens if each in inside]
            channels_last = output.shape[1] == output.shape[2] != output.shape[3]  # (N, H, W, C): images are square
            found.append((path, module))

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, path=path: record(path, module, inputs, output))
        for path, module in network.named_modules()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise NoMapsError("no convolution of it has maps of several pixels")
    if tokens:
        raise NoMapsError("attention, or another layer of tokens, follows its last convolution")
    if channels_last:
        raise NoMapsError("its last maps are (N, H, W, C), not (N, C, H, W)")
    return found[-1]


def _are_maps(shape: torch.Size) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _takes_tokens(module: nn.Module, inputs: Sequence[object]) -> bool:
    """Whether a module is attention, or has weights and takes (N, L, C), whose places are no longer rows and columns.

    (N, 1, C) is not that: so some networks weight the channels of maps.
    """
    if "Attention" in type(module).__name__:  # torchvision's Swin Transformer takes windows of (N, H, W, C)
        return True
    shapes = [each.shape for each in inputs if isinstance(each, torch.Tensor)]
    takes = any(len(shape) == 3 and min(shape[1:]) > 1 for shape in shapes)
    return takes and any(True for _ in module.parameters()) and not _has_convolution(module)


def _has_convolution(module: nn.Module) -> bool:
    return any(isinstance(each, nn.Conv2d) for each in module.modules())
