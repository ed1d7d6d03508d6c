"""Look at a folder or an archive of images for about a second, so that a wrong path is found before any job runs."""

import struct
from collections.abc import Container
from pathlib import Path

from deepnets.data import archive
from deepnets.data.class_folders import list_classes
from deepnets.data.file_kinds import ARCHIVES, START, TAR, kind_by_name, kind_of
from deepnets.data.folder_tree import list_folder
from deepnets.utils.errors import UserError

_MAX_TAR, _MAX_PACKED_TAR = 2**24, 2**20  # bytes: a tar has no list of its members, and is read to its end
_END_OF_ZIP, _MANY = struct.Struct("<4s6xH8xH"), 2**16 - 1  # ... number of members, length of the comment


def find_classes(
    path: Path, shown_as: str, encoding: str | None = None, classes: Container[int] = ()
) -> list[str] | None:
    """Find the names of the class folders in a folder or an archive; None if that would take longer than a second.

    Args:
        path: the folder or archive.
        shown_as: its name in messages.
        encoding: of an archive's names that do not say theirs.
        classes: as for `find_root`.

    Raises:
        UserError: there is neither train/<class> nor test/<class>, or the archive is not one.
        OSError: something cannot be read.
    """
    names = list_folder(path, deepest=0) if path.is_dir() else _members(path, shown_as, encoding)
    return None if names is None else list_classes(shown_as, names, classes)


def _members(path: Path, shown_as: str, encoding: str | None) -> list[str] | None:
    kind, size = kind_by_name(path.name), path.stat().st_size
    if kind == ARCHIVES[".zip"]:
        return None if _has_many_members(path) else archive.list_members(path, shown_as, encoding)
    if size <= (_MAX_TAR if kind == TAR else _MAX_PACKED_TAR):
        return archive.list_members(path, shown_as, encoding)
    with open(path, "rb") as file:
        if kind != TAR and kind_of(file.read(START)) != kind:  # an old tar has nothing that tells what it is
            raise UserError(f"{shown_as}: not {kind}; fetch it again.")
    return None


def _has_many_members(path: Path) -> bool:
    """Whether a zip has 65,535 members or more; their list takes longer than a second."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _END_OF_ZIP.size - _MANY))  # the record may have a comment behind it
        end = file.read()
    start = end.rfind(b"PK\x05\x06")
    return start >= 0 and len(end) - start >= _END_OF_ZIP.size and _END_OF_ZIP.unpack_from(end, start)[1] == _MANY
