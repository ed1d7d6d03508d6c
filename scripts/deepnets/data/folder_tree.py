"""Which names in a folder or an archive are of images: folders of splits or of classes, and what is listed of them.

Images lie in <split>/<class>/... or, without splits, in <class>/...; all of it may lie in one folder more.
"""

import contextlib
import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.paths import SPLITS
from deepnets.utils.text import first_few

MAX_CLASSES = 10_000  # metrics.json holds the confusion matrix: of as many classes, 100 million counts
ANY_NUMBER = range(2, MAX_CLASSES + 1)  # of classes
MAX_DEPTH = 16  # folders below a split, the class among them
# File endings of images. They only tell images from other files: `decode` finds the format by the content.
_JPEG, _NETPBM = (".jpg", ".jpeg", ".jpe", ".jfif"), (".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = (*_JPEG, ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", *_NETPBM, ".avif")
TABLES = (".csv", ".tsv", ".parquet")  # file endings of tables of images and labels
VALIDATION = "validation"
_SPELLINGS = {"train": "train|training", "test": "test|testing", VALIDATION: "val|valid|validation|dev|eval|evaluation"}
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, undecodable bytes, line ends
_MOST_LISTED = 200_000  # files and folders, where no images are found where they should be
_END_BYTES = 2**16  # of an archive's start and end
# What desktops, disks and network drives leave among images, in lower case; also whatever starts with a dot.
_DESKTOP_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r")
_DESKTOP_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
_STREAMS = (":zone.identifier", "thumbs.db:encryptable")  # of Windows, as other systems copy them

_Names = list[tuple[str, os.DirEntry[str]]]
_Place = tuple[int, int]  # device and inode of a folder


def split_of(folder: str) -> str | None:
    """The split whose images are in a folder of this name, in capitals or not: Train, test_images, valid-set ..."""
    name, end = folder.lower(), "([ _-]?(set|data|images))?"
    return next((split for split, names in _SPELLINGS.items() if re.fullmatch(f"({names}){end}", name)), None)


def is_named_as_split(folder: str) -> bool:
    """Whether a folder's name is that of a split or only extends one, as test1, train_small and testA do."""
    spellings = "|".join(_SPELLINGS.values())
    return split_of(folder) is not None or re.fullmatch(rf"(?i:{spellings})([\W\d_].*|[A-Z])", folder) is not None


def is_image(name: str) -> bool:
    """Whether a file's name has the ending of an image."""
    return name.lower().endswith(SUFFIXES)


@dataclass(frozen=True)
class Root:
    """Where the images are.

    top         () where the folders of splits or classes lie at the top; (name,) where they lie in that folder
    has_splits  whether these are folders of splits; else of classes
    is_deep     whether no class has an image directly inside; else a single one is enough
    """

    top: tuple[str, ...]
    has_splits: bool
    is_deep: bool = False

    def inside(self, path: PurePosixPath) -> tuple[str, ...]:
        """The parts of a path below `top`, the first of them a split: "" without splits. () outside."""
        if path.parts[: len(self.top)] != self.top:
            return ()
        parts = path.parts[len(self.top) :]
        return parts if self.has_splits or not parts else ("", *parts)


def visible_paths(names: Sequence[str]) -> list[tuple[PurePosixPath, bool]]:
    """Each path, and whether it is a folder (its name ends with `/`), without what desktops leave and hidden files."""
    paths = [(PurePosixPath(name), name.endswith("/")) for name in names]
    return [(path, is_folder) for path, is_folder in paths if path.parts and not any(map(is_ignored, path.parts))]


def _are_splits(paths: Iterable[tuple[Sequence[str], bool]]) -> bool:
    """Whether some of the folders in a folder are those of splits, by the parts of the paths below it.

    A folder that alone has the name of a split is a class if it has images directly inside, as others next to it have:
    bus/*.jpg, car/*.jpg, train/*.jpg.
    """
    names: set[str] = set()
    with_images: set[str] = set()
    with_folders: set[str] = set()
    for parts, is_folder in paths:
        names.add(parts[0])
        if len(parts) == 2 and not is_folder and is_image(parts[1]):
            with_images.add(parts[0])
        elif len(parts) > 2 - is_folder:
            with_folders.add(parts[0])
    named = set(filter(split_of, names))
    is_class = len(named) == 1 and named <= with_images - with_folders and len(with_images) > 1
    return not is_class and any(split_of(name) in SPLITS for name in named)


def find_root(shown_as: str, paths: Sequence[tuple[PurePosixPath, bool]], classes: Container[int] = ()) -> Root:
    """Find where the images are: in folders of splits if there are some, else in folders of classes.

    Args:
        shown_as: the folder or archive, for messages.
        paths: as of `visible_paths`.
        classes: their possible numbers. If all images are in folders below those at the top, these may be classes or
            hold some; they are classes if there are as many.

    Raises:
        UserError: neither is there; the message says what is.
    """
    if _are_splits((path.parts, is_folder) for path, is_folder in paths):
        return Root((), True)
    below: dict[str, list[tuple[Sequence[str], bool]]] = defaultdict(list)
    for path, is_folder in paths:
        if len(path.parts) > 1:
            below[path.parts[0]].append((path.parts[1:], is_folder))
    holders = {top for top, inside in below.items() if _are_splits(inside)}
    if len(holders) == 1:
        return Root((holders.pop(),), True)
    images = [path.parts for path, is_folder in paths if not is_folder and is_image(path.name)]
    if not holders:
        if any(len(parts) == 2 for parts in images):
            return Root((), False)
        top, folders = _outermost_folders(paths)
        if top and any(len(parts) == 3 for parts in images):
            return Root(top, False)
        if len(folders) in classes and any(len(parts) > len(top) + 2 for parts in images):
            return Root(top, False, is_deep=True)
    raise UserError(f"{shown_as}: no images found: {_what_is_there(paths, sorted(holders), images)}")


def _outermost_folders(paths: Sequence[tuple[PurePosixPath, bool]]) -> tuple[tuple[str, ...], list[str]]:
    """The folders at the top; if there is only one, it, and the folders in it."""
    at_top, inside = (
        sorted({path.parts[level] for path, is_folder in paths if len(path.parts) > level + (not is_folder)})
        for level in (0, 1)
    )
    return ((at_top[0],), inside) if len(at_top) == 1 else ((), at_top)


def _what_is_there(
    paths: Sequence[tuple[PurePosixPath, bool]], holders: Sequence[str], images: Sequence[tuple[str, ...]]
) -> str:
    expected = "expected <class>/<image>, or train/<class>/<image> and test/<class>/<image>"
    if holders:
        names = ", ".join(map(printable, holders[:3]))
        return (
            f"{len(holders)} folders have splits ({names}); write the one to use at the end of `path`, or {expected}."
        )
    if images:
        seen, least = count_images(len(images)), "at least " * (len(paths) >= _MOST_LISTED)
        if all(len(parts) == 1 for parts in images):
            hint = f"move the images of each class into a folder, or {or_a_table(paths)}"
            return f"{seen}, but no folders of classes; {expected}: {hint}."
        folders = sorted({printable("/".join(parts[:-1])) for parts in images if len(parts) > 1})
        hint = f"write at the end of `path` the folder that holds the classes, move them up, or {or_a_table(paths)}"
        _, outermost = _outermost_folders(paths)
        if len(outermost) > 1:
            listed = first_few(list(map(printable, outermost)))
            hint = f"write `classes: {len(outermost)}` if {listed} are the classes; else {hint}"
        return f"{least}{seen} in {first_few(folders)}, but none in a folder at the top; {expected}: {hint}."
    found = sorted({printable(path.parts[0]) for path, _ in paths})
    return f"it has {', '.join(found[:5]) or 'nothing'}{', ...' if len(found) > 5 else ''}; {expected}."


def count_images(number: int) -> str:
    """Return "25,000 images"."""
    return f"{number:,} image{'' if number == 1 else 's'}"


def or_a_table(paths: Sequence[tuple[PurePosixPath, bool]]) -> str:
    """Return what to do where a table says the classes, with the name of one that is there."""
    tables = sorted(path.name for path, is_folder in paths if not is_folder and path.suffix.lower() in TABLES)
    return f"give a table of the images and their labels (`path: .../{tables[0] if tables else 'labels.csv'}`)"


def printable(name: str) -> str:
    """Return a name, escaped if it has characters that are no text."""
    return ascii(name) if any(unicodedata.category(character) in _UNPRINTABLE for character in name) else name


# -- on the disk -------------------------------------------------------------------------------------------------------


def fingerprint(path: Path, classes: Container[int] = ()) -> str:
    """Digest what can be seen of a folder's images or of an archive without reading them all.

    Of a folder it sees names and sizes below its splits or classes, of an archive the size, the start and the end;
    100,000 images take a second. It does not see an image replaced by one of the same size in bytes, nor a change
    inside a large archive that moves nothing. Times are left out: they would make a fresh copy of the same images a
    change.

    Args:
        path: the folder or archive.
        classes: as for `find_root`.

    Raises:
        OSError: something cannot be read.
        UserError: a folder has something that is no file, or a link that leads in a circle.
    """
    if path.is_dir():
        entries, has_splits = _walk(path, classes=classes)
        used = [
            (name, entry)
            for name, entry in entries
            if (any(map(split_of, name.split("/")[:2])) if has_splits else "/" in name)
        ]
        sizes = {name: 0 if name.endswith("/") else entry.stat().st_size for name, entry in used}
        return sha256_text(canonical_json(sizes))
    with open(path, "rb") as file:
        size, start = path.stat().st_size, file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return hashlib.sha256(b"%d %b %b" % (size, start, file.read())).hexdigest()


def list_folder(root: Path, deepest: int = MAX_DEPTH, classes: Container[int] = ()) -> list[str]:
    """List the files and folders of `root` that matter for its layout; names of folders end with `/`.

    These are all at the top and all below the folders of splits; without splits, all below the folders of classes.
    Links are followed. Without classes these are all files and folders, so that a message can say what is there.

    Args:
        root: the folder.
        deepest: how many folders below a split may be inside each other, and are listed; 0 lists the classes alone.
        classes: as for `find_root`.

    Raises:
        OSError: something cannot be read.
        UserError: there is something that is no file (a FIFO, a device), or a link that leads in a circle.
    """
    return [name for name, _ in _walk(root, deepest, classes)[0]]


def _walk(root: Path, deepest: int = MAX_DEPTH, classes: Container[int] = ()) -> tuple[_Names, bool]:
    """Each file and folder with its name relative to `root`, and whether there are folders of splits."""
    top = _scan(root)
    if _holds_splits(top):
        return top + _below_splits(top, deepest), True
    inner = [(folder, _scan(folder[1].path, folder[0])) for folder in _folders(top)]
    found = top + [entry for _, inside in inner for entry in inside]
    if holders := [inside for _, inside in inner if _holds_splits(inside)]:
        return found + [entry for inside in holders for entry in _below_splits(inside, deepest)], True
    if any(map(_holds_images, (inside for _, inside in inner))) or len(inner) in classes:
        return top + [entry for folder, _ in inner for entry in _below(*folder, deepest, 2)], False
    if len(inner) == 1:
        folders = _folders(inner[0][1])
        if len(folders) in classes or any(_holds_images(_scan(entry.path)) for _, entry in folders):
            return found + [each for folder in folders for each in _below(*folder, deepest, 2)], False
    return [*found, *islice((each for _, inside in inner for each in _seen_below(inside)), _MOST_LISTED)], False


def has_images(folder: Path) -> bool:
    """Whether a folder has images, at any depth; False if it cannot be read."""
    with contextlib.suppress(OSError):
        entries = _scan(folder)
        return _holds_images(entries) or _holds_images(islice(_seen_below(entries), _MOST_LISTED))
    return False


def _scan(folder: Path | str, prefix: str = "") -> _Names:
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not is_ignored(entry.name)]
    return [(prefix + entry.name + "/" * _is_folder(entry), entry) for entry in entries]


def _folders(entries: _Names) -> _Names:
    return [(name, entry) for name, entry in entries if name.endswith("/")]


def _holds_splits(entries: _Names) -> bool:
    names = [((entry.name,), name.endswith("/")) for name, entry in entries]
    inside: list[tuple[Sequence[str], bool]] = []
    if sum(split_of(entry.name) is not None for _, entry in entries) == 1:  # it may be a class
        for _, folder in _folders(entries):
            inside += [((folder.name, entry.name), name.endswith("/")) for name, entry in _scan(folder.path)]
    return _are_splits([*names, *inside])


def _holds_images(entries: Iterable[tuple[str, os.DirEntry[str]]]) -> bool:
    return any(is_image(name) for name, _ in entries)


def _below_splits(entries: _Names, deepest: int) -> _Names:
    splits = [folder for folder in _folders(entries) if split_of(folder[1].name)]
    return [entry for split in splits for entry in _below(*split, deepest, 1)]


def _below(
    name: str, folder: os.DirEntry[str], deepest: int, depth: int, above: tuple[_Place, ...] = ()
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield each file and folder below a folder.

    Args:
        name: of the folder, with `/` at its end.
        folder: to list.
        deepest: as for `list_folder`.
        depth: of its content: 1 for classes, 2 for what is in them.
        above: the folders on the way to this one.
    """
    here = (*above, _identity(folder, above))
    for inner, entry in _scan(folder.path, name):
        if not inner.endswith("/"):
            _refuse_device(entry)
        yield inner, entry
        if inner.endswith("/") and depth <= deepest:  # else read_layout refuses the folder
            yield from _below(inner, entry, deepest, depth + 1, here)


def _seen_below(entries: _Names, above: tuple[_Place, ...] = ()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Each file and folder below some, without links that lead in a circle and what cannot be read: to look at alone.

    Args:
        entries: what is in a folder.
        above: the folders on the way to it.
    """
    for name, folder in _folders(entries) if len(above) < MAX_DEPTH else ():
        with contextlib.suppress(OSError, UserError):
            here = (*above, _identity(folder, above))
            inside = _scan(folder.path, name)
            yield from inside
            yield from _seen_below(inside, here)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; it is named where it would be opened
        return False


def _refuse_device(entry: os.DirEntry[str]) -> None:
    """Refuse what may block or never end when it is read; a link that leads nowhere is named when it is opened."""
    if not entry.is_file() and os.path.exists(entry.path):
        raise UserError(f"{printable(entry.path)}: not a file but a FIFO, a socket or a device; remove it.")


def _identity(folder: os.DirEntry[str], above: tuple[_Place, ...]) -> _Place:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in above:
        raise UserError(f"{printable(folder.path)}: a link to a folder that holds it; remove it.")
    return status.st_dev, status.st_ino


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or left by a desktop."""
    name = name.lower()
    return name.startswith(".") or name in (*_DESKTOP_FILES, *_DESKTOP_FOLDERS) or name.endswith(_STREAMS)
