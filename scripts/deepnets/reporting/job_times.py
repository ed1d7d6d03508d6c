"""How long the workflow's jobs took, from Snakemake's benchmark files."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".benchmark.tsv"


@dataclass(frozen=True)
class StageTime:
    """Jobs of one stage: how many were measured, and the sum of their wall times in seconds."""

    stage: str
    jobs: int
    seconds: float


def stage_times(folder: str | Path, experiments: Iterable[tuple[str, ...]]) -> list[StageTime]:
    """Sum the wall times of the jobs that a study's experiments needed, longest stage first.

    Args:
        folder: holds `{stage}.benchmark.tsv` at `{dataset}/{model}/{recipe}/seed{seed}/` for jobs of one experiment,
            further up for jobs that experiments share, and at `{dataset}/comparison/{figure}/`; other studies' files
            lie there too. A file that is missing or damaged counts as not measured: Snakemake does not make it again.
        experiments: (dataset, model, recipe, "seed{seed}") of each experiment.
    """
    experiments = set(experiments)
    shared = {names[:length] for names in experiments for length in range(4)}
    comparisons = {(dataset, "comparison") for dataset, *_ in experiments}
    found: dict[str, list[float]] = {}
    for path in sorted(Path(folder).rglob(f"*{SUFFIX}")):
        place = path.parent.relative_to(folder).parts
        if place in experiments or place in shared or place[:2] in comparisons:
            seconds = _seconds(path)
            if seconds is not None:
                found.setdefault(path.name.removesuffix(SUFFIX), []).append(seconds)
    stages = [StageTime(stage, len(jobs), sum(jobs)) for stage, jobs in found.items()]
    return sorted(stages, key=lambda stage: stage.seconds, reverse=True)


def _seconds(path: Path) -> float | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t")) or None
    except (KeyError, TypeError, UnicodeDecodeError, ValueError):
        return None
