"""Measure the share of the optimizer in a training step, for each pair of config.yaml's study `paper`; print a table.

    PYTHONPATH=scripts python benchmarks/optimizer_cost.py

On one thread, at full image size, on random images. SGD and Muon take turns, a step each, so that other load on the
machine affects both; the times are CPU time, medians over the steps.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable

from deepnets.config.loader import load_config
from deepnets.reporting import markdown
from deepnets.training.device import disable_malloc_trim
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from measure import Job, NoStates
from speed import ROOT, pairs_of

WARM_UP = 2  # steps of each optimizer that are not counted


class TimedOptimizer:
    """Steps of one trainer, with the CPU milliseconds of each step and of the optimizer in it."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.of_step: list[float] = []
        self.of_optimizer: list[float] = []
        optimizer = trainer.state.optimizer
        optimizer.step = self._timed(optimizer.step)  # type: ignore[method-assign]

    def _timed(self, step: Callable[[], None]) -> Callable[[], None]:
        def timed() -> None:
            start = time.process_time()
            step()
            self.of_optimizer.append(1e3 * (time.process_time() - start))

        return timed

    def step(self) -> None:
        """Take one step."""
        self.trainer.progress.step = 0
        start = time.process_time()
        with contextlib.suppress(Interrupted):
            self.trainer.fit(NoStates(), should_stop=lambda: True)
        self.of_step.append(1e3 * (time.process_time() - start))

    def medians(self) -> tuple[float, float]:
        """Milliseconds of the optimizer and of the rest of a step."""
        optimizer, step = self.of_optimizer[WARM_UP:], self.of_step[WARM_UP:]
        rest = [whole - part for whole, part in zip(step, optimizer, strict=True)]
        return statistics.median(optimizer), statistics.median(rest)


def row(dataset: str, model: str, steps: int) -> list[str]:
    """The table's row of a pair."""
    timed = {}
    for optimizer in ("sgd", "muon"):
        job = Job.of(dataset, model, images=2048, epochs=1, progressive_resizing=None, optimizer=optimizer)
        timed[optimizer] = TimedOptimizer(job.trainer(Trainer, threads=1))
    for _ in range(WARM_UP + steps):
        for each in timed.values():
            each.step()
    (sgd, _), (muon, rest) = timed["sgd"].medians(), timed["muon"].medians()
    share = f"{100 * muon / (muon + rest):.1f} %"
    return [f"{model} on {dataset}", str(job.recipe.batch_size), f"{rest:.0f}", f"{sgd:.1f}", f"{muon:.1f}", share]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="of each optimizer and pair (default: 8)")
    args = parser.parse_args(argv)
    disable_malloc_trim()
    config = load_config(str(ROOT / "config.yaml"))
    rows = [row(*pair, args.steps) for pair in pairs_of(config.experiments("paper"))]
    titles = ["pair", "images a step", "step without optimizer (ms)", "sgd (ms)", "muon (ms)", "muon's share"]
    print(markdown.table(titles, rows, 1))


if __name__ == "__main__":
    run(main)
