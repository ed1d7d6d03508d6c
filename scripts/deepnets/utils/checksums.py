"""Checksums of finished files, to tell a corrupted file from one that was only touched or copied.

The checksums of the files that one job wrote are in `.<job>.sha256` in the same folder, in the format of sha256sum:
`sha256sum -c .train.sha256`.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import remove_leftovers, sha256_file, write_text

_LINE = re.compile(r"([0-9a-f]{64})  ([^/]+)")


@contextlib.contextmanager
def record_checksums(job: str, *files: Path) -> Iterator[None]:
    """Record the checksums of the files that a job writes inside the `with` block.

    While the job writes there is no checksum file, so that a killed job leaves none next to half-written results. What
    a killed run of the same job left of its files is removed; other jobs may be writing into the folder.

    Args:
        job: names the checksum file, `.<job>.sha256`: a stage, with the suffix of a study, or a figure.
        files: the files to be written, all in one folder.
    """
    checksum_file = files[0].with_name(f".{job}.sha256")
    checksum_file.unlink(missing_ok=True)
    remove_leftovers(checksum_file.parent, checksum_file.name, *(file.name for file in files))
    yield
    write_text(checksum_file, "".join(f"{sha256_file(file)}  {file.name}\n" for file in files))


def find_corrupted(folder: str | Path, *, remember: bool = False) -> list[Path]:
    """Find the files in a folder whose content differs from their recorded checksum.

    Only files newer than their checksum file are read, so that checking a large study is cheap. Corruption that keeps a
    file's modification time, as on a failing disk, is found by `verify` where the file is used. Missing files are not
    reported.

    Args:
        folder: the folder with the checksum files.
        remember: touch a checksum file after its newer files turned out intact, so that the next call does not read
            them again. False: change nothing on the disk.
    """
    corrupted = []
    for checksum_file in sorted(Path(folder).glob(".*.sha256")):
        newer = [(checksum, file) for checksum, file in _read(checksum_file) if _is_newer(file, checksum_file)]
        wrong = [file for checksum, file in newer if sha256_file(file) != checksum]
        corrupted += wrong
        if remember and newer and not wrong:
            with contextlib.suppress(OSError):
                os.utime(checksum_file)
    return corrupted


def verify(file: Path) -> None:
    """Compare a file with its recorded checksum, if there is one.

    Raises:
        UserError: the file differs from the one that was written.
    """
    checksum = recorded_checksum(file)
    if checksum is not None and file.exists() and sha256_file(file) != checksum:
        raise UserError(f"{file}: damaged, its checksum has changed; delete it.")


def recorded_checksum(file: Path) -> str | None:
    """The SHA-256 that a job recorded of a file that it wrote; None if no job did."""
    for checksum_file in file.parent.glob(".*.sha256"):
        for checksum, recorded in _read(checksum_file):
            if recorded == file:
                return checksum
    return None


def _read(checksum_file: Path) -> list[tuple[str, Path]]:
    """The lines of a checksum file as (checksum, path), of files that its job writes; none if it cannot be read.

    Users may have checksum files of their own in the same folder, of files of their own or of ours.
    """
    try:
        lines = checksum_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    matches = [_LINE.fullmatch(line) for line in lines]
    written = _written_by(checksum_file)
    return [(match[1], checksum_file.with_name(match[2])) for match in matches if match and match[2] in written]


def _written_by(checksum_file: Path) -> set[str]:
    """Names of the files that the job of a checksum file writes into the same folder."""
    job = checksum_file.name.removeprefix(".").removesuffix(checksum_file.suffix)
    stage, suffix = _split(job)
    folder, _ = _split(checksum_file.parent.name)
    of_figures = [*paths.OUTPUTS["plot_experiment"], *paths.OUTPUTS["plot_comparison"]]
    in_this_folder = [path for path in of_figures if PurePosixPath(path).parent.name.removesuffix("{suffix}") == folder]
    written = [PurePosixPath(path).name for path in paths.OUTPUTS.get(stage, in_this_folder)]
    return {name for name in (each.format(figure=job, suffix=suffix) for each in written) if suffix in name}


def _split(name: str) -> tuple[str, str]:
    """Split a name at the suffix of a study: "report-sweep" into "report" and "-sweep"."""
    stem, *suffix = re.split(r"(?=[.-])", name, maxsplit=1)
    return stem, "".join(suffix)


def _is_newer(file: Path, checksum_file: Path) -> bool:
    return file.is_file() and file.stat().st_mtime_ns > checksum_file.stat().st_mtime_ns
