"""Lower learning rates for earlier layers, so that fine-tuning keeps what the first layers have learned.

Layer-wise learning-rate decay: Clark et al. 2020, ELECTRA (arXiv 2003.10555), and Bao et al. 2022, BEiT (arXiv
2106.08254). The last layer has the recipe's learning rates, each layer before it `layer_decay` times those of the next.
"""

import re

from torch import nn

_NUMBERED = re.compile(r"^(?:[^.\d]+\.)*?[^.]*\d[^.]*(?:\.\d+)*")  # the first name with a digit, and numbers after it


def layers_of(model: nn.Module) -> dict[str, int]:
    """The number of the layer of each trained parameter, by name, from 0 for the first layer.

    A layer is what networks repeat: a block, or a convolution with the norm after it, as their names say: all of
    "layer1.0.conv1.weight" and "layer1.0.bn1.bias" is of layer1.0.
    """
    layers = {name: _layer(name.rpartition(".")[0]) for name, _ in model.named_parameters()}
    with_matrix = {layers[name] for name, parameter in model.named_parameters() if parameter.ndim > 1}
    numbers, seen = dict[str, int](), dict[str, int]()
    for name, layer in layers.items():
        if layer not in seen:
            seen[layer] = max(0, len(set(seen.values())) - (layer not in with_matrix))
        numbers[name] = seen[layer]
    return {name: numbers[name] for name, parameter in model.named_parameters() if parameter.requires_grad}


def _layer(owner: str) -> str:
    found = _NUMBERED.match(owner)
    return found[0] if found else owner


def decayed(groups: list[dict], model: nn.Module, layer_decay: float) -> list[dict]:
    """Divide groups of parameters by layer; each new group has `scale`, the factor of its learning rates.

    Args:
        groups: of an optimizer; lists as long as `params` are divided with them.
        model: whose parameters these are.
        layer_decay: factor from one layer to the one before; 1: the groups stay as they are, with scale 1.
    """
    if layer_decay == 1:
        return [{**group, "scale": 1.0} for group in groups]
    numbers, by_name = layers_of(model), dict(model.named_parameters())
    layer = {id(by_name[name]): number for name, number in numbers.items()}
    last = max(numbers.values())
    divided = []
    for group in groups:
        for number in sorted({layer[id(parameter)] for parameter in group["params"]}):
            rows = [row for row, parameter in enumerate(group["params"]) if layer[id(parameter)] == number]
            lists = {
                key: [value[row] for row in rows] if isinstance(value, list) else value for key, value in group.items()
            }
            divided.append({**lists, "scale": layer_decay ** (last - number)})
    return divided
