"""Measure what the optimizer costs in a training step, and which choices keep Muon small; print a table.

    PYTHONPATH=scripts python benchmarks/optimizer_cost.py

For each pair of config.yaml's study `paper`, on one thread, at full image size, on random images: a few training steps,
then steps of the optimizers alone with the gradients of the last one. SGD and the choices of Muon take turns, so that
other load on the machine affects all. Times are CPU time, medians. Four of the six pairs
took 102 seconds; all six take under six minutes.

The table is written to results/optimizer_cost.md. A choice differs from Muon as it is in what its column says;
`every second step` is the mean of a step that moves the matrices and of one that only adds to their momentum.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from deepnets.config.loader import load_config
from deepnets.reporting import markdown
from deepnets.training.device import disable_malloc_trim
from deepnets.training.muon import BLOCK_SIDE, STEPS
from deepnets.training.optim import build_optimizer
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from deepnets.utils.files import write_text
from measure import Job, NoStates
from muon_choices import choose
from speed import ROOT, pairs_of, positive

WARM_UP = 2  # steps that are not counted
WHOLE = 2**30  # no matrix has a longer side
CHOICES: dict[str, dict[str, int]] = {
    f"muon ({STEPS} iterations, blocks of {BLOCK_SIDE})": {},
    "5 iterations": {"steps": 5},
    "no blocks": {"block_side": WHOLE},
    "blocks of 128": {"block_side": 128},
    "blocks of 64": {"block_side": 64},
    "every second step": {"every": 2},
}
TITLES = ["pair", "images a step", "step without optimizer (ms)", "sgd", *CHOICES]


class Steps:
    """Training steps of a Muon trainer, with their CPU milliseconds without the optimizer.

    gradients: those of the last step, in the order of the network's parameters.
    """

    def __init__(self, trainer: Trainer):
        self.trainer, self.rest = trainer, []
        optimizer = trainer.state.optimizer
        optimizer.step = self._noted(optimizer.step)  # type: ignore[method-assign]

    def _noted(self, step: Callable[[], None]) -> Callable[[], None]:
        def noted() -> None:
            self.gradients = [parameter.grad for parameter in self.trainer.model.parameters()]
            self.in_optimizer = milliseconds(step)

        return noted

    def take(self, number: int) -> None:
        """Take that many steps, and note the time of each."""
        for _ in range(number):
            self.trainer.progress.step = 0
            self.rest.append(milliseconds(self._step) - self.in_optimizer)

    def _step(self) -> None:
        with contextlib.suppress(Interrupted):
            self.trainer.fit(NoStates(), should_stop=lambda: True)


def milliseconds(work: Callable[[], object]) -> float:
    """CPU milliseconds of a call."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def optimizers_alone(trainer: Trainer, gradients: list[torch.Tensor], rounds: int) -> dict[str, float]:
    """Median milliseconds of a step of SGD and of each choice of Muon, with these gradients."""
    sgd = build_optimizer(trainer.model, trainer.recipe.model_copy(update={"optimizer": "sgd"}))
    muon = build_optimizer(trainer.model, trainer.recipe)
    for parameter, gradient in zip(trainer.model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    times: dict[str, list[float]] = {name: [] for name in ("sgd", *CHOICES)}
    for _ in range(1 + rounds):
        times["sgd"].append(milliseconds(sgd.step))
        for name, choice in CHOICES.items():
            choose(muon, **choice)
            every = choice.get("every", 1)
            times[name].append(sum(milliseconds(muon.step) for _ in range(every)) / every)
    return {name: statistics.median(of_name[1:]) for name, of_name in times.items()}


def row(dataset: str, model: str, rounds: int) -> list[str]:
    """The table's row of a pair."""
    job = Job.of(dataset, model, images=2048, epochs=1, progressive_resizing=None, optimizer="muon")
    trainer = job.trainer(Trainer, threads=1)
    steps = Steps(trainer)
    steps.take(WARM_UP + rounds)
    rest = statistics.median(steps.rest[WARM_UP:])
    times = optimizers_alone(trainer, steps.gradients, rounds)
    cells = [f"{each:.1f} ({100 * each / (each + rest):.1f} %)" for each in times.values()]
    return [f"{model} on {dataset}", str(job.recipe.batch_size), f"{rest:.0f}", *cells]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=5, help="steps of each kind that count (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for optimizer_cost.md")
    args = parser.parse_args(argv)
    disable_malloc_trim()
    pairs = pairs_of(load_config(str(ROOT / "config.yaml")).experiments("paper"))
    table = markdown.table(TITLES, [row(*pair, args.rounds) for pair in pairs], 1)
    text = f"Milliseconds of a step of each optimizer, in brackets its share of a training step with it:\n\n{table}\n"
    write_text(args.output / "optimizer_cost.md", text)
    print(text)


if __name__ == "__main__":
    run(main)
