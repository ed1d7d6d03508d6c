"""Weights of an earlier training run in a network: which fit, which are replaced, and which layers are frozen."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepnets import models
from deepnets.utils.errors import UserError
from deepnets.utils.text import first_few

LEAST_SHARE = 0.5  # of the parameters outside the head; with less, the weights are most likely of another network


class Match(NamedTuple):
    """What weights have in common with a network. The lists are names of tensors.

    tensors: those that fit, by the network's names. parameters, of: numbers of values outside the head, of those that
    fit and of all. replaced: of the head, which keep initial values. adapted: the first convolution, for another number
    of channels. initialised: others that keep initial values. unused: in the weights only.
    """

    tensors: dict[str, Tensor]
    parameters: int
    of: int
    replaced: list[str]
    adapted: list[str]
    initialised: list[str]
    unused: list[str]


def head_of(network: nn.Module, spec: dict[str, Any], num_classes: int, input_shape: tuple[int, int, int]) -> set[str]:
    """Names of the weights of the last layer, or layers: those whose shape depends on the number of classes.

    Args:
        network: built from `spec` for `num_classes` and images of `input_shape` (C, H, W).
    """
    channels, height, width = input_shape
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                other = models.build(spec, num_classes + 1, channels, (height, width))
        except UserError:  # it computes with values while it is built
            other = models.build(spec, num_classes + 1, channels, (height, width))
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    return {name for name, tensor in network.state_dict().items() if shapes.get(name) != tensor.shape}


# -- matching ----------------------------------------------------------------------------------------------------------


def match(network: nn.Module, weights: Mapping[str, Tensor], head: Collection[str]) -> Match:
    """Find the weights that fit a network, by name and shape. Nothing is loaded.

    Names may have a prefix in the weights or in the network, such as `module.`. A first convolution for another number
    of channels is adapted: its sum over the channels stays the same, so a gray image gives what it gave in colour.

    Args:
        head: names of the network's tensors that keep their initial values.

    Raises:
        UserError: hardly anything fits; the message has names and shapes of both.
    """
    own, first = network.state_dict(), _first_convolution(network)
    renamed, unused = _renamed(weights, own)
    tensors, adapted, initialised = dict[str, Tensor](), [], []
    for name, tensor in own.items():
        found = renamed.pop(name, None)
        if name in head:
            continue
        if found is not None and found.shape == tensor.shape:
            tensors[name] = found
        elif found is not None and name == first and found.shape[2:] == tensor.shape[2:] and len(found) == len(tensor):
            tensors[name] = _for_channels(found, tensor.shape[1])
            adapted.append(name)
        else:
            initialised.append(name)
            if found is not None:
                unused.append(name)
    counted = {name: each.numel() for name, each in network.named_parameters() if name not in head}
    parameters = sum(number for name, number in counted.items() if name in tensors)
    if parameters < LEAST_SHARE * sum(counted.values()):
        raise UserError(_hardly_anything(own, weights, parameters, sum(counted.values())))
    # Older files have no count of batches; the norms that are used keep the default.
    initialised = [name for name in initialised if not name.endswith("num_batches_tracked")]
    replaced = [name for name in own if name in head]
    return Match(
        tensors, parameters, sum(counted.values()), replaced, adapted, initialised, sorted([*unused, *renamed])
    )


def _renamed(weights: Mapping[str, Tensor], own: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by the network's names, and the names of those without the prefix that the others have."""
    found = Counter[tuple[str, str]]()
    for name in weights:
        found.update((prefix, "") for prefix in _prefixes(name) if name.removeprefix(prefix) in own)
    for name in own:
        found.update(("", prefix) for prefix in _prefixes(name) if prefix and name.removeprefix(prefix) in weights)
    dropped, added = max(found, key=lambda prefixes: found[prefixes], default=("", ""))
    renamed = {added + name.removeprefix(dropped): each for name, each in weights.items() if name.startswith(dropped)}
    return renamed, [name for name in weights if not name.startswith(dropped)]


def _prefixes(name: str) -> Iterator[str]:
    """ "", "layer1." and "layer1.0." of "layer1.0.weight"."""
    yield from (name[:length] for length in range(len(name)) if not length or name[length - 1] == ".")


def _first_convolution(network: nn.Module) -> str | None:
    layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    return next((f"{name}.weight" if name else "weight" for name, _ in layers), None)


def _for_channels(weight: Tensor, channels: int) -> Tensor:
    return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1).contiguous() / channels


def _hardly_anything(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], parameters: int, of: int) -> str:
    theirs, ours = (
        first_few([f"{name} {tuple(each.shape)}" for name, each in tensors.items()]) for tensors in (weights, own)
    )
    return (
        f"only {parameters:,} of {of:,} parameters fit: the weights have {theirs}; the network has {ours}; give weights"
        " of this network, or the architecture of these weights"
    )


# -- freezing ----------------------------------------------------------------------------------------------------------


def freeze_backbone(network: nn.Module, head: Collection[str], architecture: str) -> None:
    """Train the head alone, in place.

    Raises:
        UserError: the network has no head that depends on the number of classes.
    """
    if not any(name in head for name, _ in network.named_parameters()):
        raise UserError(
            f"{models.file_of(architecture)}: no layer depends on num_classes, so freeze: backbone would leave nothing"
            " to train; let the last layer have num_classes outputs, or leave out freeze"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in head)


def is_frozen(network: nn.Module) -> bool:
    """Whether some of the parameters are not trained."""
    return not all(parameter.requires_grad for parameter in network.parameters())


def set_training_mode(network: nn.Module, frozen: nn.Module) -> None:
    """Switch a network to training. If some of it is frozen, only the layers that are trained: the others keep their
    batch statistics, and drop nothing.

    Args:
        network: as it is called, perhaps a compiled or distributed `frozen`.
        frozen: the network itself.
    """
    network.train()
    if is_frozen(frozen):
        for layer in frozen.modules():
            layer.training = any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
