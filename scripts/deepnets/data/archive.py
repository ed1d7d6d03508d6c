"""Read images directly from zip and tar archives. Nothing is unpacked to disk, and nothing unsafe is read.

Refused: absolute names and `..`, links and devices, encrypted members, packing methods that Python does not have, and
archives that declare more content than their size allows (a bomb).
"""

import bz2
import contextlib
import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Container, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from deepnets.data.file_kinds import ARCHIVES, BZIP2, EMPTY, GZIP, START, TAR, XZ, kind_by_name, kind_of
from deepnets.data.member_names import tar_name, zip_names
from deepnets.utils.errors import UserError

MAX_MEMBER_BYTES = 2**28  # 256 MiB: more than any camera's image file
MAX_TOTAL_BYTES = 2**40  # 1 TiB declared in all
MAX_RATIO = 100  # declared to packed size; images hardly shrink, ratios near 1 are usual
RATIO_MATTERS_FROM = 2**30  # bytes: below 1 GiB no ratio does harm
_MAX_PADDING = 2**20  # bytes of zeros behind the last member; tar writes up to 10 KiB
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}  # that zipfile unpacks
_OTHER_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    98: "PPMd",
    99: "AES",
}
_PACK_WITHOUT = "pack the archive again without it"
FOLDER_OPTION = "give the folder as `path:`"  # in messages; other words where the archive is not that of a dataset
_MEMBER_OVERHEAD = 512  # bytes that a tar spends on a member's header, so that a billion empty members count too
_OPENERS: dict[str, Callable[..., Any]] = {TAR: open, GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}


class DamagedArchiveError(UserError):
    """The archive cannot be read to its end."""


def list_members(path: Path, shown_as: str | None = None, encoding: str | None = None) -> list[str]:
    """List all members in the archive's order, without a leading `./`; names of folders end with `/`.

    Args:
        path: the archive.
        shown_as: its name in messages, where `path` is a copy that the user does not know.
        encoding: of names that do not say theirs.

    Raises:
        UserError: the archive is damaged, holds something unsafe, the same name twice or names of unknown encoding.
    """
    names: dict[str, None] = {}
    _add_names(names, path, shown_as or str(path), encoding)
    return list(names)


def list_undamaged(path: Path, encoding: str | None = None) -> tuple[list[str], DamagedArchiveError | None]:
    """List the members as `list_members` does; of a damaged tar those before the damage, and what is wrong with it.

    The last member that is found is left out, too: the damage may be in it. No member is listed where a checksum of the
    whole content, or of a large block, is wrong: the damage may be anywhere in it.
    """
    names: dict[str, None] = {}
    try:
        _add_names(names, path, str(path), encoding)
    except DamagedArchiveError as error:
        if len(names) < 2 or isinstance(error.__context__, OSError | lzma.LZMAError):
            return [], error
        last, _ = names.popitem()
        return list(names), DamagedArchiveError(f"{path}: damaged from {last} on; fetch it again.")
    return list(names), None


def _add_names(names: dict[str, None], path: Path, shown_as: str, encoding: str | None) -> None:
    """Add the members' names as `list_members` has them; after an error, those that were read before it are there."""
    total, packed = 0, path.stat().st_size
    with _damage_named(path, shown_as):
        for name, original, size, refusal in _members(path, encoding, shown_as):
            refusal = refusal or _name_refusal(name) or _size_refusal(size)
            if refusal:
                raise UserError(f"{shown_as}: refused, because member {original!r} {refusal}.")
            total += size + _MEMBER_OVERHEAD
            if total > MAX_TOTAL_BYTES or (total > RATIO_MATTERS_FROM and total > MAX_RATIO * packed):
                raise UserError(
                    f"{shown_as}: refused as an archive bomb: {packed:,} bytes that declare more than {total:,} bytes"
                    f" of content; if you trust it, unpack it and {FOLDER_OPTION}."
                )
            clean = str(PurePosixPath(name)) + ("/" if name.endswith("/") else "")
            if clean in names and not clean.endswith("/"):
                raise UserError(f"{shown_as}: refused, because member {original!r} occurs twice; {_PACK_WITHOUT}.")
            names[clean] = None


def read_members(
    path: Path, needed: Container[str], shown_as: str | None = None, encoding: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (name as `list_members` gave it, content) of the needed members, in the archive's order.

    Raises:
        DamagedArchiveError: the archive is damaged. Unsafe members were refused by `list_members`.
    """
    for name, content in _contents(path, needed, shown_as or str(path), encoding):
        if isinstance(content, Exception):
            raise content
        yield name, content


def try_members(
    path: Path, needed: Collection[str], encoding: str | None = None
) -> Iterator[tuple[str, bytes | Exception]]:
    """Yield (name, content) of each needed member as `read_members` does, or its UserError or OSError instead.

    Of a zip, a damaged member does not concern the others. Of a tar, none that follows it can be found.
    """
    missing = dict.fromkeys(needed)
    reason: Exception = UserError(f"{path}: has changed since its names were read; run this again.")
    try:
        for name, content in _contents(path, needed, str(path), encoding):
            missing.pop(name, None)
            yield name, content
    except (UserError, OSError) as error:
        reason = error
    yield from ((name, reason) for name in missing)


def _contents(
    path: Path, needed: Container[str], shown_as: str, encoding: str | None
) -> Iterator[tuple[str, bytes | Exception]]:
    """Yield (name, content) of the needed members, or the error of one; raise that of the whole archive."""
    find = _find_in_zip if path.name.lower().endswith(".zip") else _find_in_tar
    members = find(path, needed, encoding, shown_as)
    while True:
        with _damage_named(path, shown_as):  # not around the yield: the caller's errors are its own
            member = next(members, None)
        if member is None:
            return
        name, read = member
        content: bytes | Exception
        try:
            with _damage_named(path, shown_as):
                content = read()
        except (UserError, OSError) as error:
            content = error
        yield name, content


@contextlib.contextmanager
def _damage_named(path: Path, shown_as: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:  # zipfile lacks something, the archive may be whole
        raise UserError(f"{shown_as}: cannot be read here ({error}); unpack it and {FOLDER_OPTION}.") from None
    except (
        EOFError,
        lzma.LZMAError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        ValueError,  # names that are not text, sizes below zero
        struct.error,
        OSError,
    ) as error:
        # The disk failed, not the content: an offset below zero, which only the content can have, is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        with open(path, "rb") as file:
            kind = kind_of(file.read(START))
        if kind in ARCHIVES.values() and kind != kind_by_name(path.name):
            raise DamagedArchiveError(f"{shown_as}: is {kind}; give its name the ending that fits.") from None
        if kind not in (None, EMPTY, *ARCHIVES.values()):
            raise DamagedArchiveError(f"{shown_as}: is {kind}; give one of {', '.join(ARCHIVES)}.") from None
        reason = "it is empty" if kind == EMPTY else error
        raise DamagedArchiveError(f"{shown_as}: a damaged archive, or not one ({reason}); fetch it again.") from None


def _name_refusal(name: str) -> str | None:
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return f"has an absolute name; {_PACK_WITHOUT}"
    if "\\" in name:
        return f"has a backslash in its name; {_PACK_WITHOUT}"
    if ".." in PurePosixPath(name).parts:
        return f"has '..' in its name; {_PACK_WITHOUT}"
    return None


def _size_refusal(size: int) -> str | None:
    return f"declares {size:,} bytes, more than any image; {_PACK_WITHOUT}" if size > MAX_MEMBER_BYTES else None


def _members(path: Path, encoding: str | None, shown_as: str) -> Iterator[tuple[str, str, int, str | None]]:
    """Yield (name, name as it is stored, declared bytes, why it is refused or None); names of folders end with `/`."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for name, member in _named_members(archive, encoding, shown_as):
                yield name, member.orig_filename, member.file_size, _zip_refusal(member)
    else:
        with _open_tar(path) as (tar, file):
            for entry in tar:
                refusal = None if entry.isreg() or entry.isdir() else f"is a link or a device; {_PACK_WITHOUT}"
                name = tar_name(entry, encoding, shown_as)
                yield name + ("/" if entry.isdir() else ""), entry.name, entry.size, refusal
            if file.last_read != bytes(tarfile.BLOCKSIZE):  # tarfile ends without an error here too
                raise tarfile.ReadError("it is truncated")
            # To the end, where packed ones keep their checksums.
            if any(file.read(_MAX_PADDING)):
                raise UserError(
                    f"{shown_as}: more follows its end, as after `cat a.tar b.tar`; unpack it with"
                    f" `tar --ignore-zeros -xf`, and {FOLDER_OPTION}."
                )


def _named_members(
    archive: zipfile.ZipFile, encoding: str | None, shown_as: str
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    members = archive.infolist()
    return zip(zip_names(members, encoding, shown_as), members, strict=True)


def _zip_refusal(member: zipfile.ZipInfo) -> str | None:
    if member.flag_bits & 1:
        return "is encrypted; pack the archive again without a password"
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was not packed on Unix
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"is a link or a device; {_PACK_WITHOUT}"
    if member.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(member.compress_type, f"method {member.compress_type}")
        return (
            f"is packed with {method}, which cannot be unpacked here; unpack the archive with the program that made it"
            f" and {FOLDER_OPTION}, or pack it again with Deflate (Windows takes Deflate64 from 2 GB on)"
        )
    return None


_Found = tuple[str, Callable[[], bytes]]  # a member's name, and what reads its content


def _find_in_zip(path: Path, needed: Container[str], encoding: str | None, shown_as: str) -> Iterator[_Found]:
    with zipfile.ZipFile(path) as archive:
        for stored, member in _named_members(archive, encoding, shown_as):
            name = str(PurePosixPath(stored))
            if not stored.endswith("/") and name in needed:
                yield name, partial(archive.read, member)


def _find_in_tar(path: Path, needed: Container[str], encoding: str | None, shown_as: str) -> Iterator[_Found]:
    with _open_tar(path) as (archive, _):
        for member in archive:
            name = str(PurePosixPath(tar_name(member, encoding, shown_as)))
            if name in needed and (content := archive.extractfile(member) if member.isreg() else None):
                yield name, content.read


class _BoundedReads:
    """A file that refuses to read more at once than an image has: tarfile reads headers of any declared size whole.

    last_read   the bytes read last: at the end of an archive, a block of zeros
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile):
        self._file, self.last_read = file, b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_MEMBER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last_read = self._file.read(size)
        return self.last_read


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tuple[tarfile.TarFile, _BoundedReads]]:
    with _OPENERS[kind_by_name(path.name) or TAR](path, "rb") as file:
        reader = _BoundedReads(file)  # tarfile reads, seeks and asks where it is
        with tarfile.open(fileobj=cast(BinaryIO, reader), mode="r:", encoding="utf-8") as archive:
            yield archive, reader
