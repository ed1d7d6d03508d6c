"""Explain why a job is stale: Snakemake compares fingerprints, and this module names what changed."""

import ast
import json
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from snakemake.io import IOFile

from deepnets import models
from deepnets.planning.differences import IMAGES, differences
from deepnets.planning.image_changes import image_changes
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.planning.made_by import differing
from deepnets.planning.start_files import start_weights
from deepnets.utils import paths
from deepnets.utils.checksums import find_corrupted
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json

RECORDS = Path(".snakemake")

MISSING = "missing"
# Data are built only for the stages that read them: results stay valid without the arrays they were made from.
READERS = {"download": {"prepare"}, "prepare": {"train", "evaluate", "robustness", "audit"}}


def reasons(jobs: Jobs) -> list[tuple[Job, str]]:
    """Return the study's jobs that are stale by themselves, not through their inputs; each with the reason.

    Its report by its name, results/report-sweep.md, and the comparisons for it count where they have been made.

    Raises:
        UserError: a code file is broken.
    """
    stores = open_records()
    found: list[tuple[Job, str]] = []
    by_name = [job for job in jobs.of_study(f"-{jobs.config.study}") if "suffix" in job.wildcards]
    made = [job for job in by_name if any((jobs.root / path).exists() for path in job.outputs)]
    for job in reversed([*jobs.of_study(), *made]):
        why = _reason(job, jobs, recorded_fingerprint(str(jobs.root / job.outputs[0]), stores))
        read_by = {other.stage for other, _ in found if other.wildcards.get("dataset") == job.wildcards.get("dataset")}
        needed = job.stage not in READERS or READERS[job.stage] & read_by
        if why and (needed or not why.startswith(MISSING)):
            found.append((job, why))
    return found[::-1]


def made_from(jobs: Jobs, stale: Iterable[Job]) -> int:
    """Count the finished training runs that are repeated because the data of their dataset are rebuilt.

    Snakemake rebuilds all that was made from a file that a job has written again, even with the same bytes.

    Args:
        jobs: the jobs of the configuration.
        stale: those that are stale by themselves.
    """
    datasets = {job.wildcards["dataset"] for job in stale if job.stage in READERS}
    repeated = set[str]()
    for each in jobs.trained:  # each after those that it starts from
        is_finished = (jobs.root / each.directory / paths.MODEL_FILE).exists()
        started_from = {Path(file).parent.as_posix() for file in start_weights(each)}
        if is_finished and (each.dataset in datasets or repeated & started_from):
            repeated.add(each.directory)
    return len(repeated)


def other_versions(jobs: Jobs) -> dict[tuple[str, str], int]:
    """Count the study's experiments that were trained with another version of torch, or of their network's library.

    Returns:
        the number of experiments by package and version: {("torch", "2.0.0"): 3}.
    """
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for experiment in jobs.study:
        library = models.library_of(experiment.spec["model"]["architecture"])
        for package in filter(None, ("torch", library)):
            try:
                version = read_json(jobs.root / experiment.directory / paths.TIMING_FILE)["versions"][package]
            except (UserError, KeyError, TypeError):  # not trained yet, or damaged: named above
                continue
            if version.partition("+")[0] != metadata.version(package).partition("+")[0]:
                counts[package, version] += 1
    return counts


def _reason(job: Job, jobs: Jobs, old: dict | None) -> str | None:
    """Return why a job is stale by itself, or None; of a result without a record, its files' own specs count."""
    required = job.required_outputs(jobs.root)
    missing = [path for path in required if not (jobs.root / path).exists()]
    if len(missing) == len(required) and not old:
        return f"{MISSING}: not made yet"
    if missing:
        return f"{MISSING}: {', '.join(missing)}"
    files = [jobs.root / path for path in required]
    folders = sorted({file.parent for file in files})
    wrong = [str(file) for folder in folders for file in find_corrupted(folder) if file in files]
    if wrong:
        return f"damaged: {', '.join(wrong)}"
    new = json.loads(jobs.fingerprint(job.stage, job.wildcards))
    phrases = differences(old, new) if old and old != new else differing(job, jobs)
    if IMAGES in phrases:
        phrases[phrases.index(IMAGES)] = image_changes(jobs, job.wildcards["dataset"]) or IMAGES
    return "; ".join(phrases) or None


def open_records(folder: Path = RECORDS) -> list[Any]:
    """Open Snakemake's own stores of records in a folder: files, a database, or both; none is made."""
    stores = {}
    try:
        from snakemake.persistence.db import DbPersistence
        from snakemake.persistence.file import FilePersistence

        stores[folder / "metadata.db"] = DbPersistence
    except ModuleNotFoundError:  # an older Snakemake, with files only
        from snakemake.persistence import Persistence as FilePersistence
    stores[folder / "metadata"] = FilePersistence
    return [store(path=folder) for place, store in stores.items() if place.exists()]


def recorded_fingerprint(output: str, stores: Iterable[Any]) -> dict | None:
    """Return the decoded fingerprint that Snakemake last recorded for a file; None if it has none.

    Records of other programs and of other versions of this one count as none.
    """
    records = [record for store in stores if (record := store.metadata(IOFile(output)))]
    last: Any = max(records, key=lambda record: record.get("endtime") or 0, default={})
    return next((job for param in last.get("params") or () if (job := _job(param))), None)


def _job(param: str) -> dict | None:
    """Return the job in one recorded param, which is a Python literal; None if it is something else."""
    try:
        job = json.loads(ast.literal_eval(param))
    except (ValueError, SyntaxError, TypeError):
        return None
    return job if isinstance(job, dict) and "code" in job else None
