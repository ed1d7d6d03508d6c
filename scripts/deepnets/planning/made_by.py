"""What finished files say that they were made by, compared with config.yaml: it needs none of Snakemake's records.

Records are lost where `.snakemake` is deleted, or where only results are copied to another machine.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from deepnets.config.experiment import OF_IMAGES
from deepnets.planning.differences import differences
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.utils import paths
from deepnets.utils.specs import UNKNOWN, read_head

# Stages with a file that has the spec that it was made by, and the file's place among their outputs.
_SPEC_IN = {
    "download": 0,
    "prepare": 0,
    "summarize": 0,
    "train": 0,
    "evaluate": 0,
    "report": paths.OUTPUTS["report"].index(paths.ENVIRONMENT),
}


def made_otherwise(jobs: Jobs) -> Iterator[tuple[Job, list[str]]]:
    """Yield the study's jobs whose files were made by another spec or from other images, and what differs."""
    for job in jobs.of_study():
        if found := differing(job, jobs):
            yield job, found


def differing(job: Job, jobs: Jobs) -> list[str]:
    """Return what differs between what a job's files say that they were made by and what config.yaml has now.

    Nothing if the files are missing.
    """
    if job.stage not in _SPEC_IN:
        return []
    file, phrases = jobs.root / job.outputs[_SPEC_IN[job.stage]], list[str]()
    found = read_head(file, "spec", "state")
    if "spec" in found:
        expected = jobs.settings(job.stage, job.wildcards)
        phrases += differences(found, {key: expected[key] for key in found})
    elif file.suffix == ".json" and file.exists():  # all weights have it, but not always in their first megabyte
        phrases.append(UNKNOWN)
    if job.stage == "train" and _other_images(file, jobs.root / paths.DATASET_INFO.format(**job.wildcards)):
        phrases.append(f"{paths.DATASET_INFO.format(**job.wildcards)} is of other images")
    return phrases


def _other_images(model: Path, dataset_info: Path) -> bool:
    trained, prepared = read_head(model, *OF_IMAGES), _prepared(dataset_info)
    return any(trained[key] != prepared[key] for key in trained.keys() & prepared.keys())


@cache  # many experiments have one dataset
def _prepared(dataset_info: Path) -> dict[str, Any]:
    return read_head(dataset_info, *OF_IMAGES)
