"""Images read straight out of zip and tar archives. Nothing is unpacked to disk, and nothing unsafe is read.

Refused: absolute names and `..`, links and devices, encrypted members, and archives that declare more than they could
honestly hold (a bomb).
"""

import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from deepnets.utils.errors import UserError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
MAX_MEMBER_BYTES = 2**28  # 256 MiB: one image file, as large as any camera's
MAX_TOTAL_BYTES = 2**40  # 1 TiB declared in all
MAX_RATIO = 100  # declared to packed size; images hardly pack, ratios near 1 are usual
RATIO_MATTERS_FROM = 2**30  # bytes: below 1 GiB even a packed sheet of one colour harms nobody
_MOST_PADDING = 2**20  # bytes of zeros behind the last member; tar writes up to 10 KiB
_MEMBER_OVERHEAD = 512  # bytes that a tar spends on a member's header, so that a billion empty members count too


class DamagedArchiveError(UserError):
    """The archive cannot be read to its end."""


def list_members(path: Path, place: str | None = None) -> list[str]:
    """Names of all members, in the archive's order, without a leading `./`; names of folders end with `/`.

    Args:
        path: the archive.
        place: what messages call it, where `path` is a copy that the user does not know.

    Raises:
        UserError: the archive is damaged, holds something unsafe, or the same name twice.
    """
    names, total, place = {}, 0, place or str(path)
    packed = path.stat().st_size
    with _damage_named(place):
        for name, size, refusal in _members(path):
            refusal = refusal or _name_refusal(name) or _size_refusal(size)
            if refusal:
                raise UserError(
                    f"{place}: refused, because member {name!r} {refusal}; pack the archive again without it."
                )
            total += size + _MEMBER_OVERHEAD
            if total > MAX_TOTAL_BYTES or (total > RATIO_MATTERS_FROM and total > MAX_RATIO * packed):
                raise UserError(
                    f"{place}: refused as an archive bomb: {packed:,} bytes that declare more than {total:,} bytes of"
                    " content; unpack it yourself if you trust it and give the folder as `path:`."
                )
            clean = str(PurePosixPath(name)) + ("/" if name.endswith("/") else "")
            if clean in names and not clean.endswith("/"):
                raise UserError(f"{place}: refused, because member {name!r} occurs twice; pack the archive again.")
            names[clean] = None
    return list(names)


def read_members(path: Path, wanted: Container[str], place: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (name as `list_members` gave it, content) of the wanted members, in the archive's order.

    Raises:
        DamagedArchiveError: the archive is damaged. What is unsafe, `list_members` has refused before.
    """
    reader = _read_zip if path.name.lower().endswith(".zip") else _read_tar
    members, place = reader(path, wanted), place or str(path)
    while True:
        with _damage_named(place):  # around this step only: what the consumer raises between the steps is its own
            member = next(members, None)
        if member is None:
            return
        yield member


@contextlib.contextmanager
def _damage_named(place: str) -> Iterator[None]:
    try:
        yield
    except (
        EOFError,
        lzma.LZMAError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        NotImplementedError,  # zipfile's word for a packing method that it does not know
        ValueError,  # names that are no text, sizes below zero
        struct.error,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the content's
            raise
        raise DamagedArchiveError(f"{place}: a damaged archive, or not one ({error}); get it again.") from None


def _name_refusal(name: str) -> str | None:
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "has an absolute name"
    if "\\" in name:
        return "has a backslash in its name"
    if ".." in PurePosixPath(name).parts:
        return "has '..' in its name"
    return None


def _size_refusal(size: int) -> str | None:
    return f"declares {size:,} bytes, more than any image" if size > MAX_MEMBER_BYTES else None


def _members(path: Path) -> Iterator[tuple[str, int, str | None]]:
    """Yield (name, declared bytes, why it is refused or None); names of folders end with `/`."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                yield member.filename, member.file_size, _zip_refusal(member)
    else:
        with _open_tar(path) as archive:
            for member in archive:
                refusal = None if member.isreg() or member.isdir() else "is a link or a device"
                yield member.name + ("/" if member.isdir() else ""), member.size, refusal
            if archive.fileobj.last_read != bytes(tarfile.BLOCKSIZE):  # a cut or a bad header ends it for tarfile too
                raise tarfile.ReadError("it breaks off")
            archive.fileobj.read(_MOST_PADDING)  # to the end, where .gz and .xz keep their checksums


def _zip_refusal(member: zipfile.ZipInfo) -> str | None:
    if member.flag_bits & 1:
        return "is encrypted"
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the packer was no Unix
    return None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device"


def _read_zip(path: Path, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = str(PurePosixPath(member.filename))
            if not member.is_dir() and name in wanted:
                yield name, archive.read(member)


def _read_tar(path: Path, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    with _open_tar(path) as archive:
        for member in archive:
            name = str(PurePosixPath(member.name))
            if member.isreg() and name in wanted:
                yield name, archive.extractfile(member).read()


class _BoundedReads:
    """A file that reads no more at once than an image holds: tarfile reads headers of any declared size whole.

    Knows what was read last: at the end of an archive, a block of zeros.
    """

    def __init__(self, file: BinaryIO):
        self._file, self.last_read = file, b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_MEMBER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last_read = self._file.read(size)
        return self.last_read


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    name = path.name.lower()
    opener = gzip.open if name.endswith((".gz", ".tgz")) else lzma.open if name.endswith(".xz") else open
    with opener(path, "rb") as file, tarfile.open(fileobj=_BoundedReads(file), mode="r:") as archive:
        yield archive
