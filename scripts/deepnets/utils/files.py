"""Atomic writes, so that a file is either complete or absent; SHA-256 digests and canonical JSON."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepnets.utils.errors import UserError

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value, for hashing and comparing: sorted keys, no spaces, ASCII only.

    Raises:
        ValueError: the value contains NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """Return the hexadecimal SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes; a large file is not read into memory at once."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def error_names(path: str | Path) -> Iterator[None]:
    """Have an OSError of the `with` block name a file: of a write to an open file, the system names none.

    A full disk is always that of the file that is written, although `shutil` names the one that it copies from.

    Args:
        path: the file that the block writes, as the user knows it.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or error.errno in FULL_DISK:
            error.filename = str(path)
        raise


_TEMPORARY = ".deepnets-"  # in the names of temporary files, which may lie among the user's own


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success, flush it to disk and rename it to `path`.

    The temporary name keeps the suffix of `path`, because several writers choose the format by it. After an exception
    the temporary file is removed.

    Raises:
        OSError: the disk is full or the folder cannot be written; `filename` is `path`.
    """
    path = Path(path)
    with error_names(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}{_TEMPORARY}", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with error_names(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for the whole group
            flush(temporary)
            temporary.replace(path)
    except OSError as error:
        if error.filename in (name, temporary):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *names: str) -> None:
    """Remove the temporary files of `atomic_path` that killed processes left in a folder.

    Args:
        names: of the files whose temporary ones are removed; without names, all are. Call it only where no other
            process writes these.
    """
    for name in map(Path, names or ["*"]):
        for file in folder.glob(f".{name.stem}{_TEMPORARY}????????{name.suffix or '*'}"):
            with contextlib.suppress(OSError):
                file.unlink()


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk; then a rename cannot leave an incomplete file under the new name."""
    with error_names(path), open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write readable JSON atomically: two-space indent, keys in the given order, a final newline.

    Raises:
        ValueError: the value contains NaN or an infinity.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the next run rebuilds it.") from None
    except (ValueError, RecursionError) as error:  # ValueError: of the encoding, of JSON, or a number of 5,000 digits
        raise UserError(f"{path}: damaged, not JSON ({error}); delete it.") from None
