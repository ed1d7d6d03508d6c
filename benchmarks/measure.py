"""Measure how one variant trains one network, in its own process: it prints a line of JSON for each line it reads.

    export PYTHONPATH=scripts
    echo 8 | python benchmarks/measure.py '{"way": "ours", "dataset": "mnist", "model": "resnet50", "threads": 2}'

A line asks for a window of n seconds; between windows, training waits. So several processes can take turns on one
machine, as in `make bench`. Networks, batch sizes and augmentation are those of config.yaml's study `paper`, always at
full image size, and steps are SGD's. Images are random: arithmetic takes as long on any pixels, and nothing is
downloaded.
"""

import contextlib
import copy
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torchvision.models import VGG

from deepnets import models
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.data.sources import DatasetOptions
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation, Batch
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import Device, configure_device, disable_malloc_trim
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from peers import BEST, Peer, peer_of
from peers.common import use_bfloat16

# The first steps of a window, at least one, are not measured: caches are cold, and a peer's workers have prepared
# two batches each in the meantime.
SETTLING_STEPS, SETTLING_SECONDS = 4, 1.5
LEAST_STEPS = 2  # are measured, however long they take
# Trains, and after every step calls its argument, which returns whether to stop.
Start = Callable[[Callable[[], bool]], None]


class TimedWindows:
    """Called after every step, it returns whether to stop; it measures in windows, one for each request.

    Args:
        requests: lines, each the seconds that a window's measured steps should take. Training waits for the
            next one, and stops after the last.
        report: called after each window with the mean seconds of its measured steps, and their number.
    """

    def __init__(self, requests: Iterator[str], report: Callable[[float, int], None]):
        self.requests, self.report = requests, report

    def open(self) -> bool:
        """Wait for a request and begin its window; False if no request comes. Call it once before training."""
        request = next(self.requests, None)
        self.seconds, self.times = float(request or 0), [time.perf_counter()]
        return request is not None

    def __call__(self) -> bool:
        self.times.append(time.perf_counter())
        start = next((step for step in range(1, len(self.times)) if self._settled(step)), len(self.times))
        steps = len(self.times) - 1 - start
        if steps < LEAST_STEPS or self.times[-1] - self.times[start] < self.seconds:
            return False
        self.report((self.times[-1] - self.times[start]) / steps, steps)
        return not self.open()

    def _settled(self, step: int) -> bool:
        return step >= SETTLING_STEPS or self.times[step] - self.times[0] >= SETTLING_SECONDS


class Epoch:
    """Called after every step, it returns whether to stop; it measures an epoch of n steps from its start."""

    def __init__(self, requests: Iterator[str], report: Callable[[float, int], None], steps: int):
        self.requests, self.report, self.steps = requests, report, steps
        self.done = 0

    def open(self) -> bool:
        """Wait for a request of any length and begin; False if no request comes."""
        request = next(self.requests, None)
        self.start = time.perf_counter()
        return request is not None

    def __call__(self) -> bool:
        self.done += 1
        if self.done < self.steps:
            return False
        self.report((time.perf_counter() - self.start) / self.steps, self.steps)
        return True


class ConstantBatch(Trainer):
    """Our step without any work on data: the ceiling of what an input pipeline can reach."""

    batch = None

    def _batch(self, *place: object) -> Batch:
        self.batch = self.batch or super()._batch(*place)
        return self.batch


class NoStates(CheckpointDir):
    """Keeps nothing: saving is not what is measured here."""

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
        """Return the pair's job on n images, with changes to its recipe."""
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

    def peer_run(self, peer: Peer, best: bool, threads: int) -> tuple[Device, Start]:
        """Return the device of a peer's training run, and what starts it."""
        module, network = peer.load(), as_torchvision(self.network())
        device = configure_device(network, "cpu", "fp32", threads)
        torch.use_deterministic_algorithms(False)  # torch's default
        device = replace(device, precision="bf16" if use_bfloat16(best) else "fp32", deterministic=False)
        data = self.pixels, self.labels
        return device, lambda clock: module.train(network, *data, self.recipe, self.options.flips, clock, best)

    def our_run(self, kind: type[Trainer], threads: int) -> tuple[Device, Start]:
        """The same for ours."""
        disable_malloc_trim()
        trainer = self.trainer(kind, threads)

        def start(clock: Callable[[], bool]) -> None:
            with contextlib.suppress(Interrupted):  # the clock stops it
                trainer.fit(NoStates(), should_stop=clock)

        return trainer.device, start

    def trainer(self, kind: type[Trainer], threads: int) -> Trainer:
        """Our trainer, as scripts/train.py sets it up on a CPU; it validates on one image."""
        network, channels = self.network(), self.options.input_shape[0]
        device = configure_device(network, "cpu", self.recipe.precision, threads)
        mean_and_std = [0.5] * channels, [0.25] * channels
        return kind(
            network.to(memory_format=torch.channels_last),
            self.recipe,
            Split.of_arrays(self.pixels, self.labels),
            Split.of_arrays(self.pixels[:1], self.labels[:1]),
            Augmentation(self.recipe.augment, self.options.flips, *mean_and_std, device.device),
            0,
            device,
        )


def as_torchvision(network: torch.nn.Module) -> torch.nn.Module:
    """The same parameters with torchvision's own forward pass, where ours has a shortcut: in VGG-16."""
    if not isinstance(network, VGG):
        return network
    network = copy.copy(network)
    network.__class__ = VGG
    return network


def use_cores(number: int) -> None:
    """Confine this process, and those that it starts, to its first `number` cores; does nothing outside Linux."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def measure(
    way: str,
    dataset: str,
    model: str,
    threads: int,
    report: Callable[[dict], None],
    cores: int | None = None,
    batch_size: int | None = None,
    images: int = 4096,
    precision: str = "auto",
    epoch: bool = False,
    requests: Iterator[str] = sys.stdin,
) -> None:
    """Train on random images and time the steps, window by window.

    Args:
        way: "ours", "ceiling", or a key of `peers.PEERS`, which "_best" may follow: with that peer's best flags.
        dataset, model: a pair of config.yaml's study `paper`.
        threads: CPU threads.
        cores: number of cores for this process and a peer's workers together; None: all that there are.
        batch_size: images a step; None for the recipe's.
        images: number of training images.
        precision: of ours and the ceiling.
        epoch: the one window is a whole epoch, the start of a peer's workers included.
        requests: a line for each window, its seconds.
        report: called after each window with {"ms_per_image": mean over its steps, "steps": their number,
            "peak_memory_mb": of this process so far, "precision", "batch": images a step}.
    """
    if cores:
        use_cores(cores)
    sizes = {"batch_size": batch_size} if batch_size else {}
    changes = {"epochs": 1 if epoch else 1000, "progressive_resizing": None, "precision": precision, **sizes}
    changes["optimizer"] = "sgd"  # as the peers', whatever the study has
    job = Job.of(dataset, model, images, **changes)
    batch = job.recipe.batch_size
    if peer := peer_of(way):
        device, start = job.peer_run(peer, way.endswith(BEST), threads)
    else:
        device, start = job.our_run(ConstantBatch if way == "ceiling" else Trainer, threads)

    def report_of(seconds: float, steps: int) -> None:
        result = {"ms_per_image": 1e3 * seconds / batch, "steps": steps, "batch": batch}
        report(result | {"peak_memory_mb": round(device.peak_memory_mb()), "precision": device.precision})

    clock = Epoch(requests, report_of, images // batch) if epoch else TimedWindows(requests, report_of)
    if clock.open():
        start(clock)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # a library may print, and the caller reads lines of JSON
    measure(**json.loads(sys.argv[1]), report=lambda result: print(json.dumps(result), file=answers, flush=True))


if __name__ == "__main__":
    run(main)
