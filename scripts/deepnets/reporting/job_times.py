"""The time that the workflow's jobs took, read from Snakemake's benchmark files."""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepnets.config.weights import start_file
from deepnets.utils.paths import BENCHMARK_SUFFIX, ON_REQUEST, OPTIONAL
from deepnets.utils.specs import read_head

_OF_WEIGHTS = ("download", "prepare", "fetch_weights", "train")  # the stages that make weights to start from
_TOLERANCE = 2  # seconds, for disks that round the times of files and clocks of machines that differ
_WEIGHTS = "_weights"  # the folder of weights that libraries publish, in logs/

Names = tuple[str, ...]  # of a folder in logs/


@dataclass(frozen=True)
class JobTime:
    """The last run of a job: its stage, when it ended (seconds since 1970), its wall time in seconds.

    `of_start`: it belongs to what a study's experiments start from, not to one of them. `names`: its folder in logs/.
    """

    stage: str
    ended: float
    seconds: float
    of_start: bool = False
    names: Names = ()

    @property
    def started(self) -> float:
        """When it started, in seconds since 1970."""
        return self.ended - self.seconds


@dataclass(frozen=True)
class StageTime:
    """Jobs of one stage: how many were measured, and the sum of their wall times in seconds."""

    stage: str
    jobs: int
    seconds: float


def job_times(
    folder: str | Path,
    experiments: Iterable[Names],
    suffix: str = "",
    starts: Collection[Names] = (),
    *,
    optional: Collection[str] = (),
    figures: Collection[Names] = (),
) -> list[JobTime]:
    """The jobs that a study's experiments needed. When one ended is when its benchmark file was written.

    Files that were asked for alone, as exported ones, do not count: they may be made days later. Nor do optional stages
    and figures that another study in the same folder has.

    Args:
        folder: holds `{stage}.benchmark.tsv` at `{dataset}/{model}/{recipe}/seed{seed}/` for jobs of one experiment,
            further up for jobs that experiments share, and at `{dataset}/comparison{suffix}/`; files of other studies
            lie there too. A file that is missing or damaged counts as not measured: Snakemake does not
            write it again.
        experiments: (dataset, model, recipe, "seed{seed}") of each experiment.
        suffix: of the study's paths.
        starts: what the experiments start from, as `starts_of` returns it; of it, the jobs that make weights count.
        optional: the optional stages of the study.
        figures: (dataset, name) of each figure that compares its experiments.
    """
    experiments = set(experiments)
    of_study = {each[:length] for each in experiments for length in range(len(each) + 1)}
    of_study |= {(dataset, f"comparison{suffix}") for dataset, *_ in experiments}
    of_study |= {(dataset, f"comparison{suffix}", name) for dataset, name in figures}
    before = {*starts, *(start[:1] for start in starts)}  # with the datasets that were trained on
    jobs = []
    for path in sorted(Path(folder).rglob(f"*{BENCHMARK_SUFFIX}")):
        stage, names = path.name.removesuffix(BENCHMARK_SUFFIX), path.parent.relative_to(folder).parts
        if stage in ON_REQUEST or (stage in OPTIONAL and stage not in optional):
            continue
        own = names in of_study
        if own or (stage in _OF_WEIGHTS and names in before):
            seconds = _seconds(path)
            if seconds is not None:
                jobs.append(JobTime(stage, path.stat().st_mtime, seconds, not own, names))
    return jobs


def starts_of(specs: Iterable[dict[str, Any]], root: Path) -> set[Names]:
    """Return what experiments start from, and what that started from: folders in logs/ of experiments and downloads.

    Args:
        specs: of the experiments.
        root: holds results/. Of an experiment that was deleted, it is not known what it started from.
    """
    found, waiting = set[Names](), list(specs)
    while waiting:
        weights = waiting.pop().get("weights", {})
        if "published" in weights:
            found.add((_WEIGHTS, *weights["published"].split("/")))
        if "experiment" in weights and (names := tuple(weights["experiment"].split("/"))) not in found:
            found.add(names)
            waiting.append(read_head(root / str(start_file(weights)), "spec").get("spec", {}))
    return found


def _seconds(path: Path) -> float | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t")) or None
    except (KeyError, TypeError, UnicodeDecodeError, ValueError):
        return None


def by_stage(jobs: Iterable[JobTime]) -> list[StageTime]:
    """Sum the wall times of the jobs of each stage, the longest stage first."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        found.setdefault(job.stage, []).append(job.seconds)
    stages = [StageTime(stage, len(seconds), sum(seconds)) for stage, seconds in found.items()]
    return sorted(stages, key=lambda stage: stage.seconds, reverse=True)


def from_first_to_last(jobs: Sequence[JobTime]) -> tuple[float, float] | None:
    """Return the seconds from the first start to the last end, and the seconds of these in which no job was running.

    The second number is the time between several runs of Snakemake, and that in which jobs only waited in a queue.
    None where the times of the files are not those of the jobs, as in a copy of the folder: a network would have been
    evaluated before it was trained.
    """
    trained = {job.names: job.ended for job in jobs if job.stage == "train"}
    evaluated = [job for job in jobs if job.stage == "evaluate" and job.names in trained]
    if any(job.started < trained[job.names] - _TOLERANCE for job in evaluated):
        return None
    in_order = sorted(jobs, key=lambda job: job.started)
    idle, ended = 0.0, in_order[0].started
    for job in in_order:
        idle += max(0.0, job.started - ended)
        ended = max(ended, job.ended)
    return ended - in_order[0].started, idle
