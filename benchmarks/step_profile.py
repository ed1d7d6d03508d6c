"""Measure the time of one of our training steps by kind of work; print a Markdown table.

    PYTHONPATH=scripts python benchmarks/step_profile.py cifar10 resnet50

On one thread, at full image size, on random images, with SGD: optimizer_cost.py measures Muon. The last line compares
the convolutions' arithmetic with what one large matrix product reaches on the same core in the same minute: the most
that any convolution can hope for.
"""

import argparse
import contextlib
import time
from collections import Counter

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from deepnets.reporting import markdown
from deepnets.training.device import Device, disable_malloc_trim
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from measure import Job, NoStates

WARM_UP, STEPS = 3, 5
MATRIX = 2048  # rows and columns of the matrix product
KINDS = {  # of work: the first one with a word in the operator's name
    "input": ("index", "flip", "pad", "upsample", "interpolate", "addcmul", "sub", "div"),
    "convolution": ("conv", "Conv"),
    "batch normalisation": ("batch_norm",),
    "linear layers": ("addmm", "aten::mm", "linear"),
    "optimizer": ("_fused", "Optimizer"),
    "pooling": ("pool", "aten::mean"),
    "activations and sums": ("relu", "threshold", "hardtanh", "clamp", "aten::add", "aten::cat", "dropout"),
    "casts, copies and zeros": ("copy_", "_to_copy", "fill_", "zero_"),
}
OTHER = "everything else"


def kind_of(operator: str) -> str:
    """Return the kind of work of one of torch's operators."""
    return next((kind for kind, words in KINDS.items() if any(word in operator for word in words)), OTHER)


def run_steps(trainer: Trainer, count: int) -> None:
    """Take `count` steps of a trainer's first epoch."""
    done = iter(range(1, count + 1))
    trainer.progress.step = 0
    with contextlib.suppress(Interrupted):
        trainer.fit(NoStates(), should_stop=lambda: next(done) == count)


def step_milliseconds(trainer: Trainer) -> pd.Series:
    """Milliseconds of one step by kind of work, most first: the mean of STEPS steps after the warm-up."""
    run_steps(trainer, WARM_UP)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run_steps(trainer, STEPS)
    spent = Counter()
    for operator in profiler.key_averages():
        spent[kind_of(operator.key)] += operator.self_cpu_time_total / 1e3 / STEPS
    return pd.Series(spent).sort_values(ascending=False)


def convolution_flops(trainer: Trainer) -> int:
    """Floating-point operations of a step's convolutions, forward and backward: two for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        run_steps(trainer, 1)
    return sum(flops for operator, flops in counter.get_flop_counts()["Global"].items() if "conv" in str(operator))


def matrix_flops_per_second(device: Device) -> float:
    """Return the speed of a square matrix product in the trainer's precision: the fastest of ten."""
    dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
    left, right = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(seconds)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="of a pair of config.yaml's study `paper`")
    parser.add_argument("model")
    args = parser.parse_args(argv)

    disable_malloc_trim()
    job = Job.of(args.dataset, args.model, images=8192, epochs=1, optimizer="sgd", progressive_resizing=None)
    trainer = job.trainer(Trainer, threads=1)
    spent = step_milliseconds(trainer)
    flops = convolution_flops(trainer) / (spent["convolution"] / 1e3)
    most = matrix_flops_per_second(trainer.device)

    rows = [[kind, f"{ms:.0f}", f"{100 * ms / spent.sum():.1f} %"] for kind, ms in spent.items()]
    rows.append(["the step", f"{spent.sum():.0f}", "100.0 %"])
    print(markdown.table(["work", "ms a step", "share"], rows, 1))
    print(
        f"\n{args.model} on {args.dataset}, {job.recipe.batch_size} images a step, {trainer.device.precision}:"
        f" {spent.sum() / job.recipe.batch_size:.2f} ms an image. Its convolutions run at {flops / 1e9:.0f} GFLOP/s,"
        f" {100 * flops / most:.0f} % of a {MATRIX}x{MATRIX} matrix product's {most / 1e9:.0f} GFLOP/s."
    )


if __name__ == "__main__":
    run(main)
