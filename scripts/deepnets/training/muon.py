"""Muon, an optimizer that makes the momentum of each weight matrix orthogonal before it takes the step.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon). An
orthogonal step changes all directions of a layer alike, also those that few images ask for. Here,

- a convolution of shape (out, in, h, w) is a matrix (out, h * w * in), as channels_last lies in memory;
- a matrix whose shorter side is long is divided along it into blocks, each made orthogonal by itself, as the cost grows
  with the square of the shorter side;
- the step's length is `lr` times the weight's initial norm, and the weight keeps that norm, so no weight decay is
  needed: after a normalisation layer only its direction counts.

torch.optim.Muon takes matrices only, one at a time, and decays weights, so the step is written here. The first and
grouped convolutions, norms, biases and the classifier take Nesterov SGD steps with learning rates of their own.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from deepnets.training.device import multiplies_bfloat16

# Coefficients (a, b, c) of the polynomials a X + b X X'X + c X X'X X'X, the best for each step in turn when singular
# values lie between 0.001 and 1: Amsel et al. 2025, "The Polar Express" (arXiv 2505.16932), with its factor of safety.
_SAFETY = 1.01
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
STEPS = 3  # of the five polynomials: more bring the singular values nearer to one, at more cost
BLOCK_SIDE = 256  # the longest shorter side of a block
_TINY = 1e-12  # no norm that is divided by is smaller: a gradient of zeros makes a step of zeros


class Muon(torch.optim.Optimizer):
    """Orthogonal steps for matrices, Nesterov SGD steps for all other parameters.

    Args:
        groups: as `muon_groups` makes them. Each has `lr`, `momentum`, `weight_decay` and `orthogonal`: whether its
            parameters take orthogonal steps; those have no weight decay.
    """

    def __init__(self, groups: Iterable[dict]):
        super().__init__(list(groups), {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no loss to return
        """Take one step with the gradients that are there; a parameter without a gradient stays as it is."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters and group["orthogonal"]:
                self._orthogonal_steps(parameters, group)
            elif parameters:
                self._sgd_steps(parameters, group)

    def _sgd_steps(self, parameters: list[Tensor], group: dict) -> None:
        updates = _gradients(parameters)
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, parameters, alpha=group["weight_decay"]))
        torch._foreach_add_(parameters, self._nesterov(parameters, updates, group["momentum"]), alpha=-group["lr"])

    def _orthogonal_steps(self, parameters: list[Tensor], group: dict) -> None:
        updates = self._nesterov(parameters, _gradients(parameters), group["momentum"])
        directions = orthogonal([update.movedim(1, -1).flatten(1) for update in updates])
        for parameter, direction in zip(parameters, directions, strict=True):
            norm = self._initial_norm(parameter)
            step = direction * (-group["lr"] * norm / direction.norm().clamp_min(_TINY))
            parameter.add_(step.view_as(parameter.movedim(1, -1)).movedim(-1, 1))
            parameter.mul_(norm / parameter.norm().clamp_min(_TINY))

    def _nesterov(self, parameters: list[Tensor], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        """Add the gradients to their momentum; return the update of Nesterov's kind."""
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _initial_norm(self, parameter: Tensor) -> Tensor:
        """The norm of the weight before its first step; of zeros, that of an orthogonal matrix."""
        state = self.state[parameter]
        if "norm" not in state:
            norm = parameter.norm()
            state["norm"] = torch.where(norm > 0, norm, math.sqrt(min(parameter.flatten(1).shape)))
        return state["norm"]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def muon_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Divide the trained parameters of a network into four groups.

    `matrices`: convolutions and hidden linear layers, orthogonal steps. `filters`: the first convolution and grouped
    ones, whose matrices are thin. `classifier`: the last linear layer, with weight decay. `vectors`: norms and biases.
    Groups that are empty are left out.

    Returns:
        One dictionary for each group, with its `name`, `params`, `orthogonal` and `weight_decay`.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)]
    convolutions = [layer for layer in layers if not isinstance(layer, nn.Linear)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    classifier = {id(layer.weight) for layer in (linear or convolutions)[-1:]}
    thin = {id(layer.weight) for layer in convolutions if layer.groups > 1 or layer is convolutions[0]}
    hidden = {id(layer.weight) for layer in layers} - classifier - thin
    parameters: dict[str, list[Tensor]] = {"matrices": [], "filters": [], "classifier": [], "vectors": []}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            parameters["vectors"].append(parameter)
        elif id(parameter) in hidden:
            parameters["matrices"].append(parameter)
        else:
            parameters["classifier" if id(parameter) in classifier else "filters"].append(parameter)
    decay = {"filters": weight_decay, "classifier": weight_decay}
    return [
        {"name": name, "params": found, "orthogonal": name == "matrices", "weight_decay": decay.get(name, 0.0)}
        for name, found in parameters.items()
        if found
    ]


def orthogonal(matrices: list[Tensor], steps: int = STEPS, block_side: int = BLOCK_SIDE) -> list[Tensor]:
    """Replace each matrix U S V' by nearly U V', in blocks.

    Args:
        matrices: (rows, columns) of each, float32.
        steps: of the iteration.
        block_side: a matrix with more rows and more columns is divided along its shorter side, into equal blocks of at
            most this number of rows or columns.

    Returns:
        The matrices, float32. After three steps the singular values of a block are between 0.13 and 1.87 if those of
        the input were above a thousandth of its norm; after five, between 0.87 and 1.13.
    """
    blocks: dict[torch.Size, list[tuple[int, Tensor]]] = {}  # by shape: equal shapes are one batch
    for number, matrix in enumerate(matrices):
        wide = _wide(matrix)
        for block in wide.tensor_split(math.ceil(len(wide) / block_side)):
            blocks.setdefault(block.shape, []).append((number, block))
    found: list[list[Tensor]] = [[] for _ in matrices]
    for same in blocks.values():
        made = _orthogonal_batch(torch.stack([block for _, block in same]), steps)
        for (number, _), block in zip(same, made, strict=True):
            found[number].append(block)
    joined = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in found]
    return [wide if wide.shape == matrix.shape else wide.mT for wide, matrix in zip(joined, matrices, strict=True)]


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def _orthogonal_batch(batch: Tensor, steps: int) -> Tensor:
    """As `orthogonal`, of a batch (n, rows, columns), with rows <= columns.

    The polynomials are computed from the Gram matrix X X': with P = p(X X'), the next Gram matrix is P X X' P, and P is
    applied to X once, at the end. Only two products have the longer side.
    """
    scale = batch.norm(dim=(1, 2), keepdim=True) * _SAFETY
    x = (batch / scale.clamp_min(_TINY)).to(_arithmetic(batch.device))
    gram = x @ x.mT
    total = None
    for a, b, c in POLAR_EXPRESS[:steps]:
        polynomial = b * gram + c * (gram @ gram)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        total = polynomial if total is None else polynomial @ total
        gram = polynomial @ gram @ polynomial
    return (total @ x).float()


def _arithmetic(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively: rounding does no harm to a direction."""
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
