"""What a training asks of a machine: memory and time, estimated from what was measured of each architecture.

For the scheduler: estimates decide what runs side by side and in which order, and are no part of any result.
"""

import math
from dataclasses import dataclass, fields

TORCH_MB = 850  # a process that has loaded torch
BYTES_PER_PARAMETER = 16  # weight, gradient, momentum and a copy in transit, 4 bytes each


@dataclass(frozen=True)
class Cost:
    """What an architecture costs on a CPU; measured by `make bench` and in the run of docs/reference.

    parameters: in millions.
    kilobytes: memory for each pixel of each image of a batch, in float32, which takes more than bfloat16.
    microseconds: of a core for each pixel of an image, forward and backward, in bfloat16; float32 takes about thrice.
    least_side: px; smaller images are enlarged by the network.
    """

    parameters: float
    kilobytes: float
    microseconds: float
    least_side: int = 1


COSTS = {
    "vgg16": Cost(134.3, 6, 10, least_side=32),
    "inception_v3": Cost(21.8, 5, 9),
    "resnet50": Cost(23.5, 10, 15),
    "mobilenet_v2": Cost(1.8, 60, 21),
}
# Of an architecture that nobody has measured, the most of each.
UNMEASURED = Cost(*(max(getattr(cost, field.name) for cost in COSTS.values()) for field in fields(Cost)))


def memory_mb(spec: dict, input_shape: tuple[int, int, int], on_gpu: bool = False) -> int:
    """Peak memory of a training, in MB, for an experiment's spec and its dataset's (C, H, W).

    That of the host: of a training `on_gpu`, the activations are in the GPU's, and not counted.
    """
    cost, recipe = _cost(spec), spec["recipe"]
    images = math.ceil(recipe["batch_size"] / recipe["accumulation"])
    activations_mb = cost.kilobytes * images * _pixels(spec, input_shape) / 1000
    return round(TORCH_MB + BYTES_PER_PARAMETER * cost.parameters + (0 if on_gpu else activations_mb))


def core_seconds(spec: dict, input_shape: tuple[int, int, int], images: int) -> float:
    """Seconds that a training takes on one core with bfloat16, for a spec, (C, H, W) and number of training images."""
    seconds_per_image = _cost(spec).microseconds * _pixels(spec, input_shape) / 1e6
    return spec["recipe"]["epochs"] * images * seconds_per_image


def _cost(spec: dict) -> Cost:
    return COSTS.get(spec["model"]["architecture"], UNMEASURED)


def _pixels(spec: dict, input_shape: tuple[int, int, int]) -> float:
    """Pixels of an image at the resolution of the network's larger maps, to which its cost is in proportion."""
    model = spec["model"]
    pixels = max(input_shape[1], model.get("min_side", 1), _cost(spec).least_side) ** 2
    if not model.get("stem_pool", True):
        pixels *= 4
    return pixels / math.prod(model.get("strides", ())[:3])
