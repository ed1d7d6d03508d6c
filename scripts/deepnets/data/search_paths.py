"""The places where raw files are searched: the user's path, folders that mirror them, https addresses.

Without heavy imports, because Snakemake looks for the user's images whenever it reads the workflow.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from deepnets.utils.errors import UserError

MIRROR_VARIABLE = "DEEPNETS_MIRROR"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def find_local(relative: str, dataset: str, mirror: str | None = None, own_path: bool = True) -> Path | None:
    """Find a file or folder in the search paths: the first that exists, or None.

    Raises:
        UserError: a mirror is not a folder that exists, a place cannot be looked at, or what is found is a FIFO, a
            socket or a device.
    """
    try:
        found = next((path for path in search_paths(relative, dataset, mirror, own_path) if path.exists()), None)
    except OSError as error:  # a name that is too long, a folder that may not be entered
        key = f"config.yaml: datasets.{dataset}.{'path' if own_path else 'mirror'}"
        raise UserError(f"{key}: {error.filename}: {error.strerror}; correct it.") from None
    if found and not found.is_file() and not found.is_dir():  # to read it may block, or never end
        raise UserError(f"{found}: not a file but a FIFO, a socket or a device; remove it.")
    return found


def search_paths(relative: str, dataset: str, mirror: str | None = None, own_path: bool = True) -> list[Path]:
    """List where a file or folder may be, in the order of the search.

    First comes the path itself (if `own_path`), then <folder>/<dataset>/<path> and <folder>/<path> of each mirror.

    Raises:
        UserError: a mirror is not a folder that exists.
    """
    found = [Path(os.path.expanduser(relative))] if own_path else []
    for folder in mirror_dirs(dataset, mirror):
        found += [folder / dataset / relative, folder / relative]
    return found


def mirror_dirs(dataset: str, mirror: str | None) -> list[Path]:
    """List the mirrors that are folders: DEEPNETS_MIRROR, then `mirror` unless it is an address.

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
            if not os.path.isdir(folder):  # False for a name that is too long, where pathlib raises
                raise UserError(
                    f"{name} is {value!r}, which is not a folder; give a folder that exists, or leave it out."
                )
            folders.append(folder)
    return folders


def is_secure(url: str) -> bool:
    """Return whether files from this address cannot be changed on the way."""
    try:
        parts = urlsplit(url)
    except ValueError:  # not an address
        return False
    # Nobody sits between two ends of the loopback interface, and the tests serve from there.
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )
