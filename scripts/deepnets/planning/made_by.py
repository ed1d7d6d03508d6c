"""What finished files say that they were made by, compared with config.yaml: it needs none of Snakemake's records.

Records are lost where `.snakemake` is deleted, or where only results are copied to another machine.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deepnets.config.experiment import OF_ARRAYS, OF_IMAGES, PLAIN, compared_images
from deepnets.planning.differences import differences
from deepnets.planning.found_values import as_in
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.utils import paths
from deepnets.utils.specs import UNKNOWN, read_head, settings_sha256

# Which of a stage's outputs says what it was made by, if not the first one, and what it says, if not its spec alone: of
# its settings, a figure has the hash.
_SPEC_IN = {
    stage: paths.OUTPUTS[stage].index(path) for stage, path in (("report", paths.ENVIRONMENT), ("audit", paths.AUDIT))
}
_HAS = {
    "download": ("spec", "state"),
    "evaluate": ("spec", *PLAIN),
    "plot_experiment": ("settings_sha256",),
    "saliency": ("settings_sha256",),
    "plot_comparison": ("settings_sha256",),
}
# And those that say from which images they were made.
_OF_IMAGES = ("train", "evaluate", "robustness", "audit")


def made_otherwise(jobs: Jobs, planned: Iterable[Job]) -> Iterator[tuple[Job, list[str]]]:
    """Yield the planned jobs whose files were made by another spec or from other images, and what differs."""
    for job in planned:
        if found := differing(job, jobs):
            yield job, found


def differing(job: Job, jobs: Jobs) -> list[str]:
    """Return what differs between what a job's files say that they were made by and what config.yaml has now.

    Nothing if the files are missing, or need not be there.
    """
    output = job.outputs[_SPEC_IN.get(job.stage, 0)]
    if output not in job.required_outputs(jobs.root):
        return []
    file = jobs.root / output
    files = [file]
    if job.stage == "plot_experiment":  # each picture says it, as a job may have ended before the last one
        files = [jobs.root / path for path in job.outputs if path.endswith(".png")]
    phrases = list(dict.fromkeys(phrase for each in files for phrase in _differing_settings(job, jobs, each)))
    if job.stage in _OF_IMAGES:
        dataset_info = paths.DATASET_INFO.format(**job.wildcards)
        compared: tuple[str, ...] = OF_ARRAYS
        if job.stage != "audit":
            of_images = compared_images(jobs.experiment(**job.wildcards).spec)
            compared = of_images if job.stage == "train" else tuple(key for key in OF_ARRAYS if key in of_images)
        if are_of_other_images(read_head(file, *compared), jobs.root / dataset_info):
            phrases.append(f"{dataset_info} is of other images")
    return phrases


def _differing_settings(job: Job, jobs: Jobs, file: Path) -> list[str]:
    keys = _HAS.get(job.stage, ("spec",))
    found = read_head(file, *keys)
    if keys[0] in found:
        found = {key: value for key, value in PLAIN.items() if key in keys} | found
        settings = jobs.settings(job.stage, job.wildcards)
        if job.stage in ("summarize", "latency"):
            settings["spec"] = as_in(found["spec"], settings["spec"])
        expected = {**settings, "settings_sha256": settings_sha256(settings)}
        return list(differences(found, {key: expected[key] for key in found}))
    # All weights have it, unless they are damaged.
    return [UNKNOWN] if file.suffix != ".safetensors" and file.exists() else []


def are_of_other_images(made_from: Mapping[str, Any], dataset_info: Path) -> bool:
    """Return whether results have other values of OF_IMAGES than dataset.json, as far as both have them."""
    try:
        status = dataset_info.stat()
    except OSError:  # not prepared, or deleted: results stay valid
        return False
    prepared = _prepared(dataset_info, status.st_mtime_ns, status.st_size)
    return any(made_from[key] != prepared[key] for key in made_from.keys() & prepared.keys())


@cache  # many experiments have one dataset
def _prepared(dataset_info: Path, _mtime_ns: int, _size: int) -> dict[str, Any]:
    found = read_head(dataset_info, *OF_IMAGES)
    return found and {"validation_rows": None, **found}  # null in results
