"""The state of each experiment of a study, from files alone: so also that of jobs on other machines.

A training run keeps `.train.owner` and `.train.progress` in its experiment's folder; the rest is in the results, the
checkpoints and the jobs' logs.
"""

import contextlib
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepnets.config.experiment import OF_ARRAYS, Experiment, compared_images
from deepnets.planning.image_changes import have_images_changed
from deepnets.planning.jobs import Jobs
from deepnets.planning.made_by import are_of_other_images
from deepnets.planning.requests import Requests
from deepnets.planning.start_files import published_networks
from deepnets.planning.study_time import StudyTime
from deepnets.training.owner_file import owner
from deepnets.training.progress import clock
from deepnets.utils import paths
from deepnets.utils.command_line import INTERNAL_ERROR_LINE, TRY_AGAIN_LINE
from deepnets.utils.durations import rough_duration
from deepnets.utils.specs import read_head
from deepnets.utils.text import one_line
from deepnets.utils.waiting import LOST_SECONDS

State = Literal["running", "failed", "waiting", "done"]
STATES: tuple[State, ...] = ("running", "failed", "waiting", "done")

# Those that an experiment needs, in the order of the work.
_STAGES = ("download", "prepare", "fetch_weights", "summarize", "train", "evaluate")
_OF_PROGRESS = ("epochs", "epochs_done", "val_accuracy", "images_per_second", "seconds_left", "seconds")
_TAIL_BYTES = 2**16  # of a log: its last lines, and a traceback in them


@dataclass(frozen=True)
class Status:
    """The state of an experiment.

    Attributes:
        name: of the experiment: digits/resnet50/quick/seed0.
        words: what there is to say about the state, on one line; "" if nothing.
        seconds_left: until the training run ends; None if it does not run, or not long enough to tell.
        seconds: that the training run takes, or took, from its start to its end; None if that is not known.
        stage: whose job has failed, as its log says; None if no job has.
    """

    name: str
    state: State
    words: str = ""
    seconds_left: float | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    stage: str | None = field(default=None, kw_only=True)


def study_status(jobs: Jobs, now: float | None = None) -> list[Status]:
    """Return the state of each experiment of the study, in its order.

    Args:
        jobs: the jobs of the configuration, with the study and the folder of its results.
        now: seconds since 1970 (default: now).
    """
    now = time.time() if now is None else now
    return [experiment_status(experiment, jobs.root, now) for experiment in jobs.study]


def experiment_status(experiment: Experiment, root: Path, now: float) -> Status:
    """Return the state of an experiment; arguments as of `study_status`, `root` holds results/ and logs/."""
    name, folder = paths.EXPERIMENT_NAME.format(**experiment.names), root / experiment.directory
    last_sign = _last_sign_of_life(folder)
    if last_sign is not None and now - last_sign < LOST_SECONDS:
        return _running(name, read_head(folder / paths.PROGRESS_FILE, *_OF_PROGRESS))
    dataset_info = root / paths.DATASET_INFO.format(dataset=experiment.dataset)
    compared = [key for key in OF_ARRAYS if key in compared_images(experiment.spec)]

    def is_current(made: dict[str, Any]) -> bool:
        return made.get("spec") == experiment.spec and not are_of_other_images(made, dataset_info)

    found = read_head(folder / paths.METRICS_FILE, "spec", "validation", *compared)
    if is_current(found):
        return _done(name, folder, found)
    is_trained = is_current(read_head(folder / paths.MODEL_FILE, "spec", *compared))
    if last_sign is not None and not is_trained:
        who = owner(folder, "the training run")
        return Status(
            name, "failed", f"no sign of life for {rough_duration(now - last_sign)} of {who}; it was killed or lost"
        )
    for stage in _STAGES:
        if (line := _failure(stage, experiment, root)) is not None:
            return Status(name, "failed", line, stage=stage)
    if is_trained:
        return Status(name, "waiting", "trained; its evaluation runs or comes next")
    if "spec" in found:
        other = "from other images" if found["spec"] == experiment.spec else "with other settings"
        return Status(name, "waiting", f"made {other}; to be rebuilt")
    done = _epochs_saved(folder)
    return Status(name, "waiting", "" if done is None else f"interrupted; continues after epoch {done:g}")


def failed_measurements(jobs: Jobs) -> list[Status]:
    """Return the jobs of the study's optional stages that have failed; their experiments may be done.

    Each has the name of its job and its stage: digits/resnet50 latency.
    """
    failed = dict[str, Status]()
    for stage in jobs.optional_stages():
        for experiment in jobs.study:
            output = Path(paths.OUTPUTS[stage][0].format(**experiment.names))
            if (line := _failure(stage, experiment, jobs.root)) is not None:
                name = f"{output.parent.relative_to('results').as_posix()} {stage}"
                failed.setdefault(name, Status(name, "failed", line, stage=stage))
    return list(failed.values())


def outdated_results(statuses: Sequence[Status], jobs: Jobs) -> int:
    """Count the finished experiments whose images have changed since they were prepared."""
    done = Counter(each.dataset for each, status in zip(jobs.study, statuses, strict=True) if status.state == "done")
    return sum(number for dataset, number in done.items() if have_images_changed(jobs, dataset))


def seconds_left(statuses: Sequence[Status], jobs: Jobs) -> float | None:
    """Return the seconds until the study's last training run ends; None if nothing has shown yet how long one takes.

    Those that wait are estimated as for Snakemake's scheduler, scaled by those that run or are done: by those of the
    same network, if there are any. What has failed is not counted.
    """
    requests = Requests(jobs, cores=1, on_cluster=False, on_gpu=False)
    estimated = {
        status.name: requests.training_core_seconds(each) for status, each in zip(statuses, jobs.study, strict=True)
    }
    networks = {status.name: each.model for status, each in zip(statuses, jobs.study, strict=True)}
    unfinished = [status for status in statuses if status.state in ("running", "waiting")]
    paces = defaultdict[str, list[float]](list)
    for status in statuses:
        if status.seconds:
            paces[networks[status.name]].append(status.seconds / estimated[status.name])
    if not paces or not unfinished:
        return None
    mean = statistics.fmean(pace for of_network in paces.values() for pace in of_network)
    left = [
        statistics.fmean(paces.get(networks[status.name], [mean])) * estimated[status.name]
        if status.seconds_left is None
        else status.seconds_left
        for status in unfinished
    ]
    running = sum(status.state == "running" for status in statuses)
    side_by_side = max(running, StudyTime(jobs.root, "").side_by_side)
    return max(*left, sum(left) / side_by_side) if len(left) > 1 else left[0]


# -- one experiment ----------------------------------------------------------------------------------------------------


def _last_sign_of_life(folder: Path) -> float | None:
    """When a training run last wrote into the folder, in seconds since 1970; None if none has begun without ending."""
    with contextlib.suppress(OSError):
        signs = [(folder / paths.OWNER_FILE).stat().st_mtime]
        with contextlib.suppress(OSError):  # not yet
            signs.append((folder / paths.PROGRESS_FILE).stat().st_mtime)
        return max(signs)
    return None


def _running(name: str, progress: dict[str, Any]) -> Status:
    try:
        done, left, seconds = progress["epochs_done"], progress["seconds_left"], progress["seconds"]
        words = [
            f"{done:.2f} of {progress['epochs']:g} epochs",
            *([f"validation {progress['val_accuracy']:.2%}"] if progress["val_accuracy"] is not None else []),
            *([f"{progress['images_per_second']:.0f} images/s"] if progress["images_per_second"] else []),
            *([f"{clock(left)} left"] if left is not None else []),
        ]
    except (KeyError, TypeError, ValueError, OverflowError):  # not there yet, or of another version
        return Status(name, "running", "starting")
    return Status(name, "running", ", ".join(words), seconds_left=left, seconds=seconds)


def _done(name: str, folder: Path, metrics: dict[str, Any]) -> Status:
    seconds: Any = read_head(folder / paths.TIMING_FILE, "wall_seconds").get("wall_seconds")
    try:
        words = [f"validation {metrics['validation']['accuracy']:.2%}", f"trained in {clock(seconds)}"]
    except (KeyError, TypeError, ValueError, OverflowError):
        return Status(name, "done")
    return Status(name, "done", ", ".join(words), seconds=seconds)


def _failure(stage: str, experiment: Experiment, root: Path) -> str | None:
    """Return the last line of a stage's log and the log's name, if its job has failed and was not run again since."""
    names: dict[str, Any] = {**experiment.names, **next(published_networks([experiment]), {})}
    if stage == "fetch_weights" and "network" not in names:
        return None  # it does not start from weights that a library publishes
    if (root / paths.OUTPUTS[stage][0].format(**names)).exists():
        return None
    log, benchmark = (root / path(stage).format(**names) for path in (paths.log, paths.benchmark))
    with contextlib.suppress(OSError):  # Snakemake writes the second file when a job has succeeded
        if benchmark.stat().st_mtime >= log.stat().st_mtime:
            return None
    line = last_line_of_failure(tail(log), paths.EXPERIMENT_NAME.format(**names))
    return None if line is None else f"{line} ({log})"


def last_line_of_failure(lines: Sequence[str], name: str) -> str | None:
    """Return the last line of a job's log if the job ended with an error, and how many the error has; else None.

    Args:
        lines: of the log.
        name: of the experiment, with which the lines of a training run start.
    """
    if lines and lines[-1] == TRY_AGAIN_LINE:
        count = next((back for back, line in enumerate(lines[-2::-1], 1) if line.startswith("error: ")), 1)
        others = f" (the last of {count} lines)" if count > 1 else ""  # a line for each broken image, say
        return f"{one_line(lines[-2])}{others}" if len(lines) > 1 else None
    after = lines[::-1].index(INTERNAL_ERROR_LINE) if INTERNAL_ERROR_LINE in lines else 0
    if after and not any(line.startswith(f"{name}: ") for line in lines[-after:]):
        return one_line(lines[-1])
    return None


def tail(file: Path) -> list[str]:
    """Return the last lines of a text file that are not empty; none if it cannot be read."""
    try:
        with open(file, "rb") as content:
            content.seek(max(0, file.stat().st_size - _TAIL_BYTES))
            return [line for line in content.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return []


def _epochs_saved(folder: Path) -> int | None:
    """Return after which full epoch the newest checkpoint was saved; None without a checkpoint."""
    files = (folder / paths.CHECKPOINTS).glob("state-*.safetensors")
    saved = (read_head(file, "progress").get("progress") for file in files)
    return max((each["epoch"] for each in saved if isinstance(each, dict) and "epoch" in each), default=None)
