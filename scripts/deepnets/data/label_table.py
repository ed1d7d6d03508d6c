"""A table of images and their labels, in CSV, TSV or Parquet: a row for each image."""

import csv
import itertools
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepnets.data.class_names import name_problems
from deepnets.data.folder_tree import VALIDATION, is_image, split_of
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
from deepnets.utils.text import one_line, shortened

# What a column is for -> the names that it usually has; with several of them, the first in this order counts.
USUAL_NAMES = {
    "image": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"),
    "label": ("label", "class", "target", "category", "class_name"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
}
NO_COLUMN = "none"  # config.yaml's word for a use that no column has, though one has a usual name
_NEEDED = ("image", "label")
_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class LabelTable:
    """A table as it was read.

    columns  what a column is for -> its name; "split" and "group" where there are such
    others   names of the other columns
    numbers  of the rows, as a spreadsheet counts them: the heading is row 1, and empty rows are left out
    values   what a column is for -> its values as text, without spaces around them, one for each row
    """

    columns: dict[str, str]
    others: list[str]
    numbers: Sequence[int]
    values: dict[str, list[str]]

    def found(self) -> str:
        """Say which column is used for what, and how to choose others."""
        used = ", ".join(f"{use} is {name}" for use, name in self.columns.items())
        others = f"; for others write `label: {self.others[0]}`" if self.others else ""
        return f"{used}, by their names{others}"


def read_table(path: Path, shown_as: str, columns: Mapping[str, str]) -> LabelTable:
    """Read a table.

    Args:
        path: of the file; what does not end with .parquet is read as CSV.
        shown_as: its name in messages.
        columns: what a column is for -> its name, or `NO_COLUMN`, as config.yaml says; the others are found by their
            usual names.

    Raises:
        UserError: it is no such table, or has no column for the path or the label.
        OSError: it cannot be read.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    names, rows = _read_parquet(path, shown_as) if is_parquet else _read_csv(path, shown_as)
    used = _find_columns(shown_as, names, columns)
    others = [name for name in names if name not in used.values()]
    values = {use: [row[name].strip() for row in rows.values()] for use, name in used.items()}
    return LabelTable(used, others, list(rows), values)


def list_images(shown_as: str, table: LabelTable) -> list[str]:
    """List the paths of the images in a table.

    Raises:
        UserError: a line for each row that cannot be used, whatever config.yaml says of splits.
    """
    _refuse(shown_as, _row_problems(table))
    return [clean_path(value) for value in table.values["image"]]


def arrange(shown_as: str, table: LabelTable, drawing: Drawing = NOTHING_SAID) -> Layout:
    """Sort the images of a table into splits and classes, and draw the splits that it does not have.

    Classes are in the order of their code points; if all are whole numbers, in the order of the numbers.

    Args:
        shown_as: the table, for messages.
        table: as it was read.
        drawing: how splits are drawn that it does not have; the expression for groups is searched in the paths.

    Raises:
        UserError: a line for each row or class that cannot be used, with the row's number; or images of a group are in
            several splits, or nothing is drawn, though a seed is given.
    """
    files, found = list_images(shown_as, table), {"columns": table.found()}
    images, spelled = _sort(table, files)
    if drawing.test is None and drawing.folds is None and not count(images, "test") and count(images, VALIDATION):
        found["test"] = use_validation_as_test(images, f"{table.columns['split']} {spelled[VALIDATION]!r}")
        spelled["test"] = spelled[VALIDATION]
    classes = _in_order({label for split in images.values() for label in split})
    in_classes = _class_problems(images, classes, spelled, table.columns)
    _refuse(shown_as, itertools.chain(_option_problems(images, spelled, table.columns, drawing), in_classes))
    has_groups = "group" in table.columns
    groups = table.values["group"] if has_groups else [""] * len(files)
    group = {file: None if _is_empty(value) else value for file, value in zip(files, groups, strict=True)}

    def identify(file: str) -> tuple[str, str | None]:
        return file, group[file] if has_groups else group_of(shown_as, file, file, drawing.groups)

    without_groups = None
    if has_groups or drawing.groups is not None:
        without_groups = f"write `group: {NO_COLUMN}` in" if has_groups else "remove `groups` from"
        without_groups += " config.yaml if images need not stay together"
        hint = f"give each group one split, write `split: {NO_COLUMN}` in config.yaml to draw whole groups"
        refuse_divided_groups(shown_as, images, identify, f"{hint}, or {without_groups}")
    saw = f"there are {len(files):,} images of {len(classes):,} classes, but none of a test split"
    return complete(shown_as, classes, images, found, drawing, identify, without_groups, saw)


def clean_path(path: str) -> str:
    """A path of a table as the names of files are written: with `/`, without `.`."""
    return posixpath.normpath(path.replace("\\", "/"))


def missing_images(shown_as: str, folder: Path, files: Sequence[str]) -> None:
    """Refuse a table whose images are not there.

    Raises:
        UserError: names some, and what to do.
    """
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        number = f"{len(missing):,} of {len(files):,} images are missing" if len(files) > 1 else "the image is missing"
        raise UserError(
            f"{shown_as}: {number}, such as {os.path.join(folder, one_line(missing[0]))!r}; correct the paths in the"
            " table, or name the folder in which they start: `root: <folder>` next to `path` in config.yaml."
        )


def _refuse(shown_as: str, problems: Iterable[str]) -> None:
    if lines := [f"{shown_as}: {problem}" for problem in problems]:
        raise UserError(shortened(lines))


def _read_csv(path: Path, shown_as: str) -> tuple[list[str], dict[int, dict[str, str]]]:
    """The names of the columns, and the rows by their numbers."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            heading = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t|", key=heading.count))
            names = [name.strip() for name in next(reader, [])]
            rows = {
                number: {**dict.fromkeys(names, ""), **dict(zip(names, row, strict=False))}
                for number, row in enumerate(reader, 2)
                if any(map(str.strip, row))
            }
    except UnicodeDecodeError:
        raise UserError(f"{shown_as}: not text in UTF-8; save it again as CSV in UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{shown_as}: not a CSV file: {error}; correct or save it again.") from None
    if any(map(is_image, names)):
        raise UserError(
            f"{shown_as}: its first line names an image ({one_line(heading.strip())[:_SHOWN]}), but the first line"
            " names the columns; add the line `image,label` above it."
        )
    return names, rows


def _read_parquet(path: Path, shown_as: str) -> tuple[list[str], dict[int, dict[str, str]]]:
    import pyarrow.parquet  # here, as config.yaml is checked without it

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise UserError(f"{shown_as}: not a Parquet file ({one_line(str(error))[:_SHOWN]}); replace it.") from None
    # Nested columns hold pictures or boxes, not paths or labels.
    names = [each.name for each in table.schema if not pyarrow.types.is_nested(each.type)]
    columns = [["" if value is None else str(value) for value in table[name].to_pylist()] for name in names]
    rows = enumerate(zip(*columns, strict=True), 2)
    return names, {number: dict(zip(names, row, strict=True)) for number, row in rows}


def _find_columns(shown_as: str, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    listed = ", ".join(one_line(name) or "''" for name in names) or "nothing"
    plain = {re.sub(r"[ -]", "_", name.lower()): name for name in reversed(names)}
    used = {}
    for use, usual in USUAL_NAMES.items():
        if given.get(use) == NO_COLUMN and use not in _NEEDED:
            continue
        if use in given:
            if given[use] not in names:
                raise UserError(
                    f"{shown_as}: no column {given[use]!r}, as `{use}: {given[use]}` says; its columns are {listed}."
                )
            used[use] = given[use]
        elif name := next((plain[each] for each in usual if each in plain and plain[each] not in given.values()), None):
            used[use] = name
    for use in _NEEDED:
        if use not in used:
            candidate = next((name for name in names if name and name not in used.values()), None)
            hint = f"write `{use}: {candidate}` in config.yaml, if it is that one" if candidate else "add it"
            raise UserError(
                f"{shown_as}: none of its columns ({listed}) has a usual name for `{use}`"
                f" ({', '.join(USUAL_NAMES[use])}); {hint}."
            )
    return used


def _row_problems(table: LabelTable) -> Iterator[str]:
    if not table.values["image"]:
        yield "has no rows; add a row for each image."
    first: dict[str, int] = {}
    for use, name in table.columns.items():
        for row, value in zip(table.numbers, table.values[use], strict=True):
            shown = f"row {row}: {name} {value[:_SHOWN]!r}"
            if _is_empty(value) and use == "group":
                continue  # an image without a group is a group of its own
            if _is_empty(value):
                yield f"row {row}: no {name}; add it or remove the row."
            elif not value.isprintable():
                yield f"{shown} has characters that cannot be seen; correct it."
            elif use == "image" and (other := first.setdefault(clean_path(value), row)) != row:
                yield f"{shown} is also in row {other}; an image has one row and one label: keep one."
            elif use == "split" and split_of(value) is None:
                yield (
                    f"{shown} is no split; write train, test or val, or `split: {NO_COLUMN}` in config.yaml if {name}"
                    " says something else."
                )


def _is_empty(value: str) -> bool:
    return not value or value.lower() == "nan"  # as pandas writes it


def _sort(table: LabelTable, files: Sequence[str]) -> tuple[Images, dict[str, str]]:
    """The images by split and class, and how the table writes each split."""
    images, spelled = no_images(), dict[str, str]()
    splits = table.values.get("split", ["train"] * len(files))
    for file, label, written in zip(files, table.values["label"], splits, strict=True):
        split = split_of(written) or "train"
        spelled.setdefault(split, written)
        images[split].setdefault(unicodedata.normalize("NFC", label), []).append(file)
    return images, spelled


def _in_order(labels: set[str]) -> list[str]:
    numbers = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return sorted(labels, key=(lambda label: (int(label), label)) if numbers else None)


def _option_problems(
    images: Images, spelled: Mapping[str, str], columns: Mapping[str, str], drawing: Drawing
) -> Iterator[str]:
    if drawing.groups is not None and "group" in columns:
        yield f"has the column {columns['group']!r} of groups; remove `groups` from config.yaml."
    if drawing.test is not None and count(images, "test"):
        yield (
            f"`test: {drawing.test:g}` draws a test split, but {count(images, 'test'):,} images are in"
            f" {spelled['test']!r}; remove `test` from config.yaml."
        )
    if drawing.folds is not None and (chosen := spelled.keys() - {"train"}):
        yield (
            f"`folds: {drawing.folds}` divides all images, but some are in {spelled[min(chosen)]!r}; remove `folds`, or"
            " write train."
        )


def _class_problems(
    images: Images, classes: Sequence[str], spelled: Mapping[str, str], columns: Mapping[str, str]
) -> Iterator[str]:
    yield from name_problems(((columns["label"], label) for label in classes), are_folders=False)
    if count(images, "test"):
        for split in SPLITS:
            for label in classes:
                if not images[split].get(label):
                    where = spelled.get(split, split)
                    yield f"{columns['label']} {label!r} has no images in {where}; add some or remove it."
    else:
        for label in classes:
            if (number := len(images["train"].get(label, []))) < 2:
                yield too_few_to_draw(f"{columns['label']} {label!r}", number)
