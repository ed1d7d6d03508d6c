"""Measure one way to train one network, in a process of its own, and print it as a line of JSON.

    export PYTHONPATH=scripts
    python benchmarks/measure.py '{"way": "ours", "dataset": "mnist", "model": "resnet50", "threads": 2}'

`make bench` calls it again and again. Networks, batch sizes and augmentation are those of config.yaml's study `paper`,
at full image size throughout. Images are random: arithmetic takes as long on any pixels, and nothing is downloaded.
"""

import contextlib
import itertools
import json
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

import plain_loop
from deepnets import models
from deepnets.augment import Augmentation, Batch
from deepnets.checkpoint import ResumeFolder
from deepnets.config import load_config
from deepnets.datasets import DatasetOptions
from deepnets.engine import Interrupted, Part, Trainer
from deepnets.errors import UserError, run
from deepnets.hardware import keep_freed_memory, set_up
from deepnets.recipe import Recipe

WAYS = ("plain", "ours", "ceiling")
WARM_UP = 2  # steps left out: they choose kernels, touch memory for the first time, wait for workers
LEAST_STEPS = 3  # and these are measured, however long they take


class Clock:
    """Asked after every step whether to stop, it notes the time.

    Args:
        seconds: stop when the steps after the warm-up have taken so long.
        steps: stop after so many steps in any case.
    """

    def __init__(self, seconds: float, steps: float):
        self.seconds, self.steps = seconds, steps
        self.times = [time.perf_counter()]

    def __call__(self) -> bool:
        self.times.append(time.perf_counter())
        done = len(self.times) - 1
        warm = self.times[min(done, WARM_UP)]
        return done >= self.steps or (done >= WARM_UP + LEAST_STEPS and self.times[-1] - warm > self.seconds)

    def step_seconds(self) -> list[float]:
        """Seconds of each step after the warm-up."""
        after = self.times[WARM_UP:]
        return [end - start for start, end in itertools.pairwise(after)]


class ConstantBatch(Trainer):
    """Our step without any work on data: the ceiling of what an input pipeline can reach."""

    batch = None

    def _batch(self, *place: object) -> Batch:
        self.batch = self.batch or super()._batch(*place)
        return self.batch


class NoStates(ResumeFolder):
    """Keeps nothing: saving is measured where it belongs, in a real training."""

    def __init__(self):
        super().__init__("", "", print)

    def load(self) -> None:
        """There is never a state."""

    def save(self, *state: object) -> None:
        """Forget it."""


@dataclass(frozen=True)
class Job:
    """A pair of config.yaml's study `paper` with random images: pixels uint8 (N, H, W, C), labels int64 (N,)."""

    model: dict
    recipe: Recipe
    options: DatasetOptions
    pixels: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, dataset: str, model: str, images: int, **changes: object) -> "Job":
        """The pair's job on so many images, with changes to its recipe."""
        config = load_config("config.yaml")
        specs = {(e.dataset, e.model): e.spec for e in config.experiments("paper")}
        if (dataset, model) not in specs:
            pairs = ", ".join(f"{dataset} {model}" for dataset, model in specs)
            raise UserError(f"{dataset} {model}: no pair of config.yaml's study `paper`, which has {pairs}.")
        spec, options = specs[dataset, model], config.datasets[dataset]
        channels, height, width = options.input_shape
        random = np.random.default_rng(0)
        pixels = random.integers(256, size=(images, height, width, channels), dtype=np.uint8)
        labels = random.integers(options.num_classes, size=images)
        return cls(spec["model"], Recipe(**spec["recipe"] | changes), options, pixels, labels)

    def network(self) -> torch.nn.Module:
        """The pair's network, freshly initialised."""
        return models.build(self.model, self.options.num_classes, self.options.input_shape[0])

    def trainer(self, kind: type[Trainer], threads: int) -> Trainer:
        """Our trainer, as scripts/train.py sets it up on a CPU; it validates on one image."""
        network, channels = self.network(), self.options.input_shape[0]
        hardware = set_up(network, "cpu", self.recipe.precision, threads)
        mean_and_std = [0.5] * channels, [0.25] * channels
        return kind(
            network.to(memory_format=torch.channels_last),
            self.recipe,
            Part.of_arrays(self.pixels, self.labels),
            Part.of_arrays(self.pixels[:1], self.labels[:1]),
            Augmentation(self.recipe.augment, self.options.flips, *mean_and_std, hardware.device),
            0,
            hardware,
        )


def measure(
    way: str,
    dataset: str,
    model: str,
    threads: int,
    batch_size: int | None = None,
    images: int = 4096,
    seconds: float = 8.0,
    epoch: bool = False,
) -> dict:
    """Train on random images and time the steps.

    Args:
        way: "plain", "ours" or "ceiling".
        dataset, model: a pair of config.yaml's study `paper`.
        threads: CPU threads.
        batch_size: images a step; None for the recipe's.
        images: number of training images.
        seconds: how long to measure, after the warm-up.
        epoch: measure one whole epoch, not `seconds`.

    Returns:
        {"ms_per_image": mean over the steps, "seconds": of all steps, the workers' start included, "steps": measured,
        "peak_memory_mb": of this process, "precision", "batch": images a step}.
    """
    epochs, sizes = 1 if epoch else 1000, {"batch_size": batch_size} if batch_size else {}
    job = Job.of(dataset, model, images, epochs=epochs, progressive_resizing=None, **sizes)
    recipe = job.recipe
    clock = Clock(*((float("inf"), images // recipe.batch_size) if epoch else (seconds, float("inf"))))
    if way == "plain":
        network = job.network()
        hardware = set_up(network, "cpu", "fp32", threads)
        torch.use_deterministic_algorithms(False)  # torch's default
        plain_loop.train(network, job.pixels, job.labels, recipe, job.options.flips, clock)
    else:
        keep_freed_memory()
        trainer = job.trainer(ConstantBatch if way == "ceiling" else Trainer, threads)
        hardware = trainer.hardware
        with contextlib.suppress(Interrupted):  # the clock's doing
            trainer.fit(NoStates(), should_stop=clock)
    return {
        "ms_per_image": 1e3 * statistics.fmean(clock.step_seconds()) / recipe.batch_size,
        "seconds": clock.times[-1] - clock.times[0],
        "steps": len(clock.step_seconds()),
        "peak_memory_mb": round(hardware.peak_memory_mb()),
        "precision": hardware.precision,
        "batch": recipe.batch_size,
    }


def main() -> None:
    print(json.dumps(measure(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    run(main)
