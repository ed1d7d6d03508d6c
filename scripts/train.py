"""Train one experiment: weights, history and timing into the experiment's folder.

    python scripts/train.py --job JSON --data data/digits/dataset.json --output results/digits/resnet50/quick/seed0

The workflow writes the job; to train by hand: `snakemake --cores 2 results/digits/resnet50/quick/seed0/history.csv`.
A TERM, INT or HUP saves at the next step and exits with 75; the same command then goes on where it stopped.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from deepnets import models
from deepnets.augment import Augmentation
from deepnets.checkpoint import ResumeFolder
from deepnets.datasets.prepared import open_dataset, split_train_validation
from deepnets.engine import INITIALISATION, Interrupted, Part, Trainer, derived_seed
from deepnets.errors import LOG, UserError, is_failed_compilation, is_out_of_memory, log_to, run
from deepnets.experiment_files import RESUME_FOLDER, exclusive, label, write_results
from deepnets.files import canonical_json, sha256_text
from deepnets.gpu_slots import lent
from deepnets.hardware import keep_freed_memory, set_up
from deepnets.recipe import Recipe

INTERRUPTED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later
NO_CUDA = (
    "%s: on the CPU: torch cannot use the GPU (a CPU build, or the driver is too old); trainings wait for each other as"
    " if it could, unless Snakemake is told --resources gpu=0"
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON with the experiment's names, spec and code")
    parser.add_argument("--data", required=True, help="dataset.json of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    parser.add_argument("--parent", type=int, help="process id of what started this: save and stop when that has ended")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--gpus", type=int, default=1, help="1: on a GPU; 0: on the CPU (default 1, if there is one)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    log_to(args.log)
    keeps_memory = keep_freed_memory()
    with lent(args.gpus) as gpus, exclusive(args.output):
        if gpus and not torch.cuda.is_available():
            LOG.warning(NO_CUDA, label(args.job["experiment"]))
        train(args, keeps_memory)


def train(args: argparse.Namespace, keeps_memory: bool) -> None:
    spec = args.job["spec"]
    recipe, name = Recipe(**spec["recipe"]), label(args.job["experiment"])
    images, labels, info = open_dataset(args.data, "train")
    # What a state may be resumed for: the same settings, code, data and torch. Device and threads are not of it.
    key = {"spec": spec, "code": args.job["code"], "data": info["arrays"], "torch": torch.__version__}
    states = ResumeFolder(
        args.output / RESUME_FOLDER, sha256_text(canonical_json(key)), lambda line: LOG.warning("%s: %s", name, line)
    )
    epochs, should_stop = recipe.epochs, stop_asked(args.parent)
    while True:
        trainer = build_trainer(args, recipe, Part.of_arrays(images, labels), info)
        part, hardware = trainer.train_part, trainer.hardware
        threads = "1 thread" if hardware.threads == 1 else f"{hardware.threads} threads"
        LOG.info("%s: %d images, %s, %s", name, len(part), hardware.precision, threads)
        try:
            network = trainer.fit(states, lambda row: LOG.info(epoch_line(name, row, epochs)), should_stop)
            break
        except Interrupted:
            LOG.warning("%s: interrupted; run the same command again to go on from the last saved state", name)
            sys.exit(INTERRUPTED_EXIT_CODE)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        except Exception as error:
            if is_failed_compilation(error) and not is_out_of_memory(error):
                why = " ".join(str(error).split())[:200]
                raise UserError(
                    f"config.yaml: recipes.{args.job['experiment']['recipe']}.compile: torch.compile failed on {name} "
                    f"({why}); where it lacks a C++ compiler, install one (g++), or set compile: false."
                ) from None
            if not is_out_of_memory(error):
                raise
            recipe = smaller_parts(recipe, trainer, name)
        trainer = part = None  # its weights, gradients and data would stay beside those of the next
    write_results(args.output, network, trainer, spec, info, keeps_memory)


def smaller_parts(recipe: Recipe, trainer: Trainer, name: str) -> Recipe:
    """The recipe with each batch computed in twice as many parts, for less memory.

    Raises:
        UserError: a part would have less than two images.
    """
    parts = 2 * trainer.accumulation
    if trainer.batch_size // parts < 2:
        raise UserError(
            f"{name}: out of memory even with {trainer.batch_size // trainer.accumulation} images at a time; run less"
            " side by side (--cores), or choose smaller images (size) or a smaller network."
        )
    LOG.warning(
        "%s: out of memory; going on from the last saved state with each batch of %d in %d parts "
        "(accumulation: %d in the recipe starts like this; a smaller batch_size changes the steps)",
        *(name, trainer.batch_size, parts, parts),
    )
    return recipe.model_copy(update={"accumulation": parts})


def build_trainer(args: argparse.Namespace, recipe: Recipe, whole: Part, info: dict) -> Trainer:
    """A trainer with a freshly initialised network, and the data split into training and validation."""
    spec = args.job["spec"]
    torch.manual_seed(derived_seed(spec["seed"], INITIALISATION))
    model = models.build(spec["model"], len(info["classes"]), info["input_shape"][0])
    hardware = set_up(model, "auto" if args.gpus else "cpu", recipe.precision, args.threads)
    model = model.to(hardware.device, memory_format=torch.channels_last)
    rows = split_train_validation(whole.labels.numpy(), recipe.validation, spec["seed"], info)
    whole = whole.to(hardware.device)
    train_part, validation_part = (whole.select(torch.from_numpy(of_part)) for of_part in rows)
    augmentation = Augmentation(
        recipe.augment, spec["dataset"]["horizontal_flip"], info["mean"], info["std"], hardware.device
    )
    return Trainer(model, recipe, train_part, validation_part, augmentation, spec["seed"], hardware)


def stop_asked(parent: int | None) -> Callable[[], bool]:
    """Note TERM, INT and HUP from now on; the returned function tells whether one has come.

    Args:
        parent: process id of what started this one; its end counts too. None: nobody is watched.
    """
    received = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup asks to outlive the terminal
            signal.signal(number, lambda number, frame: received.append(number))
    return lambda: bool(received) or parent not in (None, os.getppid())


def epoch_line(name: str, row: dict, epochs: int) -> str:
    """One epoch for the terminal, with the time left if the rest goes as fast."""
    left = (epochs - row["epoch"]) * row["seconds"]
    return (
        f"{name}: epoch {row['epoch']}/{epochs}  "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2%}  "
        f"validation loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.2%}  "
        f"{row['images_per_second']:.0f} images/s  {int(left // 60)}:{int(left % 60):02d} left"
    )


if __name__ == "__main__":
    run(main)
