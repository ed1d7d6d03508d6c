"""Describe where a report was made: versions, machine and commit, for results/environment.json."""

import platform
import re
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from deepnets.utils.machine import cpu_name, output_of, usable_cores, usable_memory_mb

# Files that a result can depend on; a user's images next to them do not make a checkout modified.
CODE = ("Snakefile", "config.yaml", "pyproject.toml", "requirements.txt", "profiles", "scripts", "workflow")


def describe(root: str | Path) -> dict[str, Any]:
    """Return versions, machine and commit of the repository at `root`; only `generated` changes from call to call.

    Values that are not known on this machine are None; packages that are not installed are left out.
    """
    commit, modified = git_state(root)
    memory = usable_memory_mb()
    return {
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": package_versions(root),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_gb": round(memory / 1000, 1) if memory else None,
        "gpus": gpus(),
        "git_commit": commit,
        "git_modified": modified,
    }


def package_versions(root: str | Path) -> dict[str, str]:
    """Return the versions of the dependencies in pyproject.toml without importing any of them."""
    project = tomllib.loads((Path(root) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in project["dependencies"]]
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpus() -> list[str]:
    """Return the name and driver of each NVIDIA GPU from nvidia-smi, an empty list without a GPU."""
    return (output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or "").splitlines()


def git_state(root: str | Path) -> tuple[str | None, bool | None]:
    """Return the commit checked out at `root`, and whether its code or configuration has uncommitted changes.

    (None, None) if `root` is not the top of a git checkout, as after unpacking an archive.
    """
    git = ("git", "--no-optional-locks", "-C", str(root))
    top = output_of(*git, "rev-parse", "--show-toplevel")
    commit = output_of(*git, "rev-parse", "--verify", "HEAD")
    if not top or not commit or Path(top).resolve() != Path(root).resolve():
        return None, None
    changes = output_of(*git, "status", "--porcelain", "--", *CODE)
    return commit, None if changes is None else bool(changes)
