"""Which maps of a network Grad-CAM can show: those of its last convolution, or of the block that this is in."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn


class NoMapsError(Exception):
    """A network has no such maps; the message says why."""


def last_maps(network: nn.Module, run: Callable[[], object]) -> tuple[str, nn.Module]:
    """Find the module that gives the last maps of a network: its last convolution, or what contains it.

    Maps are an output (N, C, H, W) of more than one pixel. In a block of several branches, the block's output counts,
    as one branch shows a part. If that has one pixel, as of a ResNet for images of 8 pixels, what is before the block
    counts, where several of its modules take what it takes.

    Args:
        network: the network.
        run: calls it with a square image.

    Returns:
        the module's name in the network, and the module.

    Raises:
        NoMapsError: it has none; or layers of tokens (N, L, C) follow, as in a transformer or a mixer of patches, where
            an early convolution only cuts the image into patches.
    """
    found = list[tuple[str, nn.Module, torch.Size]]()
    tokens = list[nn.Module]()  # layers of tokens that ran after the last maps, or in the block that gave them
    calls = list[tuple[nn.Module, object]]()  # with what each module was called

    def record(path: str, module: nn.Module, inputs: Sequence[object], output: object) -> None:
        if inputs and output is not inputs[0]:  # some give back what they get: Identity, or dropout in evaluation
            calls.append((module, inputs[0]))
        if _takes_tokens(module, inputs):
            tokens.append(module)
        elif isinstance(output, torch.Tensor) and output.ndim == 4 and _has_convolution(module):
            inside = set(module.modules())
            if _are_maps(output.shape):
                tokens[:] = [each for each in tokens if each in inside]
                found.append((path, module, output.shape))
            elif inputs and _starts_branches(module, inputs[0], calls):
                found[:] = [each for each in found if each[1] not in inside] or found

    hooks = [module.register_forward_hook(partial(record, path)) for path, module in network.named_modules()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise NoMapsError("no convolution of it has maps of several pixels")
    if tokens:
        raise NoMapsError("attention, or another layer of tokens, follows its last convolution")
    path, module, shape = found[-1]
    if shape[1] == shape[2] != shape[3]:  # (N, H, W, C): images are square
        raise NoMapsError("its last maps are (N, H, W, C), not (N, C, H, W)")
    return path, module


def _starts_branches(block: nn.Module, taken: object, calls: Sequence[tuple[nn.Module, object]]) -> bool:
    """Whether several modules of a block take what the block takes."""
    parts = set(block.children())
    return len({module for module, first in calls if module in parts and first is taken}) > 1


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
