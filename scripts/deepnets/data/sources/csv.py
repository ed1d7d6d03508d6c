"""A table of images and their labels: CSV, TSV or Parquet, next to the images or not."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from deepnets.data.folder_tree import TABLES
from deepnets.data.label_table import (
    NO_COLUMN,
    USUAL_NAMES,
    LabelTable,
    arrange,
    list_images,
    missing_images,
    read_table,
)
from deepnets.data.search_paths import find_local, search_paths
from deepnets.data.sources._own_images import (
    OwnImages,
    check_classes,
    report_case_twins,
    shortest,
    unreadable_named,
)
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_file, sha256_text

if TYPE_CHECKING:
    from deepnets.data.image_source import ImageSource
    from deepnets.data.layout import Layout
    from deepnets.data.raw_files import Raw

_MOST_CHECKED = 2**24  # bytes; a larger table is read by its jobs alone
_LOOKED_FOR = 100  # images, before any job runs

_Column = Annotated[str, Field(min_length=1)] | None
_BY_NAME = "null: found by its usual names"
_OR_NONE = f"{_BY_NAME}, if there is one; {NO_COLUMN}: no column"


class Options(OwnImages):
    """The user's own images, as a table lists them. Images of mixed sizes become squares of one size."""

    source: Literal["csv"] = "csv"
    path: str = Field(
        min_length=1,
        description="Table (.csv, .tsv, .parquet) with a row for each image: its path and label and, if there are such"
        " columns, its split and group. A relative path is looked up from the working directory, then in the folder"
        " DEEPNETS_MIRROR.",
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        description="Folder in which the paths of the table start, itself relative to the working directory; null: the"
        " folder of the table.",
    )
    image: _Column = Field(default=None, description=f"Column of the images' paths; {_BY_NAME}.")
    label: _Column = Field(default=None, description=f"Column of their classes; {_BY_NAME}.")
    split: _Column = Field(default=None, description=f"Column of their splits (train, test or val); {_OR_NONE}.")
    group: _Column = Field(
        default=None,
        description=f"Column of what belongs together and stays in one split; {_OR_NONE}.",
    )

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path.lower().endswith(TABLES):
            raise ValueError(f"must be a table ({', '.join(TABLES)}; got {path[:60]!r})")
        return path

    @property
    def given_columns(self) -> dict[str, str]:
        """What a column is for -> its name, as far as config.yaml says it."""
        return _columns_in(self.model_dump(exclude_none=True))

    @property
    def own_files(self) -> str | None:
        return shortest(self.path)

    def division(self, seed: int) -> dict:
        # A column that config.yaml names has the test split, unless `test` or `folds` draw it: of each class a share.
        is_in_column = self.split not in (None, NO_COLUMN) and self.test is None and self.folds is None
        of_classes = {} if is_in_column else {"label": self.label}
        return {**super().division(seed), "split": self.split, "group": self.group, **of_classes}

    def raw_spec(self) -> dict:
        """Identify the raw files by the table's path, and where it differs from the usual by folder and columns."""
        root = {} if self.root is None else {"root": shortest(self.root)}
        return {"source": self.source, "path": shortest(self.path), **root, **self.given_columns}

    def local_state(self, dataset: str) -> str | None:
        """Digest of the table and of its images' sizes; None if they cannot be read, which the download reports."""
        try:
            path = _find(self.path, dataset, self.mirror)
            table, folder = read_table(path, "", self.given_columns), _folder(path, self.root)
            sizes = {name: (folder / name).stat().st_size for name in list_images("", table)}
            return sha256_text(canonical_json({"table": sha256_file(path), "sizes": sizes}))
        except (OSError, UserError):
            return None

    def check_files(self, dataset: str, raw: Path) -> None:
        shown_as = f"config.yaml: datasets.{dataset}.path: {self.path}"
        with unreadable_named(Path(self.path)):
            path = _find(self.path, dataset, self.mirror)
            if path.stat().st_size > _MOST_CHECKED:
                return
            layout = _layout(shown_as, read_table(path, shown_as, self.given_columns), self)
            missing_images(shown_as, _folder(path, self.root), layout.names()[:_LOOKED_FOR])


def _find(path: str, dataset: str, mirror: str | None) -> Path:
    """Find the user's table.

    Raises:
        UserError: there is no such file.
    """
    found = find_local(path, dataset, mirror)
    if found is None or not found.is_file():
        searched = ", ".join(str(each.absolute()) for each in search_paths(path, dataset, mirror))
        raise UserError(
            f"config.yaml: datasets.{dataset}.path is {path!r}, which is no file (searched: {searched}); correct it or"
            " put it there."
        )
    return found


def _columns_in(options: Mapping[str, Any]) -> dict[str, str]:
    return {use: options[use] for use in USUAL_NAMES if use in options}


def _folder(table: Path, root: str | None) -> Path:
    return table.parent if root is None else Path(os.path.expanduser(root))


def _layout(shown_as: str, table: LabelTable, options: Options) -> "Layout":
    layout = arrange(shown_as, table, options.drawing)
    check_classes(shown_as, layout.classes, options.classes, "label")
    return layout


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Hash a table and its images where they are; return the content of raw.json, whose first file is the table.

    Raises:
        UserError: there is no such table, it cannot be used, or images are missing.
    """
    from deepnets.data import raw_files

    path = _find(raw_spec["path"], dataset, mirror)
    images = _folder(path, raw_spec.get("root"))
    with unreadable_named(path):
        names = list_images(str(path), read_table(path, str(path), _columns_in(raw_spec)))
        missing_images(str(path), images, names)
        listed = raw_files.manifest(dataset, images, [os.path.relpath(path, images), *names])
    return {**listed, "folder": str(images)}


def read(options: Options, raw: "Raw") -> "ImageSource":
    """List the images; each block is read and decoded when its task runs.

    Raises:
        UserError: a changed or unusable table, a wrong number of classes, changed or damaged images; the tasks raise it
            too.
    """
    from deepnets.data.image_files import FolderFiles, read_images

    name = next(iter(raw.sha256), "")
    path = raw.verified(name)
    with unreadable_named(path):
        layout = _layout(str(path), read_table(path, str(path), options.given_columns), options)
    if difference := set(layout.names()) ^ (raw.sha256.keys() - {name}):
        raise raw.changed(min(difference))
    report_case_twins(str(path), layout.classes)
    return read_images(FolderFiles(raw), layout, options)
