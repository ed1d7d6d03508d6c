"""Where a report was made: versions, machine and commit, for results/environment.json."""

import platform
import re
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from deepnets.utils.machine import cpu_name, output_of, usable_cores, usable_memory_mb

# What a result can depend on; a user's own pictures beside them do not make a checkout modified.
_CODE = ("Snakefile", "config.yaml", "pyproject.toml", "requirements.txt", "profiles", "scripts", "workflow")


def describe(root: str | Path) -> dict:
    """Versions, machine and commit of the repository at `root`; the only entry that differs by itself is `generated`.

    Values that this machine does not know are None; packages that are not installed are left out.
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
    """Versions of what pyproject.toml names as dependencies, read without importing any of them."""
    project = tomllib.loads((Path(root) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in project["dependencies"]]
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpus() -> list[str]:
    """Name and driver of each NVIDIA GPU, as nvidia-smi tells; empty where there is none."""
    return (output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or "").splitlines()


def git_state(root: str | Path) -> tuple[str | None, bool | None]:
    """The commit checked out at `root`, and whether its code or configuration has been changed since.

    (None, None) where `root` is not the top of a git checkout, as after unpacking an archive.
    """
    git = ("git", "--no-optional-locks", "-C", str(root))
    top = output_of(*git, "rev-parse", "--show-toplevel")
    commit = output_of(*git, "rev-parse", "--verify", "HEAD")
    if not top or not commit or Path(top).resolve() != Path(root).resolve():
        return None, None
    changes = output_of(*git, "status", "--porcelain", "--", *_CODE)
    return commit, None if changes is None else bool(changes)
