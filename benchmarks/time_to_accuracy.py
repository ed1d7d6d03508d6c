"""How long our training and its peers take to the published accuracy, each by its own recommended recipe.

    PYTHONPATH=scripts .venv-bench/bin/python benchmarks/time_to_accuracy.py --study paper --max-minutes 60

Every pair of the study is trained by each peer with its recommended recipe and its best flags (the folder peers/), and
by ours with the study's recipe, until the validation accuracy reaches the published test accuracy, or --target. All
have the same network, the same training and validation split, and the same cores, which a peer's workers share.
Validation is the same for all, four times an epoch, and no clock runs meanwhile. A peer's schedule has as many epochs
as its library recommends, or --epochs; a run whose schedule ends, or that takes --max-minutes, has not reached it.

The arrays must be prepared: snakemake --cores 2 data/mnist/dataset.json data/cifar10/dataset.json. A row is written to
time_to_accuracy.json as soon as a run ends, and the same command continues with the first run that has none.
"""

import argparse
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
import torch

from deepnets import models
from deepnets.comparison.published import find, read_published
from deepnets.config.experiment import Experiment
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split, split_train_validation
from deepnets.models import display_name
from deepnets.reporting import environment, markdown
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, configure_device, disable_malloc_trim
from deepnets.training.inference import predict
from deepnets.training.seeds import INITIALISATION, derived_seed
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json, write_text
from deepnets.utils.paths import DATASET_INFO, PUBLISHED
from measure import NoStates, as_torchvision, use_cores
from peers import PEERS, installed_peers
from peers.common import use_bfloat16
from speed import positive

ROOT = Path(__file__).resolve().parent.parent
RESULTS = "time_to_accuracy"
VALIDATIONS = 4  # an epoch
RECOMMENDING = [key for key in PEERS if key != "plain"]  # no one recommends a recipe for the plain loop


@dataclass(frozen=True)
class Trial:
    """A training run to an accuracy: its names, what it may take, and the target as a fraction.

    epochs: of a peer's schedule; None: as many as recommended. limit: seconds of training.
    """

    way: str
    study: str
    dataset: str
    model: str
    seed: int
    threads: int
    target: float
    limit: float
    epochs: int | None = None


class Stopwatch:
    """Wall and processor seconds of training, called after every step: it validates, and stops at the target.

    Args:
        validate: the network's validation accuracy. No clock runs in it.
        trial: its target and its limit.
        every: steps from one validation to the next.
        cpu_seconds: seconds that this process and all that it started have computed.
    """

    def __init__(self, validate: Callable[[], float], trial: Trial, every: int, cpu_seconds: Callable[[], float]):
        self.validate, self.trial, self.every, self.cpu_seconds = validate, trial, every, cpu_seconds
        self.steps, self.history = 0, []
        self.wall, self.cpu = -time.monotonic(), -cpu_seconds()

    def __call__(self) -> bool:
        """Count a step; True if the trial is over."""
        self.steps += 1
        late = self.wall + time.monotonic() > self.trial.limit
        if not late and self.steps % self.every:
            return False
        return self.measure() >= self.trial.target or late

    def measure(self) -> float:
        """Validate, and add a row to the history: steps, seconds and accuracy."""
        start, own = time.monotonic(), time.process_time()
        wall, cpu = self.wall + start, self.cpu + self.cpu_seconds()
        accuracy = self.validate()
        self.wall -= time.monotonic() - start
        self.cpu -= time.process_time() - own  # the workers' time counts: they load the next batches
        row = {"steps": self.steps, "wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}
        self.history.append(row | {"accuracy": accuracy})
        return accuracy


def processes_cpu_seconds() -> float:
    """Seconds of all cores that this process, its children and those that have ended have computed."""
    own = os.times()
    children = psutil.Process().children(recursive=True)
    living = 0.0
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile, and is in os.times from now on
            times = child.cpu_times()
            living += times.user + times.system
    return own.user + own.system + own.children_user + own.children_system + living


@dataclass(frozen=True)
class Task:
    """What all runs on a pair share: the experiment's spec, and the images that it trains and validates on."""

    spec: dict
    metadata: dict
    train: Split
    validation: Split

    @classmethod
    def of(cls, experiment: Experiment, root: Path) -> "Task":
        """Open a pair's arrays below root/data and divide them as the experiment does."""
        spec, path = experiment.spec, root / DATASET_INFO.format(dataset=experiment.dataset)
        if not path.exists():
            target = path.relative_to(root)
            raise UserError(f"{target}: the arrays are missing; prepare them: snakemake --cores 2 {target}")
        images, labels, metadata = open_dataset(path, "train", spec["dataset"])
        fraction = spec["recipe"]["validation_fraction"]
        rows = split_train_validation(labels, fraction, spec["seed"], metadata)
        whole = Split.of_arrays(images, labels)
        return cls(spec, metadata, *(whole.subset(torch.from_numpy(indices)) for indices in rows))

    def network(self) -> torch.nn.Module:
        """The experiment's network, with its first weights."""
        torch.manual_seed(derived_seed(self.spec["seed"], INITIALISATION))
        return models.build(self.spec["model"], len(self.metadata["classes"]), self.metadata["input_shape"][0])

    def augmentation(self, device: Device) -> Augmentation:
        """The recipe's augmentation of this dataset, with its normalisation."""
        recipe = Recipe(**self.spec["recipe"])
        flips, statistics = self.spec["dataset"]["horizontal_flip"], (self.metadata["mean"], self.metadata["std"])
        return Augmentation(recipe.augment, flips, *statistics, device.device)

    def accuracy(self, network: torch.nn.Module, device: Device) -> Callable[[], float]:
        """Return what measures the network's validation accuracy; it leaves it in training mode."""
        labels, augmentation = self.validation.all_labels(), self.augmentation(device)

        def validate() -> float:
            logits = predict(network, self.validation, augmentation, device)
            network.train()
            return (logits.argmax(1) == labels).double().mean().item()

        return validate

    def train_ours(self, trial: Trial) -> tuple[Stopwatch, float]:
        """Train by the study's recipe; return the stopwatch and the schedule's epochs."""
        disable_malloc_trim()
        recipe = Recipe(**self.spec["recipe"])
        network = self.network()
        device = configure_device(network, "cpu", recipe.precision, trial.threads)
        network = network.to(memory_format=torch.channels_last)
        one_image = self.validation.subset(self.validation.rows[:1])  # the stopwatch validates
        data = self.train, one_image, self.augmentation(device)
        trainer = Trainer(network, recipe, *data, self.spec["seed"], device)
        every = max(1, trainer.steps_per_epoch // VALIDATIONS)
        watch = Stopwatch(self.accuracy(network, device), trial, every, processes_cpu_seconds)
        with contextlib.suppress(Interrupted):
            trainer.fit(NoStates(), should_stop=watch)
        return watch, recipe.epochs

    def train_peer(self, trial: Trial) -> tuple[Stopwatch, float]:
        """Train by a library's recommended recipe; return the stopwatch and the schedule's epochs."""
        module, network = PEERS[trial.way].load(), self.network()
        device = configure_device(network, "cpu", "fp32", trial.threads)
        torch.use_deterministic_algorithms(False)  # torch's default
        device = replace(device, precision="bf16" if use_bfloat16(True) else "fp32")
        images, labels = (array[self.train.rows].numpy() for array in (self.train.images, self.train.labels))
        epochs = trial.epochs or module.EPOCHS
        every = max(1, len(labels) // module.BATCH // VALIDATIONS)
        watch = Stopwatch(self.accuracy(network, device), trial, every, processes_cpu_seconds)
        flips = self.spec["dataset"]["horizontal_flip"]
        module.train_recommended(as_torchvision(network), images, labels, flips, epochs, watch)
        return watch, epochs


def run_trial(trial: Trial, experiment: Experiment, root: Path) -> dict:
    """Run a trial in this process, on its first `threads` cores, and return its row."""
    use_cores(trial.threads)
    # A loader is to start its workers as in any script, not spawned as this process.
    multiprocessing.set_start_method(None, force=True)
    task = Task.of(experiment, root)
    watch, epochs = task.train_ours(trial) if trial.way == "ours" else task.train_peer(trial)
    if not watch.history or watch.history[-1]["steps"] != watch.steps:
        watch.measure()  # the schedule has ended between two validations
    best = max(row["accuracy"] for row in watch.history)
    return asdict(trial) | {"schedule": epochs, "reached": best >= trial.target, "best": best, "history": watch.history}


def run_all(trials: list[tuple[Trial, Experiment]], root: Path, file: Path) -> list[dict]:
    """Run the trials that `file` has no row of, each in its own process, and write each row at once; all rows."""
    rows = read_json(file)["rows"] if file.exists() else []
    for trial, experiment in trials:
        if any(asdict(trial).items() <= row.items() for row in rows):
            continue
        print(f"{trial.way}, {trial.model} on {trial.dataset}, to {100 * trial.target:.2f} %: ", end="", flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(run_trial, trial, experiment, root).result())
        print(outcome(rows[-1]), flush=True)
        write_json(file, {"environment": environment.describe(ROOT), "rows": rows})
    return rows


def outcome(row: dict) -> str:
    """A row's end in words."""
    last = row["history"][-1]
    end = "reached" if row["reached"] else "not reached"
    return f"{end}, {100 * row['best']:.2f} % in {last['cpu_seconds'] / 60:.1f} core-minutes"


def table(rows: list[dict]) -> str:
    """The rows as Markdown, under them what they mean."""
    cells = [
        [
            row["dataset"],
            display_name(row["model"]),
            f"{100 * row['target']:.2f} %",
            PEERS[row["way"]].name if row["way"] in PEERS else "ours",
            f"{row['schedule']:g}",
            "yes" if row["reached"] else "no",
            f"{100 * row['best']:.2f} %",
            f"{row['history'][-1]['cpu_seconds'] / 60:.1f}",
            f"{row['history'][-1]['wall_seconds'] / 60:.1f}",
        ]
        for row in rows
    ]
    header = ["dataset", "network", "target", "trained by", "epochs of the schedule", "reached"]
    header += ["best validation accuracy", "core-minutes", "minutes"]
    return (
        f"{markdown.table(header, cells, 4)}\n\nMinutes of training until the validation accuracy was first at the"
        " target, or until the schedule or the time allowed had ended; without validation. Each by its own recommended"
        " recipe, at its best flags, with one seed. Core-minutes are of all processes of a run.\n"
    )


def trials_of(args: argparse.Namespace, installed: list[str]) -> list[tuple[Trial, Experiment]]:
    """Return the trials that the command line asks for, pair by pair, without peers that are not installed."""
    config, published = load_config(args.root / "config.yaml"), read_published(ROOT / PUBLISHED)
    pairs = {f"{e.dataset}/{e.model}": e for e in config.experiments(args.study)}
    for name in args.pairs or ():
        if name not in pairs:
            raise UserError(f"--pairs {name}: no pair of the study `{args.study}`, which has {', '.join(pairs)}.")
    trials = []
    for name in args.pairs or pairs:
        experiment = pairs[name]
        names = args.study, experiment.dataset, experiment.model, experiment.seed, args.threads
        of = config.datasets[experiment.dataset].variant_of or experiment.dataset
        row = find(published, "study", of, experiment.spec["model"]["architecture"])
        percent = args.target or (row and row.test_accuracy)
        if percent is None:
            raise UserError(f"{name}: {PUBLISHED} has no such pair; name the accuracy: --target 90")
        for way in args.ways:
            if way == "ours" or way in installed:
                epochs = None if way == "ours" else args.epochs
                trials.append((Trial(way, *names, percent / 100, 60 * args.max_minutes, epochs), experiment))
    return trials


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help=f"folder for {RESULTS}.json and .md")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that has config.yaml and data/")
    parser.add_argument("--study", default="paper", help="study of config.yaml whose pairs are trained (default paper)")
    parser.add_argument("--pairs", nargs="+", metavar="DATASET/MODEL", help="only these (default: all)")
    parser.add_argument("--ways", nargs="+", choices=["ours", *RECOMMENDING], default=["ours", *RECOMMENDING])
    parser.add_argument("--threads", type=positive, default=1, help="threads and cores of a run (default 1)")
    parser.add_argument("--target", type=float, help="percent (default: the pair's published test accuracy)")
    parser.add_argument("--epochs", type=positive, help="of the peers' schedules (default: what each recommends)")
    parser.add_argument("--max-minutes", type=float, default=60, help="of training, for each run (default 60)")
    args = parser.parse_args(argv)

    rows = run_all(trials_of(args, installed_peers()), args.root, args.output / f"{RESULTS}.json")
    write_text(args.output / f"{RESULTS}.md", table(rows))
    print(table(rows))


if __name__ == "__main__":
    run(main)
