"""The layout of a folder or an archive: which images it holds, of which class and split.

Images lie in train/<class>/*, test/<class>/* and, if there is a validation split, val/<class>/*; or in <class>/*, or in
train/<class>/* alone, of which the test split is drawn then. Without test, val is the test split. Images may lie in
folders below their class.
"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deepnets.data.class_names import name_problems
from deepnets.data.folder_tree import (
    MAX_DEPTH,
    SUFFIXES,
    VALIDATION,
    Root,
    count_images,
    find_root,
    has_images,
    is_image,
    is_named_as_split,
    or_a_table,
    printable,
    split_of,
    visible_paths,
)
from deepnets.data.layout import (
    NOTHING_SAID,
    Drawing,
    Images,
    Layout,
    complete,
    count,
    group_of,
    no_images,
    refuse_divided_groups,
    too_few_to_draw,
    use_validation_as_test,
)
from deepnets.utils.errors import UserError
from deepnets.utils.paths import SPLITS
from deepnets.utils.text import first_few, shortened


@dataclass
class _Sorted:
    """File names by split and class; each split's folders as they are spelled; and what is wrong."""

    root: Root
    images: Images = field(default_factory=no_images)
    spelled: dict[str, set[str]] = field(default_factory=lambda: {split: set() for split in (*SPLITS, VALIDATION)})
    folders: set[tuple[str, str]] = field(default_factory=set)  # of splits and of classes, as they are spelled
    problems: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return sorted(set().union(*self.images.values()))

    def count(self, split: str) -> int:
        return count(self.images, split)

    @property
    def is_drawn(self) -> bool:
        """Whether the test split is to be drawn, as no folder has it."""
        return not self.spelled["test"]


def list_images(shown_as: str, names: list[str], classes: Container[int] = ()) -> list[str]:
    """List the images of all splits: those of train first, in the order of classes and names.

    Args:
        shown_as, names, classes: as for `read_layout`.

    Raises:
        UserError: as of `read_layout`, for what is wrong whatever config.yaml says of splits.
    """
    there = _read(shown_as, names, classes)
    # Whether val has to have each class, or will be the test split, depends on `test` in config.yaml.
    is_known = not (there.is_drawn and there.count(VALIDATION))
    _refuse(shown_as, there, _split_problems(there), _class_problems(there) if is_known else ())
    return [file for split in there.images.values() for name in there.classes for file in sorted(split.get(name, []))]


def read_layout(
    shown_as: str, names: list[str], drawing: Drawing = NOTHING_SAID, classes: Container[int] = ()
) -> Layout:
    """Sort file names into splits and classes, and draw what no folder has.

    Hidden files, what desktops leave and whatever lies outside the splits is ignored.

    Args:
        shown_as: the folder or archive, for messages.
        names: of its files and folders, relative, with `/`; those of folders end with `/`.
        drawing: how splits are drawn that no folder has; the expression for groups is searched in the names below the
            class.
        classes: as for `find_root`.

    Raises:
        UserError: one line for each misplaced file, each class that a split lacks, each empty class, each class name
            that readers cannot tell from another; or nothing is to be drawn, though `test`, `folds` or a seed is given;
            or images of a group are in several splits.
    """
    there, found = _read(shown_as, names, classes), dict[str, str]()
    if there.root.is_deep:
        found["classes"] = (
            f"{first_few(there.classes)}, as there are {len(there.classes):,} such folders; their images are in folders"
            " below them"
        )
    if there.is_drawn and drawing.test is None and drawing.folds is None and there.count(VALIDATION):
        found["test"] = use_validation_as_test(there.images, min(there.spelled[VALIDATION]))
        there.spelled["test"], there.spelled[VALIDATION] = there.spelled[VALIDATION], set()
    _refuse(shown_as, there, _split_problems(there), _option_problems(there, drawing), _class_problems(there))
    start = len(there.root.top) + there.root.has_splits  # names count from the class on, wherever the folder lies

    def identify(file: str) -> tuple[str, str | None]:
        name = unicodedata.normalize("NFC", "/".join(PurePosixPath(file).parts[start:]))
        return name, group_of(shown_as, file, name.partition("/")[2], drawing.groups)

    without_groups = "remove `groups` from config.yaml if images need not stay together" if drawing.groups else None
    if without_groups:
        hint = f"move the images of each group into one split, or {without_groups}"
        refuse_divided_groups(shown_as, there.images, identify, hint)
    saw = _what_was_seen(there)
    return complete(shown_as, there.classes, there.images, found, drawing, identify, without_groups, saw)


def _read(shown_as: str, names: list[str], classes: Container[int]) -> _Sorted:
    paths = visible_paths(names)
    root = find_root(shown_as, paths, classes)
    if problem := _without_classes(root, paths):
        raise UserError(f"{shown_as}: {problem}")
    return _sort(shown_as, paths, root)


def _refuse(shown_as: str, there: _Sorted, *problems: Iterable[str]) -> None:
    lines = [*there.problems, *(f"{shown_as}: {problem}" for problem in itertools.chain(*problems))]
    if lines:
        raise UserError(shortened(lines))


def list_classes(shown_as: str, names: list[str], classes: Container[int] = ()) -> list[str]:
    """List the names of the class folders below all splits, sorted; most mistakes are left to `read_layout`.

    Args:
        shown_as: the folder or archive, for messages.
        names: as for `read_layout`; names of files below splits may be left out.
        classes: as for `find_root`.

    Raises:
        UserError: no class folder was found, or readers cannot tell a class name from another.
    """
    paths = visible_paths(names)
    root = find_root(shown_as, paths, classes)
    inside = [(root.inside(path), is_folder) for path, is_folder in paths]
    found = {parts[:2] for parts, is_folder in inside if len(parts) > 2 - is_folder and _split(root, parts)}
    if problem := _without_classes(root, paths):
        raise UserError(f"{shown_as}: {problem}")
    if problems := name_problems((split or ".", name) for split, name in found):  # each would count as one class
        raise UserError(shortened([f"{shown_as}: {problem}" for problem in problems]))
    return sorted({unicodedata.normalize("NFC", name) for _, name in found})


def folders_left_out(
    shown_as: str, names: list[str], classes: Container[int] = (), folder: Path | None = None
) -> list[str]:
    """List the folders with images that are not used, as others have the names of splits; sorted.

    Args:
        shown_as, names, classes: as for `read_layout`.
        folder: where they are on the disk; None: in an archive, of which `names` has all.
    """
    paths = visible_paths(names)
    root = find_root(shown_as, paths, classes)
    level, has = len(root.top), dict[str, bool]()
    for path, is_folder in paths if root.has_splits else ():
        folders = path.parts if is_folder else path.parts[:-1]
        beside_splits = path.parts[:level] == root.top
        depth = level + 1 if beside_splits else 1
        if len(folders) >= depth and not (beside_splits and split_of(folders[level])):
            name = "/".join(folders[:depth])
            has[name] = has.get(name, False) or (not is_folder and is_image(path.name))
    return sorted(name for name, seen in has.items() if seen or (folder is not None and has_images(folder / name)))


def _split(root: Root, inside: Sequence[str]) -> str | None:
    """The split of a path; images of which no folder says it are in train, until others are drawn."""
    return (split_of(inside[0]) if root.has_splits else "train") if inside else None


def _without_classes(root: Root, paths: Sequence[tuple[PurePosixPath, bool]]) -> str | None:
    """Return what is wrong if there are folders of splits, but no class folders in one of them or in all."""
    inside = [(parts, is_folder) for path, is_folder in paths if (parts := root.inside(path))]
    if not root.has_splits:
        return _only_splits({parts[1] for parts, is_folder in inside if len(parts) > 2 - is_folder}, paths)
    splits = sorted({parts[0] for parts, _ in inside if split_of(parts[0])})
    with_classes = {parts[0] for parts, is_folder in inside if len(parts) > 2 - is_folder} & set(splits)
    images = Counter(
        parts[0] for parts, is_folder in inside if len(parts) == 2 and not is_folder and is_image(parts[1])
    )
    flat = [name for name in splits if images[name] and name not in with_classes]
    if not flat and with_classes:
        return None
    if flat:
        seen = " and ".join(f"{printable(name)} has {count_images(images[name])}" for name in flat)
        first = printable(flat[0])
        hint = (
            f"{seen}, but no class folders; move the images of each class into a folder ({first}/<class>/<image>), or "
        )
        hint += f"rename {first} if their classes are not known" if with_classes else or_a_table(paths)
    else:
        hint = f"no images found in {' and '.join(map(printable, splits))}; expected train/<class>/<image> and"
        hint += " test/<class>/<image>"
    if {parts[0] for parts, is_folder in inside if is_folder or len(parts) > 1} - set(splits):
        hint += f"; {printable((flat or splits)[0])} is read as a split: rename it if it is a class"
    return f"{hint}."


def _only_splits(folders: set[str], paths: Sequence[tuple[PurePosixPath, bool]]) -> str | None:
    """Return what is wrong with folders that would be classes, but are all named as splits: train and test1."""
    if len(folders) < 2 or not all(map(is_named_as_split, folders)):
        return None
    return (
        f"{' and '.join(sorted(map(printable, folders)))} have the names of splits, but would be the classes; if they"
        f" are splits, expected train/<class>/<image> and test/<class>/<image>, or {or_a_table(paths)}; if they are"
        " classes, rename them."
    )


def _sort(shown_as: str, paths: Sequence[tuple[PurePosixPath, bool]], root: Root) -> _Sorted:
    there = _Sorted(root)
    for path, is_folder in paths:
        inside = root.inside(path)
        split = _split(root, inside)
        if split is None or (inside[0] == "" and len(inside) == 2 and not is_folder and not is_image(path.name)):
            continue  # it lies next to the splits or classes
        if root.has_splits:
            there.spelled[split].add(inside[0])
        if problem := _problem(inside, is_folder):
            there.problems.append(f"{shown_as}/{printable(str(path))}: {problem}.")
        elif len(inside) > 1:
            there.folders.add((inside[0] or ".", inside[1]))
            images = there.images[split].setdefault(unicodedata.normalize("NFC", inside[1]), [])
            if not is_folder:
                images.append(str(path))
    return there


def _problem(inside: tuple[str, ...], is_folder: bool) -> str | None:
    """Return the problem of a path that starts at the folder of a split; None if the path is right."""
    name = "/".join(filter(None, inside))
    if name != printable(name):
        return "its name has control characters or is not UTF-8; rename it"
    if len(inside) - (1 if is_folder else 2) > MAX_DEPTH:
        return f"more than {MAX_DEPTH} folders below {inside[0] or 'the top'}; move it up"
    if is_folder:
        return None
    if len(inside) < 3:
        return f"expected {'/'.join(filter(None, [inside[0], '<class>', '<image>']))}; move or remove it"
    if not is_image(name):
        return f"not one of {', '.join(SUFFIXES)}; convert or remove it"
    return None


def _split_problems(there: _Sorted) -> Iterator[str]:
    """Yield what is wrong with the splits' folders and the names of the classes' folders, a line each."""
    for split, names in there.spelled.items():
        if len(names) > 1:
            yield f"{' and '.join(sorted(names))} are both {split} splits; keep one."
    if there.spelled[VALIDATION] and not there.count(VALIDATION):
        yield f"{min(there.spelled[VALIDATION])} has no images; add some or remove it."
    if there.root.has_splits and not there.spelled["train"]:
        yield f"no train folder, but {there.count('test'):,} images in {min(there.spelled['test'])}; add one."
    yield from name_problems(there.folders)


def _option_problems(there: _Sorted, drawing: Drawing) -> Iterator[str]:
    """Yield what config.yaml says against the splits' folders, a line each."""
    if drawing.test is not None and not there.is_drawn:
        yield (
            f"`test: {drawing.test:g}` draws a test split, but {min(there.spelled['test'])} is one"
            f" ({there.count('test'):,} images); remove `test` from config.yaml, or rename the folder."
        )
    chosen = min((*there.spelled["test"], *there.spelled[VALIDATION]), default=None)
    if drawing.folds is not None and chosen is not None:
        yield (
            f"`folds: {drawing.folds}` divides all images, but {chosen} is a split; remove `folds` or move them to"
            " train."
        )


def _class_problems(there: _Sorted) -> Iterator[str]:
    """Yield what is wrong with the numbers of images in the classes' folders, a line each."""
    if there.root.has_splits and not there.spelled["train"]:
        return
    if not there.is_drawn:
        for split, name in itertools.product(SPLITS, there.classes):
            if problem := _class_problem(there.images[split].get(name)):
                folder = min(there.spelled[split])
                yield f"{split if split_of(folder) == split else folder}/{name} {problem}"
        return
    for name in there.classes:
        if (number := len(there.images["train"].get(name, []))) < 2:
            yield too_few_to_draw(name, number)


def _class_problem(images: list[str] | None) -> str | None:
    if images is None:
        return "is missing; every class needs images in train and in test."
    return None if images else "has no images; add some or remove the class from train and test."


def _what_was_seen(there: _Sorted) -> str:
    """What is there instead of a test split."""
    images = f"{there.count('train'):,} images"
    if there.root.has_splits:
        return f"train has {images}, but there is no test folder"
    seen = f"there are {len(there.classes):,} class folders with {images}"
    named_as_split = [name for name in there.classes if split_of(name)]
    if named_as_split:
        return f"{seen}, among them {' and '.join(named_as_split)}, which has images and no class folders"
    return f"{seen}, but no train/ and test/"
