"""Train one experiment: from the prepared dataset to the weights, history and timing in the experiment's folder."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from deepnets import models
from deepnets.config.experiment import recipe_name
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split, split_train_validation
from deepnets.models._check import build_checked
from deepnets.training import launch
from deepnets.training.augmentation import Augmentation
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import configure_device, disable_malloc_trim
from deepnets.training.distributed import SINGLE_PROCESS, ProcessGroup, connected, is_connection_lost
from deepnets.training.experiment_dir import exclusive, experiment_name, write_results
from deepnets.training.features import FeatureAugmentation, Frozen, divide
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.messages import GPU_NOT_REQUESTED, NO_CUDA, SPLIT
from deepnets.training.progress import (
    LINE_SECONDS,
    ExtraText,
    ProgressBar,
    ProgressLines,
    SilentProgress,
    epoch_line,
    no_extra_text,
)
from deepnets.training.progress_file import progress_in_file
from deepnets.training.resizing import image_size_at
from deepnets.training.seeds import INITIALISATION, derived_seed
from deepnets.training.start import Start, normalisation, prepare_network, read_start
from deepnets.training.tensorboard import event_file
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.logging import LOG, log_errors_of
from deepnets.utils.machine import process_exists
from deepnets.utils.text import one_line
from deepnets.utils.torch_errors import is_failed_compilation, is_out_of_memory


@dataclass(frozen=True)
class TrainingRun:
    """An experiment to train, and how this call trains it.

    Attributes:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code}.
        data: dataset.json of the prepared dataset.
        output: the experiment's folder.
        threads: CPU threads, of all processes together.
        gpus: GPUs, a process each; 0: the CPU. With 1, the CPU is used if there is no GPU.
        processes: processes that share the work on the CPU.
        log: file to which the terminal's lines are appended; None: a person trains by hand.
        parent: process id of the process that started this one: save and stop when it has ended.
        extra: gives text to add to each line of progress, such as the time left of the study.
        weights: the file of the weights that the experiment starts from, if its spec has some.
        tensorboard: folder for event files of TensorBoard; None: no such files.
    """

    job: dict
    data: str | Path
    output: Path
    _: KW_ONLY
    threads: int = 1
    gpus: int = 1
    processes: int = 1
    log: str | Path | None = None
    parent: int | None = None
    extra: ExtraText = no_extra_text
    weights: Path | None = None
    tensorboard: Path | None = None

    @property
    def name(self) -> str:
        """The experiment's name, for messages."""
        return experiment_name(self.job["experiment"])

    @property
    def spec(self) -> dict:
        """The experiment's settings."""
        return self.job["spec"]


def train_experiment(run: TrainingRun, command: Sequence[str] = ()) -> None:
    """Train an experiment, in this process or in several, and write its results.

    A TERM, INT or HUP saves at the next step and exits with 75; the same call then resumes from there.

    Args:
        run: the experiment, and how it is trained.
        command: the script and its arguments that lead to this call; torchrun starts it once per process.

    Raises:
        UserError: the user can fix the problem; the message says how.
        SystemExit: training was interrupted, or another process failed.
    """
    if launch.is_launched():
        _train_as_one_of_several(run, launch.process_group())
    else:
        _train_or_launch(run, command)


def _train_or_launch(run: TrainingRun, command: Sequence[str]) -> None:
    """Train in this process, or start those that do."""
    gpus = run.gpus
    if not gpus and torch.cuda.is_available():
        LOG.info(GPU_NOT_REQUESTED, run.name)
    with acquire_gpus(gpus, run.name) as acquired:
        if (gpus or run.processes) > 1:
            _launch(run, command)
            return
        if acquired and not torch.cuda.is_available():
            LOG.warning(NO_CUDA, run.name)
        with exclusive(run.output):
            _train(run, SINGLE_PROCESS)


# -- processes ---------------------------------------------------------------------------------------------------------


def _launch(run: TrainingRun, command: Sequence[str]) -> None:
    """Train in several processes, each with the same command."""
    with exclusive(run.output):
        pass  # wait here: if the main process waited for the folder, the others would time out
    available = torch.cuda.device_count() if run.gpus else 0
    if run.gpus > available:
        raise UserError(
            f"--gpus {run.gpus}: torch sees {available} here; ask for fewer, or install a CUDA build of torch."
        )
    try:
        launch.launch(run.gpus or run.processes, [*command, "--parent", str(os.getpid())], run.parent)
    except UserError as error:
        raise UserError(f"{run.name}: {error}") from None


def _train_as_one_of_several(run: TrainingRun, group: ProcessGroup) -> None:
    """Train in one of several processes; the main one locks the folder and logs for all."""
    if not group.is_main:
        log_errors_of(f"process {group.rank + 1} of {group.world_size}", run.log)
    try:
        with (
            exclusive(run.output) if group.is_main else contextlib.nullcontext(),
            connected(group, cuda=run.gpus > 0),
        ):
            _train(run, group)
    except Exception as error:
        if not group.is_main:  # an error of all processes is reported by the main one, and this one is ended meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(10)
        if not is_connection_lost(error):
            raise
        LOG.error("%s: lost another process (%s)", run.name, one_line(str(error)))
        sys.exit(launch.LOST_EXIT_CODE)


# -- training ----------------------------------------------------------------------------------------------------------


def _train(run: TrainingRun, group: ProcessGroup) -> None:
    """Train in this process, with smaller micro-batches whenever memory runs out."""
    keeps_memory = disable_malloc_trim()
    recipe = Recipe(**run.spec["recipe"])
    images, labels, metadata = open_dataset(run.data, "train", run.spec["dataset"])
    if "validation_rows" in metadata:
        LOG.info("%s: the dataset has its own validation split; validation_fraction does nothing", run.name)
    start = read_start(run.spec, run.weights)
    checkpoints = _checkpoints(run, metadata, start)
    metadata = {**metadata, **normalisation(start, metadata)}
    should_stop = _stop_requested(run.parent)
    while True:
        whole = Split.of_arrays(images, labels)
        trainer, frozen = _build_trainer(run, recipe, whole, metadata, group, start, should_stop)
        _log_start(run, trainer)
        try:
            with progress_in_file(run.output, trainer) if group.is_main else contextlib.nullcontext():
                network = _fit(run, trainer, checkpoints, should_stop)
            network = network if frozen is None else frozen.with_head_of(network)
            break
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            more = _more_accumulation(trainer, run.name)
            if group.world_size > 1:  # one process cannot retry alone: the others wait for it within a step
                raise UserError(
                    f"{run.name}: out of memory; set accumulation: {more} in the recipe (the same steps in less memory)"
                    f"{', or ask for more GPUs' if run.gpus else ''}."
                ) from None
            LOG.warning(SPLIT, run.name, trainer.batch_size, more, more)
            recipe = recipe.model_copy(update={"accumulation": more})
        del trainer  # its weights, gradients and data must not stay in memory next to those of the next trainer
    if group.is_main:
        write_results(run.output, network, trainer, run.spec, metadata, keeps_memory)


def _checkpoints(run: TrainingRun, metadata: dict, start: Start | None) -> CheckpointDir:
    """The folder of the checkpoints that this run may resume from: same settings, code, data, start, torch and library.

    Device and threads are not part of the key: a run may resume on another device.
    """
    data = [metadata["arrays"], metadata.get("validation_rows")]
    key = {"spec": run.spec, "code": run.job["code"], "data": data, "torch": torch.__version__}
    if start is not None:
        key["start"] = start.sha256
    if (library := models.library_of(run.spec["model"]["architecture"])) is not None:
        key[library] = version(library)
    return CheckpointDir(
        run.output / paths.CHECKPOINTS,
        sha256_text(canonical_json(key)),
        lambda line: LOG.warning("%s: %s", run.name, line),
    )


def _fit(run: TrainingRun, trainer: Trainer, checkpoints: CheckpointDir, should_stop: Callable[[], bool]) -> nn.Module:
    """Train to the end; errors of the user's get the experiment's name, an interrupt becomes an exit code."""
    events = event_file(run.tensorboard if trainer.group.is_main else None)

    def report(row: dict) -> None:
        LOG.info(epoch_line(run.name, row, trainer.recipe.epochs, run.extra))
        events.write(trainer.progress.history)

    try:
        with models.own_errors(), events:
            return trainer.fit(checkpoints, report, should_stop)
    except Interrupted:
        LOG.warning("%s: interrupted; the same command continues from the saved state", run.name)
        sys.exit(launch.INTERRUPTED_EXIT_CODE)
    except UserError as error:
        raise UserError(f"{run.name}: {error}") from None
    except Exception as error:
        if not is_failed_compilation(error) or is_out_of_memory(error):
            raise
        reason, recipe = " ".join(str(error).split())[:200], recipe_name(run.job["experiment"]["recipe"])
        raise UserError(
            f"config.yaml: recipes.{recipe}.compile: torch.compile failed on {run.name} "
            f"({reason}); if it lacks a C++ compiler, install one (g++), or set compile: false."
        ) from None


def _log_start(run: TrainingRun, trainer: Trainer) -> None:
    device, group = trainer.device, trainer.group
    threads = "1 thread" if device.threads == 1 else f"{device.threads} threads"
    each = f" in each of {group.world_size} processes" if group.world_size > 1 else ""
    LOG.info("%s: %d images, %s, %s%s", run.name, len(trainer.train_split), device.precision, threads, each)


def _more_accumulation(trainer: Trainer, name: str) -> int:
    """Twice as many micro-batches per batch, for less memory.

    Raises:
        UserError: a micro-batch would have less than two images, or less than one for each process.
    """
    more = 2 * trainer.accumulation
    if trainer.batch_size // more < max(2, trainer.group.world_size):
        raise UserError(
            f"{name}: out of memory even with {trainer.batch_size // trainer.accumulation} images at a time; run fewer"
            " jobs at once (--cores), or choose smaller images (size) or a smaller network."
        )
    return more


def _build_trainer(
    run: TrainingRun,
    recipe: Recipe,
    images: Split,
    metadata: dict,
    group: ProcessGroup,
    start: Start | None,
    should_stop: Callable[[], bool],
) -> tuple[Trainer, Frozen | None]:
    """A trainer with a newly built network, and the images divided into training and validation.

    Where the trainer has features instead of images, also the network that gives them.
    """
    spec = run.spec
    torch.manual_seed(derived_seed(spec["seed"], INITIALISATION))
    rows = split_train_validation(images.labels.numpy(), recipe.validation_fraction, spec["seed"], metadata)
    model = build_checked(
        spec["model"],
        metadata["input_shape"],
        len(metadata["classes"]),
        smallest_batch=min(2, len(rows[0])),
        smallest_image=image_size_at(0, 1, images.image_size, recipe.progressive_resizing),
    )
    metadata["started_from"] = prepare_network(model, spec, metadata, start, run.name)
    threads = max(1, run.threads // group.world_size)
    device = configure_device(model, "auto" if run.gpus else "cpu", recipe.precision, threads)
    model = model.to(device.device).to(memory_format=torch.channels_last)
    images = images.to(device.device)
    train, validation = (images.subset(torch.from_numpy(indices)) for indices in rows)
    flips = spec["dataset"]["horizontal_flip"]
    augmentation = Augmentation(recipe.augment, flips, metadata["mean"], metadata["std"], device.device)
    frozen = divide(model, recipe, flips, images)
    if frozen is not None:
        after_batch = _features_progress(run, len(images), group, should_stop)
        train, validation = (
            frozen.features(each, augmentation, device, group, after_batch) for each in (train, validation)
        )
    trained = model if frozen is None else frozen.trained_part()
    shown = augmentation if frozen is None else FeatureAugmentation()
    trainer = Trainer(trained, recipe, train, validation, shown, spec["seed"], device, group, _display(run, group))
    return trainer, frozen


def _features_progress(
    run: TrainingRun, total: int, group: ProcessGroup, should_stop: Callable[[], bool]
) -> Callable[[int], None]:
    """Return a function to call after each batch of frozen layers' outputs: it logs, and ends an interrupted run."""
    LOG.info("%s: the frozen layers' outputs are computed once, for %d images", run.name, total)
    done, last_line = 0, time.monotonic()

    def after_batch(images: int) -> None:
        nonlocal done, last_line
        if group.any(should_stop()):
            LOG.warning("%s: interrupted before the first step; the same command starts it again", run.name)
            sys.exit(launch.INTERRUPTED_EXIT_CODE)
        done += images
        if time.monotonic() - last_line >= LINE_SECONDS:
            last_line = time.monotonic()
            LOG.info("%s: frozen layers' outputs, %d of %d images", run.name, done, total)

    return after_batch


def _display(run: TrainingRun, group: ProcessGroup) -> SilentProgress:
    """A bar where a person trains on a terminal; lines where the workflow trains, as several runs share a terminal."""
    if not group.is_main:
        return SilentProgress()
    if run.log is None and sys.stderr.isatty():
        return ProgressBar(run.name)
    return ProgressLines(run.name, LOG.info, run.extra)


def _stop_requested(parent: int | None) -> Callable[[], bool]:
    """Record TERM, INT and HUP from now on; the returned function returns whether one has come, or `parent` has ended.

    Args:
        parent: process id of the process that started this one. None: no such process.
    """
    if parent not in (None, os.getppid()) and process_exists(parent):
        parent = None  # a person runs the workflow's line in a shell of their own
    received = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup ignores HUP, to outlive the terminal
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, frame: received.append(number))
    return lambda: bool(received) or parent not in (None, os.getppid())
