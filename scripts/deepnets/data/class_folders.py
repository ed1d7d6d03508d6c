"""The layout train/<class>/<image>, test/<class>/<image> of a folder or an archive: which images it holds."""

import hashlib
import itertools
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.paths import SPLITS
from deepnets.utils.text import shortened

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, undecodable bytes, line ends
_MAX_DEPTH = 4  # one level below <top>/train/<class>: files that lie too deep are seen, and links cannot loop
_END_BYTES = 2**16  # of an archive's start and end


@dataclass(frozen=True)
class Layout:
    """The images of a folder or an archive.

    classes   class names by label: in order of their code points, as torchvision's ImageFolder has them
    splits    split -> (file name, label) of each image, by label, then name; the order is that of the arrays
    """

    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]

    def names(self) -> list[str]:
        """File names of all images, the training split first."""
        return list(self.positions())

    def positions(self) -> dict[str, tuple[str, int]]:
        """Split and index of each image, by its file name, the training split first."""
        return {name: (split, index) for split in SPLITS for index, (name, _) in enumerate(self.splits[split])}


def fingerprint(path: Path) -> str:
    """Digest what can be seen of a folder's images or of an archive without reading them all.

    Of a folder it sees names and sizes below train and test, of an archive the size, the start and the end; 100,000
    images take a second. It does not see an image replaced by one of the same size in bytes, nor a change inside a
    large archive that moves nothing. Times are left out: they would make a fresh copy of the same images a change.

    Raises:
        OSError: something cannot be read.
    """
    if path.is_dir():
        entries = [(name, entry) for name, entry in _walk(path) if not set(SPLITS).isdisjoint(name.split("/")[:2])]
        sizes = {name: 0 if name.endswith("/") else entry.stat().st_size for name, entry in entries}
        return sha256_text(canonical_json(sizes))
    with open(path, "rb") as file:
        size, start = path.stat().st_size, file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return hashlib.sha256(b"%d %b %b" % (size, start, file.read())).hexdigest()


def list_folder(root: Path) -> list[str]:
    """List all files and folders below `root`, relative to it; names of folders end with `/`. Links are followed."""
    return [name for name, _ in _walk(root)]


def _walk(folder: Path | str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if _is_ignored(entry.name):
                continue
            if entry.is_dir():
                yield f"{name}/", entry
                if depth < _MAX_DEPTH:
                    yield from _walk(entry.path, f"{name}/", depth + 1)
            else:
                yield name, entry


def read_layout(shown_as: str, names: list[str]) -> Layout:
    """Sort file names into splits and classes.

    Hidden files, Thumbs.db and whatever lies outside train/ and test/ are ignored.

    Args:
        shown_as: the folder or archive, for messages.
        names: of its files and folders, relative, with `/`; those of folders end with `/`.

    Raises:
        UserError: one line for each misplaced file, each class that a split lacks, each empty class.
    """
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    paths = [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(_is_ignored, path.parts))]
    top = _top_folder(shown_as, [path for path, _ in paths])
    found: dict[str, dict[str, list[str]]] = {split: {} for split in SPLITS}  # split -> class -> names of its images
    problems = []
    for path, is_folder in paths:
        inside = path.parts[len(top) :] if path.parts[: len(top)] == top else ()
        if not inside or inside[0] not in SPLITS:
            continue
        if problem := _problem(inside, is_folder):
            problems.append(f"{shown_as}/{_printable(str(path))}: {problem}.")
        elif len(inside) > 1:
            images = found[inside[0]].setdefault(unicodedata.normalize("NFC", inside[1]), [])
            if not is_folder:
                images.append(str(path))
    classes = sorted(set().union(*found.values()))
    problems += [
        f"{shown_as}: {split}/{name} {problem}"
        for split, name in itertools.product(SPLITS, classes)
        if (problem := _class_problem(found[split].get(name)))
    ]
    if problems:
        raise UserError(shortened(problems))
    if not classes:
        raise _no_images(shown_as)
    splits = {
        split: [(file, label) for label, name in enumerate(classes) for file in sorted(found[split][name])]
        for split in SPLITS
    }
    return Layout(classes, splits)


def class_names(shown_as: str, names: list[str]) -> list[str]:
    """Find the class folders below train/ and test/, sorted; other mistakes are left to `read_layout`.

    Args:
        shown_as: the folder or archive, for messages.
        names: as for `read_layout`; names of files may be left out.

    Raises:
        UserError: no class folder was found.
    """
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    paths = [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(_is_ignored, path.parts))]
    top = _top_folder(shown_as, [path for path, _ in paths])
    inside = [(path.parts[len(top) :], is_folder) for path, is_folder in paths if path.parts[: len(top)] == top]
    found = {
        unicodedata.normalize("NFC", parts[1])
        for parts, is_folder in inside
        if len(parts) > 2 - is_folder and parts[0] in SPLITS
    }
    if not found:
        raise _no_images(shown_as)
    return sorted(found)


def _problem(inside: tuple[str, ...], is_folder: bool) -> str | None:
    """Return the problem of a path that starts at train or test; None if the path is right."""
    name = "/".join(inside)
    if name != _printable(name):
        return "its name has control characters or is not UTF-8; rename it"
    if is_folder:
        return None
    if len(inside) != 3:
        return f"expected {inside[0]}/<class>/<image>; move or remove it"
    if not name.lower().endswith(_SUFFIXES):
        return f"not one of {', '.join(_SUFFIXES)}; convert or remove it"
    return None


def _class_problem(images: list[str] | None) -> str | None:
    if images is None:
        return "is missing; every class needs images in train and in test."
    return None if images else "has no images; add some or remove the class from train and test."


def _printable(name: str) -> str:
    return ascii(name) if any(unicodedata.category(character) in _UNPRINTABLE for character in name) else name


def _top_folder(shown_as: str, paths: list[PurePosixPath]) -> tuple[str, ...]:
    """() where train and test lie at the top; (name,) where they lie in the one folder of that name."""
    if {path.parts[0] for path in paths} & set(SPLITS):
        return ()
    holders = {path.parts[0] for path in paths if len(path.parts) > 1 and path.parts[1] in SPLITS}
    if len(holders) == 1:
        return (holders.pop(),)
    raise _no_images(shown_as)


def _no_images(shown_as: str) -> UserError:
    return UserError(f"{shown_as}: no images found; expected train/<class>/<image> and test/<class>/<image>.")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")
