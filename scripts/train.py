"""Train one experiment: weights, history and timing into the experiment's folder.

    python scripts/train.py --job JSON --data data/digits/dataset.json --output results/digits/resnet50/quick/seed0

The workflow writes the job; to train by hand: `snakemake --cores 2 results/digits/resnet50/quick/seed0/history.csv`.
A TERM, INT or HUP saves at the next step and exits with 75; the same command then goes on where it stopped. For several
GPUs or processes it starts itself once for each, under torchrun; the first of them writes and reports.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split, split_train_validation
from deepnets.training import distributed
from deepnets.training.augmentation import Augmentation
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import configure_device, disable_malloc_trim
from deepnets.training.distributed import ALONE, INTERRUPTED_EXIT_CODE, LOST_EXIT_CODE, Processes
from deepnets.training.experiment_dir import RESUME_FOLDER, exclusive, label, write_results
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.seeds import INITIALISATION, derived_seed
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.failures import is_failed_compilation, is_out_of_memory
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.logging import LOG, log_errors_of, log_to
from deepnets.utils.text import one_line

NO_CUDA = (
    "%s: on the CPU: torch cannot use the GPU (a CPU build, or the driver is too old); trainings wait for each other as"
    " if it could, unless Snakemake is told --resources gpu=0"
)
NO_GPU_ASKED_FOR = (
    "%s: on the CPU: no GPU was asked for, though torch sees one; to use it, leave out --resources gpu=0, or name it"
    " where nvidia-smi does not list it: CUDA_VISIBLE_DEVICES=0 (on a cluster, set gpu: 1 in the profile)"
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON with the experiment's names, spec and code")
    parser.add_argument("--data", required=True, help="dataset.json of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    parser.add_argument("--parent", type=int, help="process id of what started this: save and stop when that has ended")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, of all processes together (default 1)")
    parser.add_argument(
        "--gpus", type=int, default=1, help="GPUs, a process each; 0: the CPU (default 1, if there is one)"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work on the CPU (default 1)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    keeps_memory = disable_malloc_trim()
    if distributed.launched():
        train_together(args, distributed.own_rank(), keeps_memory)
        return
    log_to(args.log)
    if not args.gpus and torch.cuda.is_available():
        LOG.info(NO_GPU_ASKED_FOR, label(args.job["experiment"]))
    with acquire_gpus(args.gpus) as gpus:
        if (args.gpus or args.processes) > 1:
            with exclusive(args.output):
                pass  # while the first process waited for it, the others would give that one up
            launch(args, sys.argv[1:] if argv is None else argv)
            return
        if gpus and not torch.cuda.is_available():
            LOG.warning(NO_CUDA, label(args.job["experiment"]))
        with exclusive(args.output):
            train(args, ALONE, keeps_memory)


def launch(args: argparse.Namespace, argv: list[str]) -> None:
    """Train in several processes, each with the same arguments."""
    seen = torch.cuda.device_count() if args.gpus else 0
    if args.gpus > seen:
        raise UserError(f"--gpus {args.gpus}: torch sees {seen} here; ask for fewer, or install a CUDA build of torch.")
    command = [__file__, *argv, "--parent", str(os.getpid())]
    try:
        distributed.launch(args.gpus or args.processes, command, args.parent)
    except UserError as error:
        raise UserError(f"{label(args.job['experiment'])}: {error}") from None


def train_together(args: argparse.Namespace, processes: Processes, keeps_memory: bool) -> None:
    """Train as one of several processes; the first keeps other trainers away, and speaks for all."""
    if processes.first:
        log_to(args.log)
    else:
        log_errors_of(f"process {processes.rank + 1} of {processes.count}", args.log)
    try:
        with (
            exclusive(args.output) if processes.first else contextlib.nullcontext(),
            distributed.joined(processes, cuda=args.gpus > 0),
        ):
            train(args, processes, keeps_memory)
    except Exception as error:
        if not processes.first:  # what all have met the first says, and this one is ended before it says it again
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(10)
        if not distributed.is_lost(error):
            raise
        LOG.error("%s: lost another process (%s)", label(args.job["experiment"]), one_line(str(error)))
        sys.exit(LOST_EXIT_CODE)


def train(args: argparse.Namespace, processes: Processes, keeps_memory: bool) -> None:
    spec = args.job["spec"]
    recipe, name = Recipe(**spec["recipe"]), label(args.job["experiment"])
    images, labels, info = open_dataset(args.data, "train")
    # What a state may be resumed for: the same settings, code, data and torch. Device and threads are not of it.
    key = {"spec": spec, "code": args.job["code"], "data": info["arrays"], "torch": torch.__version__}
    states = CheckpointDir(
        args.output / RESUME_FOLDER, sha256_text(canonical_json(key)), lambda line: LOG.warning("%s: %s", name, line)
    )
    epochs, should_stop = recipe.epochs, stop_asked(args.parent)
    while True:
        trainer = build_trainer(args, recipe, Split.of_arrays(images, labels), info, processes)
        part, hardware = trainer.train_split, trainer.hardware
        threads = "1 thread" if hardware.threads == 1 else f"{hardware.threads} threads"
        each = f" in each of {processes.count} processes" if processes.count > 1 else ""
        LOG.info("%s: %d images, %s, %s%s", name, len(part), hardware.precision, threads, each)
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
            if processes.count > 1:  # one alone cannot go back: the others wait for it in the middle of a step
                raise UserError(
                    f"{name}: out of memory; set accumulation: {2 * trainer.accumulation} in the recipe (the same steps"
                    " in less memory), or ask for more processes, then run the same command again."
                ) from None
            recipe = smaller_parts(recipe, trainer, name)
        trainer = part = None  # its weights, gradients and data would stay beside those of the next
    if processes.first:
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


def build_trainer(args: argparse.Namespace, recipe: Recipe, whole: Split, info: dict, processes: Processes) -> Trainer:
    """A trainer with a freshly initialised network, and the data split into training and validation."""
    spec = args.job["spec"]
    torch.manual_seed(derived_seed(spec["seed"], INITIALISATION))
    model = models.build(spec["model"], len(info["classes"]), info["input_shape"][0])
    device, threads = "auto" if args.gpus else "cpu", max(1, args.threads // processes.count)
    hardware = configure_device(model, device, recipe.precision, threads)
    model = model.to(hardware.device, memory_format=torch.channels_last)
    rows = split_train_validation(whole.labels.numpy(), recipe.validation_fraction, spec["seed"], info)
    whole = whole.to(hardware.device)
    train_split, validation_split = (whole.select(torch.from_numpy(of_part)) for of_part in rows)
    augmentation = Augmentation(
        recipe.augment, spec["dataset"]["horizontal_flip"], info["mean"], info["std"], hardware.device
    )
    return Trainer(model, recipe, train_split, validation_split, augmentation, spec["seed"], hardware, processes)


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
