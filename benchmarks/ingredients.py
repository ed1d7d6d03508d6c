"""Measure what each ingredient of a recipe gives: validation accuracy with it and without it; print a table.

    PYTHONPATH=scripts python benchmarks/ingredients.py
    PYTHONPATH=scripts python benchmarks/ingredients.py base whitening --seeds 5

A small network for small images, MobileNetV2 on CIFAR-10, at half the size (16 px) for a third of an epoch, so that a
run takes a minute of one core, four at 32 px. Each variant takes as many steps as the run that it is compared with,
or, where a step costs more or less, as many as take the same CPU time, by an estimate; the table has the seconds that
they took. A variant and its base share the seeds, and with them split, weights at the start and order, so differences
are those of pairs. One thread for each run, as many runs at once as there are cores.

The arrays must be prepared: snakemake --cores 2 data/cifar10/dataset.json. Each run is kept in results/ingredients, and
the same command continues with the first run that is not there.
"""

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepnets.config.experiment import Experiment
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.reporting import markdown
from deepnets.training.augmentation import Batch, flip_where
from deepnets.training.device import configure_device, disable_malloc_trim
from deepnets.training.inference import channels_last, predict
from deepnets.training.seeds import AUGMENTATION, derived_seed
from deepnets.training.trainer import Trainer
from deepnets.utils.command_line import run
from deepnets.utils.files import read_json, write_json, write_text
from measure import NoStates
from muon_choices import choose
from speed import ROOT, positive
from time_to_accuracy import Task

MODEL = "mobilenet_v2"
FILTERS_LR = 0.08  # SGD's own, of the variant `sgd`
BASE = {
    "optimizer": "muon",
    "epochs": 0.365,
    "batch_size": 128,
    "lr": 0.05,
    "sgd_lr": 0.08,
    "classifier_lr": 0.016,
    "schedule": "linear",
    "warmup": 0.1,
}


class AlternatingFlip(Trainer):
    """Mirrors a random half of the images in the first epoch, the others in the second, and so on (Jordan 2024)."""

    def _batch(self, epoch: int, step: int, index: Tensor) -> Batch:
        coins = torch.rand(len(self.train_split), generator=torch.Generator().manual_seed(self.seed)) < 0.5
        images, labels = self.train_split.get_batch(index, self.device.device)
        images = flip_where(images, coins[index] ^ bool(epoch % 2))
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch, AUGMENTATION, step))
        flips, self.augmentation.flips = self.augmentation.flips, False
        batch = self.augmentation(images, labels, generator)
        self.augmentation.flips = flips
        return replace(batch, images=channels_last(batch.images))


class HardestHalf(Trainer):
    """Learns only from the half of each batch that has the largest losses (Jiang et al. 2019, Selective-Backprop)."""

    def _batch(self, epoch: int, step: int, index: Tensor) -> Batch:
        batch = super()._batch(epoch, step, index)
        with torch.no_grad(), self.device.autocast():
            losses = F.cross_entropy(self.network(batch.images).float(), batch.labels, reduction="none")
        hardest = losses.topk(len(losses) // 2).indices
        return Batch(channels_last(batch.images[hardest]), batch.labels[hardest])


def faster_biases(trainer: Trainer) -> None:
    """The biases of the norms learn eight times as fast."""
    groups = trainer.state.optimizer.param_groups
    norms = [module for module in trainer.model.modules() if isinstance(module, nn.BatchNorm2d)]
    biases = {id(norm.bias) for norm in norms}
    for group in groups:
        if group["name"] == "vectors":
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in biases]
            faster = {"params": [norm.bias for norm in norms], "peak_lr": 8 * group["peak_lr"]}
            groups.append({**group, **faster})
            break


def filters_by_sgd(trainer: Trainer) -> None:
    """The first and the depthwise convolutions take SGD steps, with a learning rate and weight decay of their own."""
    groups = trainer.state.optimizer.param_groups
    [matrices] = (group for group in groups if group["name"] == "matrices")
    [like] = (group for group in groups if group["name"] == "classifier")
    filters = {id(layer.weight) for layer in convolutions(trainer.model) if layer.groups > 1 or layer.in_channels <= 3}
    counts = dict(zip(matrices["params"], matrices["matrix_counts"], strict=True))
    kept = [weight for weight in counts if id(weight) not in filters]
    moved = [weight for weight in counts if id(weight) in filters]
    matrices.update(params=kept, matrix_counts=[counts[weight] for weight in kept])
    groups.append({**like, "name": "filters", "params": moved, "peak_lr": FILTERS_LR})


def five_iterations(trainer: Trainer) -> None:
    """Muon's matrices are made orthogonal by five iterations, not three."""
    choose(trainer.state.optimizer, steps=5)


def every_second(trainer: Trainer) -> None:
    """Muon moves matrices at every second step; at the others their gradients only join the momentum."""
    choose(trainer.state.optimizer, every=2)


def dirac_weights(trainer: Trainer) -> None:
    """Each convolution starts as the identity on as many channels as it can, with the norm that it had."""
    with torch.no_grad():
        for layer in convolutions(trainer.model):
            if layer.groups == 1 and layer.in_channels > 3:
                norm = layer.weight.norm()
                nn.init.dirac_(layer.weight[: min(layer.in_channels, layer.out_channels)])
                layer.weight.mul_(norm / layer.weight.norm())


def whitening_weights(trainer: Trainer) -> None:
    """The first convolution starts as the principal axes of patches, whitened, and their negatives (Page 2019)."""
    first = convolutions(trainer.model)[0]
    side, channels = first.kernel_size[0], first.in_channels
    images, _ = trainer.train_split.get_batch(torch.arange(2000), trainer.device.device)
    patches = trainer.augmentation.normalise(images).unfold(2, side, 1).unfold(3, side, 1)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * side * side)
    variances, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (axes / (variances + 5e-4).sqrt()).T.flip(0).reshape(-1, channels, side, side)
    filters = torch.cat([filters, -filters])[: first.out_channels]
    with torch.no_grad():
        norm = first.weight.norm()
        first.weight[: len(filters)] = filters
        first.weight.mul_(norm / first.weight.norm())


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a network, in order."""
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@dataclass(frozen=True)
class Variant:
    """A training run that differs in one ingredient.

    text: what differs. against: the variant without it; its own name if it is only there for others to differ from.
    recipe, model: options that differ from those of the base. images: how many training images there are; None: all.
    pixels: their side. kind, prepare: the trainer, and what is done to it before the first step.
    """

    text: str
    recipe: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    kind: type[Trainer] = Trainer
    prepare: Callable[[Trainer], None] = lambda trainer: None
    against: str = "base"
    images: int | None = None
    pixels: int = 16


# What is trained anyway, one of each with the same seed: the networks of other seeds have seen its validation images.
COMMITTEE = ("base", "lr", "momentum")
FEW = {"images": 5632, "recipe": {"epochs": 3}, "against": "few"}
VARIANTS = {
    "base": Variant("Muon, linear decay to zero after a warm-up of a tenth"),
    "sgd": Variant(
        "SGD 0.08, one-cycle, instead of Muon, 1.06 times the steps",
        {"optimizer": "sgd", "epochs": 0.386, "lr": 0.08, "schedule": "one_cycle", "warmup": 0.2, "weight_decay": 3e-4},
    ),
    "warmup": Variant("warm-up of a fifth", {"warmup": 0.2}),
    "one_cycle": Variant("the same, one-cycle", {"schedule": "one_cycle", "warmup": 0.2}, against="warmup"),
    "lr": Variant("lr 0.08 instead of 0.05", {"lr": 0.08}),
    "momentum": Variant("muon_momentum 0.8 instead of 0.6", {"muon_momentum": 0.8}),
    "iterations": Variant("five iterations, 0.99 times the steps", {"epochs": 0.362}, prepare=five_iterations),
    "every_second": Variant(
        "orthogonal steps every second time, lr 0.08, 1.02 times the steps",
        {"epochs": 0.370, "lr": 0.08},
        prepare=every_second,
    ),
    "filters_by_sgd": Variant(
        f"first and depthwise convolutions by SGD {FILTERS_LR:g}, not by Muon", prepare=filters_by_sgd
    ),
    "bias_lr": Variant("learning rate of the norms' biases times eight", prepare=faster_biases),
    "no_dropout": Variant("dropout off", model={"dropout": 0.0}),
    "whitening": Variant("first convolution starts as a whitening of patches", prepare=whitening_weights),
    "dirac": Variant("convolutions start as the identity", prepare=dirac_weights),
    "smoothing": Variant("label smoothing 0.1", {"label_smoothing": 0.1}),
    "ema": Variant("moving average of the weights, decay 0.9", {"weight_averaging": "ema", "ema_decay": 0.9}),
    "hardest": Variant(
        "only the hardest half of twice the batch, 0.6 times the steps",
        {"batch_size": 256, "epochs": 0.437},
        kind=HardestHalf,
    ),
    "few": Variant("an eighth of the images, three epochs", **FEW),
    "alternating_flip": Variant("the same, mirrored in every other epoch", **FEW, kind=AlternatingFlip),
    "full_size": Variant("32 px throughout", {"epochs": 0.4}, against="full_size", pixels=32),
    "growing": Variant(
        "16, then 24, then 32 px, 1.8 times the steps",
        {"epochs": 0.72, "progressive_resizing": {"start": 0.5, "until": 0.9}},
        against="full_size",
        pixels=32,
    ),
}


@dataclass(frozen=True)
class Run:
    """One training run of a variant."""

    variant: str
    dataset: str
    seed: int

    @property
    def settings(self) -> dict:
        """What the result depends on, apart from code."""
        variant = VARIANTS[self.variant]
        options = {"model": variant.model, "images": variant.images, "pixels": variant.pixels}
        options |= {"images_are_drawn": True} if variant.images else {}  # once they were the first ones, of few classes
        return {**asdict(self), "recipe": {**BASE, **variant.recipe}, **options}

    def file(self, folder: Path) -> Path:
        """The JSON file of the result; the logits are next to it."""
        return folder / f"{self.dataset}-{self.variant}-{self.seed}.json"

    def is_done(self, folder: Path) -> bool:
        """Whether the result is there, with these settings."""
        file = self.file(folder)
        return file.exists() and read_json(file)["settings"] == self.settings


def train(todo: Run, experiment: Experiment, folder: Path) -> None:
    """Train, validate with the images and with their mirror images, and write the result."""
    disable_malloc_trim()
    variant = VARIANTS[todo.variant]
    recipe = Recipe(**BASE | variant.recipe)
    spec = {
        **experiment.spec,
        "seed": todo.seed,
        "recipe": recipe.model_dump(mode="json"),
        "model": experiment.spec["model"] | variant.model,
    }
    task = Task.of(replace(experiment, spec=spec), ROOT)
    train_split, validation = (of_size(split, variant.pixels) for split in (task.train, task.validation))
    if variant.images:
        drawn = torch.randperm(len(train_split), generator=torch.Generator().manual_seed(todo.seed))
        train_split = train_split.subset(drawn[: variant.images])  # the images of a class follow each other
    network = task.network()
    device = configure_device(network, "cpu", recipe.precision, 1)
    augmentation = task.augmentation(device)
    one_image = validation.subset(torch.arange(1))
    network = network.to(memory_format=torch.channels_last)
    trainer = variant.kind(network, recipe, train_split, one_image, augmentation, todo.seed, device)
    variant.prepare(trainer)
    start = time.process_time()
    network = trainer.fit(NoStates())
    seconds = time.process_time() - start
    logits = predict(network, validation, augmentation, device)
    mirrored = predict(network, of_size(validation, variant.pixels, mirror=True), augmentation, device)
    file = todo.file(folder)
    np.savez(file.with_suffix(".npz"), logits=logits, mirrored=mirrored, labels=validation.all_labels())
    result = {"settings": todo.settings, "steps": trainer.total_steps, "cpu_seconds": seconds}
    write_json(file, result | {"validation_accuracy": accuracy(logits.numpy(), validation.all_labels().numpy())})


def of_size(split: Split, pixels: int, mirror: bool = False) -> Split:
    """The images of a split shrunk to a side of `pixels`, which divides theirs; mirrored on demand."""
    images = split.images if split.rows is None else split.images[split.rows]
    factor = images.shape[1] // pixels
    if factor > 1:
        blocks = images.unflatten(1, (pixels, factor)).unflatten(3, (pixels, factor))
        images = torch.cat([part.float().mean((2, 4)).round().byte() for part in blocks.split(4096)])
    return Split.of_arrays((images.flip(2) if mirror else images).numpy(), split.all_labels().numpy())


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest logit, or probability, is the label's."""
    return float((logits.argmax(1) == labels).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, classes)."""
    return torch.from_numpy(logits).double().softmax(1).numpy()


def rows_of(names: list[str], dataset: str, seeds: int, folder: Path) -> list[list[str]]:
    """The table's rows: a variant, its work, its mean accuracy, and the mean difference with its standard error."""
    runs = {name: [Run(name, dataset, seed) for seed in range(seeds)] for name in names}
    results = {name: [read_json(each.file(folder)) for each in runs[name]] for name in names}
    accuracies = {name: np.array([each["validation_accuracy"] for each in results[name]]) for name in names}
    rows = []
    for name in names:
        against = VARIANTS[name].against
        difference = "" if against == name or against not in names else paired(accuracies[name] - accuracies[against])
        steps, seconds = results[name][0]["steps"], np.median([each["cpu_seconds"] for each in results[name]])
        cells = [f"{steps}", f"{seconds:.0f}", f"{100 * accuracies[name].mean():.2f}", difference]
        rows.append([VARIANTS[name].text, *cells])
    members = [name for name in COMMITTEE if name in names]
    predicted = {name: [np.load(each.file(folder).with_suffix(".npz")) for each in runs[name]] for name in members}
    if "base" in names:
        both = [[softmax(each[kind]) for kind in ("logits", "mirrored")] for each in predicted["base"]]
        rows.append(averaged("the first row, averaged with the mirror image", both, predicted["base"]))
    if len(members) == len(COMMITTEE):
        together = [[softmax(each["logits"]) for each in seed] for seed in zip(*predicted.values(), strict=True)]
        texts = "; ".join(VARIANTS[name].text for name in COMMITTEE[1:])
        rows.append(
            averaged(
                f"a committee of the first row and of: {texts} (three times the seconds)", together, predicted["base"]
            )
        )
    return rows


def averaged(text: str, probabilities: list[list[np.ndarray]], bases: list) -> list[str]:
    """The row of averages of probabilities, (N, classes), some for each seed; `bases`: what the base has by each."""
    found = np.array([accuracy(sum(some), base["labels"]) for some, base in zip(probabilities, bases, strict=True)])
    gain = paired(found - np.array([accuracy(base["logits"], base["labels"]) for base in bases]))
    return [text, "", "", f"{100 * found.mean():.2f}", gain]


def paired(differences: np.ndarray) -> str:
    """Mean and standard error in points, such as "+1.20 ± 0.31"."""
    mean, error = 100 * differences.mean(), 100 * differences.std(ddof=1) / math.sqrt(len(differences))
    return f"{mean:+.2f} ± {error:.2f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"default: all, which are {', '.join(VARIANTS)}")
    parser.add_argument("--dataset", default="cifar10", help="of config.yaml (default: cifar10)")
    parser.add_argument("--seeds", type=positive, default=3, help="runs of each variant (default: 3)")
    parser.add_argument("--output", type=Path, default=Path("results/ingredients"), help="folder of the results")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.variants if name not in VARIANTS]:
        parser.error(f"{', '.join(unknown)}: there is no such variant; there are {', '.join(VARIANTS)}")

    names = args.variants or list(VARIANTS)
    args.output.mkdir(parents=True, exist_ok=True)
    experiment = load_config(str(ROOT / "config.yaml")).experiment(args.dataset, MODEL, "paper", 0)
    runs = [Run(name, args.dataset, seed) for seed in range(args.seeds) for name in names]
    todo = [each for each in runs if not each.is_done(args.output)]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        list(pool.map(train, todo, [experiment] * len(todo), [args.output] * len(todo)))  # raises a run's error
    titles = ["what", "steps", "CPU seconds", "validation accuracy (%)", "difference (points)"]
    table = markdown.table(titles, rows_of(names, args.dataset, args.seeds, args.output), 1)
    what = f"One pair, MobileNetV2 on {args.dataset} at 16 px (32 px where a row has that), {args.seeds} seeds"
    text = f"{what}:\n\n{table}\n"
    write_text(args.output / "ingredients.md", text)
    print(text)


if __name__ == "__main__":
    run(main)
