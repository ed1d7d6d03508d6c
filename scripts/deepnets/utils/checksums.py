"""Checksums of finished files: they tell a damaged file from the one that was written.

The files of one job stand in `.<job>.sha256` beside them, in the format of sha256sum: `sha256sum -c .train.sha256`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file, write_text


@contextlib.contextmanager
def recorded(job: str, *files: Path) -> Iterator[None]:
    """Note the checksums of the files that a job writes inside, all in one folder; while it writes, there are none."""
    note = files[0].with_name(f".{job}.sha256")
    note.unlink(missing_ok=True)
    yield
    write_text(note, "".join(f"{sha256_file(file)}  {file.name}\n" for file in files))


def damaged(folder: str | Path) -> Iterator[Path]:
    """Files of a folder that are not what their checksums say.

    Only files that are younger than the note are read, so that looking after a large study costs nothing. Damage that
    leaves a file's time as it was, as a failing disk does, is found by `verify`, where the file is used. Files that are
    missing are not damaged.
    """
    for note in sorted(Path(folder).glob(".*.sha256")):
        younger = [(checksum, file) for checksum, file in _lines(note) if file.is_file() and _time(file) > _time(note)]
        wrong = [file for checksum, file in younger if sha256_file(file) != checksum]
        yield from wrong
        if younger and not wrong:  # touched or copied: not to be read again next time
            with contextlib.suppress(OSError):
                os.utime(note)


def verify(file: Path) -> None:
    """Compare a file with the checksum that was noted for it, if one was.

    Raises:
        UserError: it is not the file that was written.
    """
    for note in file.parent.glob(".*.sha256"):
        for checksum, noted in _lines(note):
            if noted == file and file.exists() and sha256_file(file) != checksum:
                raise UserError(f"{file}: damaged, not what was written; delete it and run the same command again.")


def _lines(note: Path) -> list[tuple[str, Path]]:
    try:
        lines = note.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [(line[:64], note.with_name(line[66:])) for line in lines if len(line) > 66]


def _time(file: Path) -> int:
    return file.stat().st_mtime_ns
