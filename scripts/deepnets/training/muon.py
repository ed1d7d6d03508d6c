"""Muon, an optimizer that makes the momentum of each weight matrix orthogonal before it takes the step.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon). An
orthogonal step changes all directions of a layer alike, also those that few images ask for. Here,

- a convolution of shape (out, in, h, w) is a matrix (out, h * w * in), as channels_last lies in memory; each group of
  a grouped convolution is a matrix of its own, so each filter of a depthwise one is a vector, whose orthogonal step is
  its momentum scaled to length one;
- a matrix whose shorter side is long is divided along it into blocks, each made orthogonal by itself, as the cost grows
  with the square of the shorter side;
- the step's length is `lr` times the matrix's initial norm, and the matrix keeps that norm, so no weight decay is
  needed: before a normalisation layer only its direction counts.

First and depthwise convolutions are among the matrices, unlike in the original: a step of a share of the norm suits
each filter as it suits a whole layer. benchmarks/ingredients.py has a row with SGD steps for them.

torch.optim.Muon takes matrices only, one at a time, and decays weights, so the step is written here. Norms, biases, the
classifier and the largest hidden layers take Nesterov SGD steps with learning rates of their own.
"""

import math
from collections.abc import Callable, Iterable
from functools import reduce
from inspect import unwrap

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
LARGEST = 2**23  # parameters of a weight; the iteration for a larger one would cost more than all else in a step
BLOCK_SIDE = 256  # the longest shorter side of a block
_TINY = 1e-12  # no norm that is divided by is smaller: a gradient of zeros makes a step of zeros


class Muon(torch.optim.Optimizer):
    """Orthogonal steps for matrices, Nesterov SGD steps for all other parameters.

    Args:
        groups: as `muon_groups` makes them. Each has `lr`, `momentum` and `weight_decay`; a group with `matrix_counts`
            takes orthogonal steps, without weight decay.
    """

    # Torch's methods without their decorator, which imports torch.compile; that takes a second.
    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, groups: Iterable[dict]):
        super().__init__(list(groups), {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no loss to return
        """Take one step with the gradients that are there; a parameter without a gradient stays as it is."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters and "matrix_counts" in group:
                self._orthogonal_steps(parameters, group)
            elif parameters:
                self._sgd_steps(parameters, group)

    def _sgd_steps(self, parameters: list[Tensor], group: dict) -> None:
        # One pass over memory: for VGG-16's large layers, separate operations took a tenth of a training step.
        torch._fused_sgd_(
            parameters,
            _gradients(parameters),
            self._momentum(parameters),
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=True,
            maximize=False,
            is_first_step=False,
        )

    def _orthogonal_steps(self, parameters: list[Tensor], group: dict) -> None:
        count_of = dict(zip(map(id, group["params"]), group["matrix_counts"], strict=True))
        updates = self._nesterov(parameters, _gradients(parameters), group["momentum"])
        counts = [count_of[id(parameter)] for parameter in parameters]
        directions = orthogonal([_matrices(update, count) for update, count in zip(updates, counts, strict=True)])
        for parameter, count, direction in zip(parameters, counts, directions, strict=True):
            weight = _matrices(parameter, count)
            norm = self._initial_norm(parameter, weight)
            weight = weight - direction * (group["lr"] * norm / _norm(direction))
            weight *= norm / _norm(weight)
            parameter.copy_(weight.view_as(parameter.movedim(1, -1)).movedim(-1, 1))

    def _nesterov(self, parameters: list[Tensor], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        """Add the gradients to their momentum; return the update of Nesterov's kind."""
        buffers = self._momentum(parameters)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _momentum(self, parameters: list[Tensor]) -> list[Tensor]:
        """The momentum of each parameter, zeros before its first step."""
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return [self.state[parameter]["momentum_buffer"] for parameter in parameters]

    def _initial_norm(self, parameter: Tensor, weight: Tensor) -> Tensor:
        """The norm of each matrix before its first step; of zeros, that of an orthogonal matrix."""
        state = self.state[parameter]
        if "norm" not in state:
            norm = weight.norm(dim=(1, 2), keepdim=True)
            state["norm"] = torch.where(norm > 0, norm, math.sqrt(min(weight.shape[1:])))
        return state["norm"]


def _matrices(weight: Tensor, count: int) -> Tensor:
    """View a weight (out, in, ...) as `count` matrices: (count, out / count, ... * in)."""
    return weight.movedim(1, -1).flatten(1).unflatten(0, (count, -1))


def _norm(matrices: Tensor) -> Tensor:
    return matrices.norm(dim=(1, 2), keepdim=True).clamp_min(_TINY)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def muon_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Divide the trained parameters of a network into three groups.

    `matrices`: convolutions and hidden linear layers, orthogonal steps. `classifier`: the last linear layer, and hidden
    ones of more than LARGEST parameters, with weight decay. `vectors`: norms and biases, and all else. Groups that are
    empty are left out.

    Returns:
        One dictionary for each group, with its `name`, `params` and `weight_decay`; and for `matrices`, with
        `matrix_counts`: how many matrices each weight is.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)]
    last = next((layer for layer in reversed(layers) if isinstance(layer, nn.Linear)), layers[-1] if layers else None)
    counts = {id(layer.weight): getattr(layer, "groups", 1) for layer in layers if layer is not last}
    for attention in (module for module in model.modules() if isinstance(module, nn.MultiheadAttention)):
        counts[id(attention.in_proj_weight)] = 3  # queries, keys and values
    matrices: list[Tensor] = []
    classifier: list[Tensor] = []
    vectors: list[Tensor] = []
    for parameter in (each for each in model.parameters() if each.requires_grad):
        if id(parameter) in counts:
            (matrices if parameter.numel() <= LARGEST else classifier).append(parameter)
        else:
            (classifier if last is not None and parameter is last.weight else vectors).append(parameter)
    groups: list[dict] = [
        {
            "name": "matrices",
            "params": matrices,
            "weight_decay": 0.0,
            "matrix_counts": [counts[id(parameter)] for parameter in matrices],
        },
        {"name": "classifier", "params": classifier, "weight_decay": weight_decay},
        {"name": "vectors", "params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def orthogonal(matrices: list[Tensor], steps: int = STEPS, block_side: int = BLOCK_SIDE) -> list[Tensor]:
    """Replace each matrix U S V' by nearly U V', in blocks.

    Args:
        matrices: (n, rows, columns) each, float32: n matrices of a shape.
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
        for block in wide.tensor_split(math.ceil(wide.shape[1] / block_side), dim=1):
            blocks.setdefault(block.shape[1:], []).append((number, block))
    found: list[list[Tensor]] = [[] for _ in matrices]
    for same in blocks.values():
        made = _orthogonal_batch(torch.cat([block for _, block in same]), steps)
        for (number, _), block in zip(same, made.split([len(block) for _, block in same]), strict=True):
            found[number].append(block)
    joined = [torch.cat(parts, dim=1) if len(parts) > 1 else parts[0] for parts in found]
    return [wide if wide.shape == matrix.shape else wide.mT for wide, matrix in zip(joined, matrices, strict=True)]


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[1] <= matrix.shape[2] else matrix.mT


def _orthogonal_batch(batch: Tensor, steps: int) -> Tensor:
    """As `orthogonal`, of a batch (n, rows, columns), with rows <= columns.

    The polynomials are computed from the Gram matrix X X': with P = p(X X'), the next Gram matrix is P X X' P, and P is
    applied to X once, at the end. Only two products have the longer side.
    """
    if batch.shape[1] == 1:
        return batch / _norm(batch)
    x = (batch / (_norm(batch) * _SAFETY)).to(_arithmetic(batch.device))
    gram = x @ x.mT
    polynomials: list[Tensor] = []
    for a, b, c in POLAR_EXPRESS[:steps]:
        if polynomials:
            gram = polynomials[-1] @ gram @ polynomials[-1]
        polynomials.append(b * gram + c * (gram @ gram))
        polynomials[-1].diagonal(dim1=1, dim2=2).add_(a)
    return (reduce(lambda earlier, later: later @ earlier, polynomials) @ x).float()


def _arithmetic(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively: rounding does no harm to a direction."""
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
