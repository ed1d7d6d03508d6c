"""Explain why a job is stale: Snakemake compares fingerprints, and this module names the values that changed."""

import ast
import base64
import json
from collections.abc import Iterator
from pathlib import Path

from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.utils.checksums import find_corrupted

METADATA = Path(".snakemake/metadata")

MISSING = "missing"
# Data are built only for the stages that read them: results stay valid without the arrays they were made from.
READERS = {"download": {"prepare"}, "prepare": {"train", "evaluate"}}


def reasons(jobs: Jobs) -> list[tuple[Job, str]]:
    """Return the study's jobs that are stale by themselves, not through their inputs; each with the reason.

    Raises:
        UserError: a code file is broken.
    """
    recorded = recorded_fingerprints()
    found: list[tuple[Job, str]] = []
    for job in reversed(list(jobs.of_study())):
        why = _reason(job, jobs, recorded.get(job.outputs[0]))
        read_by = {other.stage for other, _ in found if other.wildcards.get("dataset") == job.wildcards.get("dataset")}
        needed = job.stage not in READERS or READERS[job.stage] & read_by
        if why and (needed or not why.startswith(MISSING)):
            found.append((job, why))
    return found[::-1]


def _reason(job: Job, jobs: Jobs, old: dict | None) -> str | None:
    """Return why a job is stale by itself, or None; a result without a record counts as up to date."""
    missing = [path for path in job.outputs if not Path(path).exists()]
    if len(missing) == len(job.outputs) and not old:
        return f"{MISSING}: not made yet"
    if missing:
        return f"{MISSING}: {', '.join(missing)}"
    wrong = [str(file) for file in find_corrupted(Path(job.outputs[0]).parent) if str(file) in job.outputs]
    if wrong:
        return f"damaged: {', '.join(wrong)}"
    new = json.loads(jobs.fingerprint(job.stage, job.wildcards))
    return "; ".join(differences(old, new)) if old and old != new else None


def recorded_fingerprints(folder: str | Path = METADATA) -> dict[str, dict]:
    """Return the decoded fingerprint that Snakemake recorded for each file, by the file's path.

    Snakemake keeps a JSON file per output, named by the path in base64, split into folders where it is long. Records of
    other programs and of other versions of this one are left out.
    """
    folder, found = Path(folder), {}
    for file in folder.rglob("*"):
        if file.is_file():
            parts = file.relative_to(folder).parts
            try:
                output = base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()
                params = json.loads(file.read_text(encoding="utf-8"))["params"]
                found[output] = next(job for job in map(_job, params) if job is not None)
            except (OSError, ValueError, KeyError, TypeError, StopIteration):
                continue
    return found


def _job(param: str) -> dict | None:
    """Return the job in one recorded param, which is a Python literal; None if it is something else."""
    try:
        job = json.loads(ast.literal_eval(param))
    except (ValueError, SyntaxError, TypeError):
        return None
    return job if isinstance(job, dict) and "code" in job else None


def differences(old: dict, new: dict) -> list[str]:
    """Return a phrase for each change between two fingerprints: settings first, then code files."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    phrases = []
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) == after.get(key) and key in before and key in after:
            continue
        if key == ("state",):
            phrases.append("the images changed")
        elif key[0] in ("code", "files"):
            state = "is new" if key not in before else "is gone" if key not in after else "changed"
            phrases.append(f"{key[1]} {state}")
        else:
            name = ".".join(key[1:] if key[0] == "spec" else key)
            phrases.append(f"{name} was {_value(before, key)}, is {_value(after, key)}")
    return sorted(phrases, key=lambda phrase: phrase.startswith(("scripts/", "workflow/")))


def _leaves(value: object, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield the values of nested dictionaries, each with the keys that lead to it."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*key, name))
    else:
        yield key, value


def _value(leaves: dict, key: tuple[str, ...]) -> str:
    return json.dumps(leaves[key], ensure_ascii=False) if key in leaves else "not there"
