"""Where raw files may come from: the user's own path, folders that mirror them, https addresses.

Without heavy imports, because Snakemake asks where people's own images lie whenever it reads the workflow.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from deepnets.utils.errors import UserError

MIRROR_VARIABLE = "DEEPNETS_MIRROR"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def find_local(relative: str, dataset: str, mirror: str | None = None, own_path: bool = True) -> Path | None:
    """The first of the local places that has a file or folder, or None.

    Raises:
        UserError: a mirror is not a folder that exists.
    """
    return next((place for place in places(relative, dataset, mirror, own_path) if place.exists()), None)


def places(relative: str, dataset: str, mirror: str | None = None, own_path: bool = True) -> list[Path]:
    """Where a file or folder may be, in the order of the search.

    The path itself (if `own_path`), then as <folder>/<dataset>/<path> and <folder>/<path> in the folder DEEPNETS_MIRROR
    and in `mirror` where that is a folder.

    Raises:
        UserError: a mirror is not a folder that exists.
    """
    found = [Path(os.path.expanduser(relative))] if own_path else []
    for folder in mirror_dirs(dataset, mirror):
        found += [folder / dataset / relative, folder / relative]
    return found


def mirror_dirs(dataset: str, mirror: str | None) -> list[Path]:
    """The folder DEEPNETS_MIRROR, and `mirror` where that is a folder.

    Raises:
        UserError: one of them is not a folder that exists.
    """
    mirrors = {
        f"the environment variable {MIRROR_VARIABLE}": os.environ.get(MIRROR_VARIABLE),
        f"config.yaml: datasets.{dataset}.mirror": None if mirror and "://" in mirror else mirror,
    }
    folders = []
    for name, value in mirrors.items():
        if value:
            folder = Path(os.path.expanduser(value))
            if not folder.is_dir():
                raise UserError(
                    f"{name} is {value!r}, which is not a folder; give a folder that exists, or leave it out."
                )
            folders.append(folder)
    return folders


def is_secure(url: str) -> bool:
    """Whether what comes from this address is what its owner sent."""
    parts = urlsplit(url)
    # On the loopback interface nobody sits in between, and the tests serve from there.
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
