"""Batch normalisation folded into the convolution before it: the same predictions from fewer layers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from deepnets.data.splits import Split
from deepnets.evaluation.samples import sample
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device
from deepnets.training.inference import channels_last

# To fold ResNet50 takes the time that it saves on 1,200 to 1,700 images (two pairs of the published study).
FEWEST_IMAGES = 2_000
_TRIED = 8  # images that show whether the outputs stay the same
_TOLERANCE = 1e-3  # of the spread of the logits; rounding to float32 changes less than 1e-5 of it


def fold_for_many(network: nn.Module, test: Split, augmentation: Augmentation, device: Device) -> int:
    """Fold the norms of a network that predicts a test split, if the split is so large that this saves time.

    Args:
        network: as for `fold_norms`.
        test: the whole test split, also where a part of it is predicted: each stage then predicts by the same network.
        augmentation: only its normalisation is used.
        device: where the network is. On a GPU nothing is folded, as nobody has measured whether it saves time there.

    Returns:
        How many norms were folded.
    """
    if len(test) < FEWEST_IMAGES or device.device.type != "cpu":
        return 0
    images, _ = test.get_batch(torch.from_numpy(sample(np.arange(len(test)), _TRIED, seed=0)), device.device)
    return fold_norms(network, channels_last(augmentation.normalise(images)))


def fold_norms(network: nn.Module, images: Tensor) -> int:
    """Fold each batch normalisation into the convolution before it, in place, if these images keep their outputs.

    After training, a norm multiplies each channel by one number and adds another. The convolution's weights and bias
    can contain both (Jacob et al. 2018, arXiv 1712.05877, section 3.2). Only predictions may follow.

    Args:
        network: with its trained weights, float32; it is switched to evaluation.
        images: some, as the network gets them, float32 (N, C, H, W) on its device. They show which layer reads what,
            and whether the outputs stay the same.

    Returns:
        How many norms were folded. 0 if an output changed; each layer then is as it was.
    """
    network.eval()
    folded: list[tuple[nn.Conv2d, Tensor, Tensor | None, str, nn.Module]] = []
    try:
        with torch.no_grad():
            with _Reading(network) as reading:
                before = network(images)
            for conv, name in reading.pairs():
                norm: Any = network.get_submodule(name)  # torch's types of its numbers are vague
                folded.append((conv, conv.weight, conv.bias, name, norm))
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                network.set_submodule(name, nn.Identity())
            if _are_same(network(images), before):
                return len(folded)
    except Exception:  # a user's network can fail in any way; it predicts as it is
        pass
    for conv, weight, bias, name, norm in folded:
        conv.weight, conv.bias = weight, bias
        network.set_submodule(name, norm)
    return 0


def _are_same(after: Tensor, before: Tensor) -> bool:
    """Whether logits are the same but for rounding; False if some are not finite."""
    spread = float((before - before.mean(1, keepdim=True)).abs().max())
    return bool((after - before).abs().max() <= _TOLERANCE * spread)


@dataclass
class _Maps:
    """What a convolution gave: the tensor, kept so that no other one gets its id, and who read it."""

    tensor: Tensor
    conv: nn.Conv2d
    reads: int = 0
    norm: str | None = None  # the name of one that read it


class _Reading(TorchFunctionMode):
    """Follows images through a network: which convolution gives a tensor, which norm reads it, and how many others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = [(name, each) for name, each in network.named_modules() if not _has_hooks(each)]
        # Only parameters: a layer that computes the weights with which it convolves cannot contain a norm.
        self._convs = {id(each._parameters["weight"]): each for _, each in layers if _has_weights(each)}
        self._norms = {
            id(each.running_mean): name
            for name, each in layers
            if isinstance(each, nn.BatchNorm2d)
            and type(each).forward is nn.BatchNorm2d.forward
            and each.running_mean is not None
        }
        self._maps: dict[int, _Maps] = {}  # by the tensor's id
        self._calls = Counter[object]()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [each for each in map(self._maps.get, map(id, tree_leaves((args, kwargs)))) if each]
        if any(isinstance(each, Tensor) for each in tree_leaves(result)):  # `maps.dim()` reads no value
            for maps in read:
                maps.reads += 1
        numbers = id(args[1]) if len(args) > 1 else None  # of a convolution its weights, of a norm its means
        if func is F.conv2d and numbers in self._convs:
            self._calls[self._convs[numbers]] += 1
            self._maps[id(result)] = _Maps(result, self._convs[numbers])
        elif func is F.batch_norm and numbers in self._norms:
            self._calls[self._norms[numbers]] += 1
            for maps in read:
                maps.norm = self._norms[numbers]
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


def _has_weights(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer._parameters.get("weight") is not None
