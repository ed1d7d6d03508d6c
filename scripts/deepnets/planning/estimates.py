"""Estimates of the memory and time of a training run and its evaluation, from measurements of each network.

The estimates are for the scheduler: they decide which jobs run side by side and in which order. They do not change
results.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

from deepnets import models
from deepnets.config.optimizers import OPTIMIZERS
from deepnets.models._about import Cost

Summary = Mapping[str, float]  # of summary.json: parameters, mult_adds, size_mb, weights_mb

TORCH_MB = 950  # a process that has loaded torch
BYTES_PER_PARAMETER = 12  # weight, gradient and a copy in transit, 4 bytes each; the optimizer's state is added
# Of a core, for each parameter in each optimizer step: VGG-16 on the digits of docs/runs/demo, half of its time.
NANOSECONDS_PER_PARAMETER = 2
# The same for the orthogonal steps of Muon, of at most that many millions of parameters: larger layers have SGD steps.
NANOSECONDS_OF_MUON, MOST_IN_MATRICES = 12, 24
EVALUATION_MB = 800  # a process that has loaded torch, and the images and labels that it reads
EVALUATION_BATCH = 256  # as in training/inference.py, which loads torch
# Share of a training run that only one thread can do (Amdahl's law): two threads did the work of 1.61 to 1.89 runs side
# by side in the six pairs of docs/runs/reference/bench.json; 1.7 is assumed. More than two were not measured.
SERIAL_SHARE = 0.18
# Of a network that nobody measured, from its summary.json. Memory of an image: torchinfo counts the outputs of layers;
# the four networks took 0.5 to 3 times as much (MobileNetV2's depthwise convolutions most). An evaluation keeps few of
# them at a time, at most 0.14 of their memory in bfloat16; float32 takes twice as much. Time: of a core, for each
# multiply-add, forward and backward; the four took 28 to 243.
MEMORY_OF_OUTPUTS, KEPT_IN_EVALUATION = 2, 0.3
PICOSECONDS_PER_MULT_ADD = 100


def training_memory_mb(
    spec: dict, input_shape: tuple[int, int, int], on_gpu: bool = False, summary: Summary | None = None
) -> int:
    """Peak memory of a training run on the host, in MB.

    Args:
        spec: the experiment's.
        input_shape: (C, H, W) of its dataset.
        on_gpu: whether the activations are in a GPU's memory, and so not counted (an estimate: all was measured on
            CPUs).
        summary: of a network that was not measured, what summary.json has counted; else it costs as much as the most
            expensive measured one.
    """
    cost, recipe = _cost(spec, input_shape, summary), spec["recipe"]
    average_bytes = 4 * (recipe["weight_averaging"] != "none")
    optimizer = OPTIMIZERS[recipe["optimizer"]]
    bytes_each = BYTES_PER_PARAMETER + optimizer.state_bytes + optimizer.scratch_bytes + average_bytes
    images = math.ceil(recipe["batch_size"] / recipe["accumulation"])
    activations_mb = cost.kilobytes * images / 1000
    return round(TORCH_MB + bytes_each * cost.parameters + (0 if on_gpu else activations_mb))


def evaluation_memory_mb(spec: dict, input_shape: tuple[int, int, int], summary: Summary | None = None) -> int:
    """Peak memory of an evaluation on the CPU, in MB; arguments as of `training_memory_mb`."""
    cost = _cost(spec, input_shape, summary)
    activations_mb = cost.evaluation_kilobytes * EVALUATION_BATCH / 1000
    return round(EVALUATION_MB + 4 * cost.parameters + activations_mb)


def core_seconds(spec: dict, input_shape: tuple[int, int, int], images: int, summary: Summary | None = None) -> float:
    """Seconds that a training run takes on one core with bfloat16; `images` is the number of training images."""
    cost, recipe = _cost(spec, input_shape, summary), spec["recipe"]
    of_images = images * cost.microseconds * _share_of_full_size(recipe) / 1e6
    per_step = cost.parameters * NANOSECONDS_PER_PARAMETER / 1e3
    if recipe["optimizer"] == "muon":
        per_step += min(cost.parameters, MOST_IN_MATRICES) * NANOSECONDS_OF_MUON / 1e3
    of_steps = images / recipe["batch_size"] * per_step
    return recipe["epochs"] * (of_images + of_steps)


def is_measured(spec: dict) -> bool:
    """Whether the network's own module says what it costs; then its summary is not needed."""
    return models.about(spec["model"]["architecture"]).cost is not None


class _ImageCost(NamedTuple):
    """Millions of parameters of a network, and the cost of one image of one size; units as of `models._about.Cost`."""

    parameters: float
    kilobytes: float
    evaluation_kilobytes: float
    microseconds: float


def _cost(spec: dict, input_shape: tuple[int, int, int], summary: Summary | None) -> _ImageCost:
    measured = models.about(spec["model"]["architecture"]).cost
    if measured is not None:
        return _of_image(measured, spec["model"], input_shape[1])
    if summary is None:
        return _largest_cost(input_shape[1])
    kilobytes_of_outputs = 1000 * (summary["size_mb"] - summary["weights_mb"])
    return _ImageCost(  # a summary is of images of the size that the dataset has
        parameters=summary["parameters"] / 1e6,
        kilobytes=MEMORY_OF_OUTPUTS * kilobytes_of_outputs,
        evaluation_kilobytes=KEPT_IN_EVALUATION * kilobytes_of_outputs,
        microseconds=summary["mult_adds"] * PICOSECONDS_PER_MULT_ADD / 1e6,
    )


@functools.cache
def _largest_cost(side: int) -> _ImageCost:
    """Return the largest of each value among the measured networks, which have their default options."""
    costs = {name: cost for name in models.available() if (cost := models.about(name).cost)}
    defaults = {name: models.architecture(name).Options().model_dump() for name in costs}
    each = [_of_image(cost, defaults[name], side) for name, cost in costs.items()]
    return _ImageCost(*(max(values) for values in zip(*each, strict=True)))


def _of_image(cost: Cost, options: Mapping[str, object], side: int) -> _ImageCost:
    pixels = cost.pixels(options, side)
    of_pixel = cost.kilobytes, cost.evaluation_kilobytes, cost.microseconds
    return _ImageCost(cost.parameters, *(value * pixels for value in of_pixel))


def _share_of_full_size(recipe: dict) -> float:
    """Return the mean number of pixels of the training images, relative to the full size, where images grow.

    Assumes that the image size grows linearly; returns the mean of its square.
    """
    if recipe["progressive_resizing"] is None:
        return 1
    start, until = recipe["progressive_resizing"]["start"], recipe["progressive_resizing"]["until"]
    return until * (1 + start + start**2) / 3 + (1 - until)


def speed_up(threads: int) -> float:
    """Return the speed of a training run relative to its speed with one thread."""
    return 1 / (SERIAL_SHARE + (1 - SERIAL_SHARE) / threads)
