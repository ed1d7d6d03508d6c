"""Measure our predictions next to a plain torch loop over the same trained network, batches and images; print a table.

    PYTHONPATH=scripts python benchmarks/inference_speed.py --study paper

In the folder of a study whose training runs are finished, on test images, on one thread. Five variants take turns, so
that other load on the machine affects all; the times are CPU time, medians over the rounds:

- plain: what most people write first, in float32 and PyTorch's default layout;
- plain, best: the same at its best flags, bfloat16 autocast (where the processor multiplies it natively) and
  channels_last;
- not folded: `predict` of the network as it was trained, with which training validates;
- ours: `predict` with each batch normalisation folded into the convolution before it, as the evaluation of many images;
- forward: the same network on batches that are ready, the most that `predict` can hope for.

The last columns count the images whose predicted class differs from that in float32: with bfloat16, and folded too.
For the whole test split, ask for more images than it has: --images 10000.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from deepnets.config.experiment import Experiment
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.evaluation.evaluate import open_splits
from deepnets.evaluation.folding import fold_norms
from deepnets.evaluation.network import load_network
from deepnets.reporting import markdown
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, configure_device, disable_malloc_trim
from deepnets.training.inference import EVALUATION_BATCH, channels_last, predict
from deepnets.utils import paths
from deepnets.utils.command_line import number, run
from peers.common import layout, use_bfloat16

TITLES = ["network", "plain", "plain, best", "not folded", "ours", "forward"]
TITLES += ["classes changed by bfloat16", "classes changed by bfloat16 and folding"]


def plain_loop(network: nn.Module, images: Tensor, mean: list[float], std: list[float], best: bool) -> Tensor:
    """Logits, float32 (N, classes), of images, uint8 (N, C, H, W)."""
    of_channel = [torch.tensor(values)[:, None, None] for values in (mean, std)]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=use_bfloat16(best)):
        return torch.cat(
            [
                network(((batch / 255 - of_channel[0]) / of_channel[1]).contiguous(memory_format=layout(best))).float()
                for batch in images.split(EVALUATION_BATCH)
            ]
        )


def variants(experiment: Experiment, images: int) -> dict[str, Callable[[], Tensor]]:
    """Each variant's function, which returns the logits of that many test images, or of all if they are fewer."""
    spec, folder = experiment.spec, Path(experiment.directory)
    plain, metadata = load_network(folder / paths.MODEL_FILE, spec)
    recipe, data = Recipe(**spec["recipe"]), paths.DATASET_INFO.format(dataset=experiment.dataset)
    test = open_splits(data, recipe.validation_fraction, spec["seed"], spec["dataset"])[0]["test"]
    split = test.subset(torch.arange(min(images, len(test))))
    pixels, _ = split.get_batch(torch.arange(len(split)), torch.device("cpu"))
    pixels = pixels.contiguous()

    fast = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    trained = copy.deepcopy(fast)
    device = configure_device(trained, "cpu", recipe.precision, threads=1)
    augmentation = Augmentation(recipe.augment, False, metadata["mean"], metadata["std"], device.device)
    ready = [channels_last(augmentation.normalise(batch)) for batch in pixels.split(EVALUATION_BATCH)]
    ours = copy.deepcopy(trained)
    start = time.process_time()
    folded = fold_norms(ours, ready[0][:8])
    took = time.process_time() - start
    print(f"{experiment.model} on {experiment.dataset}: {folded} norms folded in {took:.2f} s", file=sys.stderr)
    numbers = metadata["mean"], metadata["std"]
    return {
        "plain": lambda: plain_loop(plain.eval(), pixels, *numbers, best=False),
        "plain, best": lambda: plain_loop(fast.eval(), pixels, *numbers, best=True),
        "not folded": lambda: predict(trained, split, augmentation, device),
        "ours": lambda: predict(ours, split, augmentation, device),
        "forward": lambda: forward(ours, ready, device),
    }


def forward(network: nn.Module, batches: list[Tensor], device: Device) -> Tensor:
    """Logits of batches that are ready, float32 (N, classes)."""
    network.eval()
    with torch.inference_mode(), device.autocast():
        return torch.cat([network(batch).float() for batch in batches])


def row(name: str, compared: dict[str, Callable[[], Tensor]], rounds: int) -> list[str]:
    """The table's row of a network: images per second of each variant, and how many predictions change."""
    classes = {variant: logits().argmax(1) for variant, logits in compared.items()}  # and the warm-up
    seconds: dict[str, list[float]] = {variant: [] for variant in compared}
    for _ in range(rounds):
        for variant, logits in compared.items():
            start = time.process_time()
            logits()
            seconds[variant].append(time.process_time() - start)
    of = len(classes["plain"])
    changed = [int((classes[variant] != classes["plain"]).sum()) for variant in ("not folded", "ours")]
    return [
        name,
        *(f"{of / statistics.median(times):,.0f}" for times in seconds.values()),
        *(f"{count:,} of {of:,}" for count in changed),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="paper", help="of config.yaml (default: paper)")
    parser.add_argument("--images", type=number(int, 1, 10**6), default=1024, help="test images (default: 1024)")
    parser.add_argument("--rounds", type=number(int, 1), default=5, help="of each variant (default: 5)")
    args = parser.parse_args(argv)
    disable_malloc_trim()
    config = load_config("config.yaml", command_line={"study": args.study})
    rows = []
    for experiment in config.experiments(config.study):
        name = f"{experiment.model} on {experiment.dataset}"
        rows.append(row(name, variants(experiment, args.images), args.rounds))
    print("Images per second of processor time, one thread:\n")
    print(markdown.table(TITLES, rows, 1))


if __name__ == "__main__":
    run(main)
