"""The layout train/<class>/<image>, test/<class>/<image> of a folder or an archive: which images it holds.

A third folder, val, valid, validation or dev, is the validation split. Capitals in these names make no difference.
Images may lie in folders below their class.
"""

import hashlib
import itertools
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepnets.data.class_names import name_problems
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.paths import SPLITS
from deepnets.utils.text import shortened

MAX_DEPTH = 16  # folders below train, the class among them
# File endings of images. They only tell images from other files: `decode` finds the format by the content.
_JPEG, _NETPBM = (".jpg", ".jpeg", ".jpe", ".jfif"), (".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = (*_JPEG, ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", *_NETPBM, ".avif")
VALIDATION = "validation"
_VALIDATION_FOLDERS = ("val", "valid", VALIDATION, "dev")  # in lower case
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, undecodable bytes, line ends
_END_BYTES = 2**16  # of an archive's start and end
# What desktops, disks and network drives leave among images, in lower case; also whatever starts with a dot.
_DESKTOP_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r")
_DESKTOP_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
_STREAMS = (":zone.identifier", "thumbs.db:encryptable")  # of Windows, as other systems copy them


@dataclass(frozen=True)
class Layout:
    """The images of a folder or an archive.

    classes   class names by label: in order of their code points, as torchvision's ImageFolder has them
    splits    split -> (file name, label) of each image, by label, then name; the order is that of the arrays.
              "validation" is there if the folder or archive has such a folder with images.
    """

    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]

    def names(self) -> list[str]:
        """File names of all images, the training split first."""
        return list(self.positions())

    def positions(self) -> dict[str, tuple[str, int]]:
        """Split and index of each image, by its file name, the training split first."""
        return {name: (split, index) for split, images in self.splits.items() for index, (name, _) in enumerate(images)}


def fingerprint(path: Path) -> str:
    """Digest what can be seen of a folder's images or of an archive without reading them all.

    Of a folder it sees names and sizes below train, test and a validation folder, of an archive the size, the start and
    the end; 100,000 images take a second. It does not see an image replaced by one of the same size in bytes, nor a
    change inside a large archive that moves nothing. Times are left out: they would make a fresh copy of the same
    images a change.

    Raises:
        OSError: something cannot be read.
        UserError: a folder has something that is no file, or a link that leads in a circle.
    """
    if path.is_dir():
        entries = [(name, entry) for name, entry in _walk(path) if any(map(split_of, name.split("/")[:2]))]
        sizes = {name: 0 if name.endswith("/") else entry.stat().st_size for name, entry in entries}
        return sha256_text(canonical_json(sizes))
    with open(path, "rb") as file:
        size, start = path.stat().st_size, file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return hashlib.sha256(b"%d %b %b" % (size, start, file.read())).hexdigest()


def list_folder(root: Path, deepest: int = MAX_DEPTH) -> list[str]:
    """List the files and folders of `root` that matter for its layout; names of folders end with `/`.

    These are all at the top and all below train, test and a validation folder. Links are followed.

    Args:
        root: the folder.
        deepest: how many folders below train may be inside each other, and are listed; 0 lists the classes alone.

    Raises:
        OSError: something cannot be read.
        UserError: there is something that is no file (a FIFO, a device), or a link that leads in a circle.
    """
    return [name for name, _ in _walk(root, deepest)]


def _walk(
    folder: Path | str,
    deepest: int = MAX_DEPTH,
    prefix: str = "",
    depth: int = 0,
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield each file and folder with its name relative to the first folder.

    Args:
        folder: to list.
        deepest: as for `list_folder`.
        prefix: of the names in it.
        depth: how far it is below train, test or a validation folder, which have 1; 0 outside of them.
        above: device and inode of each folder on the way to this one.
    """
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not _is_ignored(entry.name)]
    holds_splits = any(split_of(entry.name) in SPLITS for entry in entries)
    for entry in entries:
        name = prefix + entry.name
        if not _is_folder(entry):
            if depth:
                _refuse_device(entry)
            yield name, entry
            continue
        yield f"{name}/", entry
        if depth > deepest:
            continue  # read_layout refuses the folder
        if depth or (holds_splits and split_of(entry.name)):
            yield from _walk(entry.path, deepest, f"{name}/", depth + 1, (*above, _identity(entry, above)))
        elif not holds_splits and not prefix:  # the one folder that may hold train and test
            yield from _walk(entry.path, deepest, f"{name}/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; it is named where it would be opened
        return False


def _refuse_device(entry: os.DirEntry[str]) -> None:
    """Refuse what may block or never end when it is read; a link that leads nowhere is named when it is opened."""
    if not entry.is_file() and os.path.exists(entry.path):
        raise UserError(f"{_printable(entry.path)}: not a file but a FIFO, a socket or a device; remove it.")


def _identity(folder: os.DirEntry[str], above: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in above:
        raise UserError(f"{_printable(folder.path)}: a link to a folder that holds it; remove it.")
    return status.st_dev, status.st_ino


def read_layout(shown_as: str, names: list[str]) -> Layout:
    """Sort file names into splits and classes.

    Hidden files, what desktops leave and whatever lies outside the splits is ignored.

    Args:
        shown_as: the folder or archive, for messages.
        names: of its files and folders, relative, with `/`; those of folders end with `/`.

    Raises:
        UserError: one line for each misplaced file, each class that a split lacks, each empty class, each class name
            that readers cannot tell from another.
    """
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    paths = [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(_is_ignored, path.parts))]
    top = _top_folder(shown_as, [path for path, _ in paths])
    found: dict[str, dict[str, list[str]]] = {split: {} for split in (*SPLITS, VALIDATION)}  # split -> class -> images
    spelled: dict[str, set[str]] = {split: set() for split in found}
    folders: set[tuple[str, str]] = set()  # of splits and of classes, as they are spelled
    problems = []
    for path, is_folder in paths:
        inside = path.parts[len(top) :] if path.parts[: len(top)] == top else ()
        split = split_of(inside[0]) if inside else None
        if split is None:
            continue
        spelled[split].add(inside[0])
        if problem := _problem(inside, is_folder):
            problems.append(f"{shown_as}/{_printable(str(path))}: {problem}.")
        elif len(inside) > 1:
            folders.add((inside[0], inside[1]))
            images = found[split].setdefault(unicodedata.normalize("NFC", inside[1]), [])
            if not is_folder:
                images.append(str(path))
    classes = sorted(set().union(*found.values()))
    problems += [f"{shown_as}: {problem}" for problem in _split_problems(spelled, found)]
    problems += [f"{shown_as}: {problem}" for problem in _class_problems(folders, found, classes)]
    if problems:
        raise UserError(shortened(problems))
    if not classes:
        raise _no_images(shown_as)
    used = [*SPLITS, *([VALIDATION] if any(found[VALIDATION].values()) else [])]
    splits = {
        split: [(file, label) for label, name in enumerate(classes) for file in sorted(found[split].get(name, []))]
        for split in used
    }
    return Layout(classes, splits)


def split_of(folder: str) -> str | None:
    """The split whose images are in a folder of this name, in capitals or not."""
    folder = folder.lower()
    return VALIDATION if folder in _VALIDATION_FOLDERS else folder if folder in SPLITS else None


def list_classes(shown_as: str, names: list[str]) -> list[str]:
    """List the names of the class folders below all splits, sorted; most mistakes are left to `read_layout`.

    Args:
        shown_as: the folder or archive, for messages.
        names: as for `read_layout`; names of files may be left out.

    Raises:
        UserError: no class folder was found, or readers cannot tell a class name from another.
    """
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    paths = [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(_is_ignored, path.parts))]
    top = _top_folder(shown_as, [path for path, _ in paths])
    inside = [(path.parts[len(top) :], is_folder) for path, is_folder in paths if path.parts[: len(top)] == top]
    found = {parts[:2] for parts, is_folder in inside if len(parts) > 2 - is_folder and split_of(parts[0])}
    if not found:
        raise _no_images(shown_as)
    if problems := name_problems((split, name) for split, name in found):  # each would count as one class
        raise UserError(shortened([f"{shown_as}: {problem}" for problem in problems]))
    return sorted({unicodedata.normalize("NFC", name) for _, name in found})


def _problem(inside: tuple[str, ...], is_folder: bool) -> str | None:
    """Return the problem of a path that starts at the folder of a split; None if the path is right."""
    name = "/".join(inside)
    if name != _printable(name):
        return "its name has control characters or is not UTF-8; rename it"
    if len(inside) - (1 if is_folder else 2) > MAX_DEPTH:
        return f"more than {MAX_DEPTH} folders below {inside[0]}; move it up"
    if is_folder:
        return None
    if len(inside) < 3:
        return f"expected {inside[0]}/<class>/<image>; move or remove it"
    if not name.lower().endswith(SUFFIXES):
        return f"not one of {', '.join(SUFFIXES)}; convert or remove it"
    return None


def _split_problems(spelled: dict[str, set[str]], found: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    """Yield the problems of the splits' folders, a line each."""
    for split, names in spelled.items():
        if len(names) > 1:
            yield f"{' and '.join(sorted(names))} are both {split} splits; keep one."
    if spelled[VALIDATION] and not any(found[VALIDATION].values()):
        yield f"{min(spelled[VALIDATION])} has no images; add some or remove it."


def _class_problems(
    folders: set[tuple[str, str]], found: dict[str, dict[str, list[str]]], classes: list[str]
) -> Iterator[str]:
    """Yield the problems of the classes' folders, a line each."""
    yield from name_problems(folders)
    for split, name in itertools.product(SPLITS, classes):
        if problem := _class_problem(found[split].get(name)):
            yield f"{split}/{name} {problem}"


def _class_problem(images: list[str] | None) -> str | None:
    if images is None:
        return "is missing; every class needs images in train and in test."
    return None if images else "has no images; add some or remove the class from train and test."


def _printable(name: str) -> str:
    return ascii(name) if any(unicodedata.category(character) in _UNPRINTABLE for character in name) else name


def _top_folder(shown_as: str, paths: list[PurePosixPath]) -> tuple[str, ...]:
    """() where train and test lie at the top; (name,) where they lie in the one folder of that name."""
    if any(split_of(path.parts[0]) in SPLITS for path in paths):
        return ()
    holders = {path.parts[0] for path in paths if len(path.parts) > 1 and split_of(path.parts[1]) in SPLITS}
    if len(holders) == 1:
        return (holders.pop(),)
    raise _no_images(shown_as)


def _no_images(shown_as: str) -> UserError:
    return UserError(f"{shown_as}: no images found; expected train/<class>/<image> and test/<class>/<image>.")


def _is_ignored(name: str) -> bool:
    name = name.lower()
    return name.startswith(".") or name in (*_DESKTOP_FILES, *_DESKTOP_FOLDERS) or name.endswith(_STREAMS)
