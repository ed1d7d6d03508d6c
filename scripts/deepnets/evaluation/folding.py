"""Batch normalisation folded into the convolution before it: the same predictions from fewer layers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device
from deepnets.training.inference import channels_last

# To fold ResNet50 takes the time that it saves on 1,500 images; fewer are predicted by the network as it was trained.
FEWEST_IMAGES = 2_000
_TOLERANCE = 1e-3  # of the largest logit; rounding changes 1e-6 of it


def fold_for_many(network: nn.Module, test: Split, augmentation: Augmentation, device: Device) -> None:
    """Fold the norms of a network that predicts a test split, if that is large enough to take less time so.

    Args:
        network: as for `fold_norms`.
        test: the whole test split, also where a part of it is predicted: each stage then predicts by the same network.
        augmentation: only its normalisation is used.
        device: where the network is.
    """
    if len(test) >= FEWEST_IMAGES:
        images, _ = test.get_batch(torch.arange(2), device.device)
        fold_norms(network, channels_last(augmentation.normalise(images)))


def fold_norms(network: nn.Module, images: Tensor) -> int:
    """Fold each batch normalisation into the convolution before it, in place, if no output changes by that.

    After training, a norm multiplies each channel by one number and adds another. The convolution's weights and bias
    can contain both (Jacob et al. 2018, arXiv 1712.05877, section 3.2). Only predictions may follow.

    Args:
        network: with its trained weights, float32; it is switched to evaluation.
        images: a few, as the network gets them, float32 (N, C, H, W) on its device. They show which layer reads what,
            and whether the outputs stay the same.

    Returns:
        How many norms were folded. 0 if the outputs would change; the network is then as it was.
    """
    network.eval()
    folded: list[tuple[nn.Conv2d, Tensor, Tensor | None, str, nn.Module]] = []
    try:
        with torch.no_grad():  # autocast would convert weights of inference_mode again for each batch
            with _Reading(network) as reading:
                before = network(images)
            for conv, name in reading.pairs():
                norm = network.get_submodule(name)
                folded.append((conv, conv.weight, conv.bias, name, norm))
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                network.set_submodule(name, nn.Identity())
            if torch.allclose(network(images), before, rtol=0, atol=_TOLERANCE * float(before.abs().max())):
                return len(folded)
    except Exception:  # noqa: S110 - a user's network can fail in any way; it predicts as it is
        pass
    for conv, weight, bias, name, norm in folded:
        conv.weight, conv.bias = weight, bias
        network.set_submodule(name, norm)
    return 0


@dataclass
class _Maps:
    """What a convolution gave. The tensor is kept, so that no other one gets its id."""

    tensor: Tensor
    conv: nn.Conv2d
    reads: int = 0
    norm: str | None = None  # that reads it


class _Reading(TorchFunctionMode):
    """Follows images through a network: which convolution gives a tensor, which norm reads it, and how many others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = [(name, each) for name, each in network.named_modules() if not _has_hooks(each)]
        # By their weights themselves; some layers compute those with which they convolve.
        self._convs = {id(each._parameters.get("weight")): each for _, each in layers if isinstance(each, nn.Conv2d)}
        self._norms = {
            id(each.running_mean): name
            for name, each in layers
            if isinstance(each, nn.BatchNorm2d) and type(each).forward is nn.BatchNorm2d.forward
        }
        self._maps: dict[int, _Maps] = {}  # by the tensor's id
        self._calls = Counter[object]()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [each for each in map(self._maps.get, map(id, tree_leaves((args, kwargs)))) if each]
        if any(isinstance(each, Tensor) for each in tree_leaves(result)):  # not the number of dimensions
            for maps in read:
                maps.reads += 1
        layer = id(args[1]) if len(args) > 1 else None
        if func is F.conv2d and layer in self._convs:
            self._calls[self._convs[layer]] += 1
            self._maps[id(result)] = _Maps(result, self._convs[layer])
        elif func is F.batch_norm and layer in self._norms:
            self._calls[self._norms[layer]] += 1
            for maps in read:
                maps.norm = self._norms[layer]
        return result

    def pairs(self) -> list[tuple[nn.Conv2d, str]]:
        """Each convolution with the name of the norm that alone reads what it gives; each was called once."""
        return [
            (maps.conv, maps.norm)
            for maps in self._maps.values()
            if maps.norm is not None and maps.reads == self._calls[maps.conv] == self._calls[maps.norm] == 1
        ]


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)
