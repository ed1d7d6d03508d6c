"""The keys and the answers that all sources of the user's own image files have in common."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from deepnets.data.class_names import case_twins
from deepnets.data.decode_options import NonSquare
from deepnets.data.folder_tree import MAX_CLASSES, TABLES
from deepnets.data.layout import Drawing
from deepnets.data.sources import FOLDS, DatasetOptions, FoldCount, ImageSide, Megapixels
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG
from deepnets.utils.option_types import AcceptExponent, NonNegativeInt, measured_in

TestShare = Annotated[
    float, Field(strict=True, gt=0, le=0.5, allow_inf_nan=False), measured_in("fraction"), AcceptExponent
]


class OwnImages(DatasetOptions):
    """The user's own images. Images of mixed sizes become squares of one size."""

    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES, strict=True)] | None = Field(
        default=None, description="Number of classes, to be checked; null: as many as there are."
    )
    size: ImageSide | None = Field(
        default=None,
        description="Side of the prepared images in pixels; null: the median of the shorter sides, at most 64.",
    )
    channels: Literal[1, 3] | None = Field(
        default=None,
        description="1 (grayscale) or 3 (RGB) in the prepared images; null: 3 if `size` is given, else 1 if all images"
        " are gray.",
    )
    test: TestShare | None = Field(
        default=None,
        description="Share of each class that is drawn for the test split where no folder has it; null: 0.2, or a"
        " validation folder is the test split.",
    )
    folds: FoldCount | None = Field(default=None, description=FOLDS)
    split_seed: NonNegativeInt = Field(
        default=0,
        description="Seed by which the test split or the folds are drawn, and the validation split of groups; another"
        " one draws other images.",
    )
    groups: str | None = Field(
        default=None,
        min_length=1,
        description="Regular expression: images whose names below their class have the same match, or first group of"
        " it, are drawn for the same split.",
    )
    non_square: NonSquare = Field(
        default="crop",
        description="What becomes of an image that is not square: crop (its largest centred square), pad (all of it,"
        " black at two sides) or squash (all of it, in other proportions).",
    )
    bit_depth: Annotated[int, Field(ge=8, le=16, strict=True), measured_in("bits")] | None = Field(
        default=None, description="Bits of a value in gray images of 16 bits; with 12, 4095 is white. null: 16."
    )
    max_megapixels: Annotated[Megapixels, measured_in("megapixels")] | None = Field(
        default=None, description="Images with more megapixels are refused; null: 100. No result depends on it."
    )

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, groups: str | None) -> str | None:
        try:
            re.compile(groups or "")
        except re.error as error:
            raise ValueError(f"must be a regular expression (got {groups!r:.60}: {error})") from None
        return groups

    @model_validator(mode="after")
    def _one_way_to_draw(self) -> Self:
        if self.test is not None and self.folds is not None:
            raise ValueError("test draws one test split and folds several; keep one of them")
        return self

    @property
    def number_of_folds(self) -> int | None:
        return self.folds

    @property
    def drawing(self) -> Drawing:
        """What these options say about the splits that are drawn."""
        return Drawing(self.test, self.folds, self.groups, self.split_seed)

    def division(self, seed: int) -> dict:
        return {**super().division(seed), "test": self.test, "groups": self.groups, "split_seed": self.split_seed}

    @property
    def native_shape(self) -> tuple[int, int, int]:
        assert self.size is not None  # else `known_shape` is None, until the images are read
        return (3, self.size, self.size)  # files may mix grayscale and colour: RGB holds both

    @property
    def known_shape(self) -> tuple[int, int, int] | None:
        return None if self.size is None else self.input_shape

    @property
    def num_classes(self) -> int | None:
        return self.classes

    @property
    def native_flips(self) -> bool:
        return False  # only the user knows whether a mirrored image keeps its class

    @property
    def unsaid(self) -> dict[str, str]:
        if self.horizontal_flip is not None:
            return {}
        why = "false, as only you know whether a mirrored image keeps its class"
        return {"horizontal_flip": f"{why}; if it does, write `horizontal_flip: true`"}

    @property
    def decodes_files(self) -> bool:
        return True

    def prepare_arguments(self) -> list[str]:
        given = {"--max-megapixels": self.max_megapixels, "--bit-depth": self.bit_depth}
        words = [word for option, value in _without_none(given).items() for word in (option, str(value))]
        return words if self.horizontal_flip is None else [*words, "--horizontal-flip", str(int(self.horizontal_flip))]

    def prepared_spec(self) -> dict:
        bit_depth = None if self.bit_depth == 16 else self.bit_depth  # 16 only silences the warning of dim images
        non_square = None if self.non_square == "crop" else self.non_square
        given = _without_none(
            {
                **{"test": self.test, "folds": self.folds, "groups": self.groups},
                **{"split_seed": self.split_seed or None, "non_square": non_square, "bit_depth": bit_depth},
            }
        )
        channels = self.channels if self.size is None else self.input_shape[0]
        return {**self.raw_spec(), "size": self.size, "channels": channels, "classes": self.classes, **given}


def with_source(dataset: Any) -> Any:
    """Add its source to a dataset of config.yaml that has only the path of the user's own images."""
    if not isinstance(dataset, dict) or "source" in dataset or "path" not in dataset:
        return dataset
    return {"source": "csv" if str(dataset["path"]).lower().endswith(TABLES) else "folder", **dataset}


def _without_none(keys: dict) -> dict:
    return {key: value for key, value in keys.items() if value is not None}


def shortest(path: str) -> str:
    """Return the one way to write a path: from the working directory where it lies below that, without `.` and `..`."""
    full = os.path.normpath(os.path.expanduser(path))
    inside = os.path.relpath(full) if os.path.isabs(full) else full
    return full if inside == ".." or inside.startswith(f"..{os.sep}") else inside


@contextlib.contextmanager
def unreadable_named(path: Path) -> Iterator[None]:
    """Turn what the system refuses into a UserError; it names the file, or else `path`."""
    try:
        yield
    except OSError as error:  # a link that leads nowhere, a folder or file that is gone or may not be read
        raise UserError(f"{error.filename or path}: {error.strerror}; correct or remove it.") from None


def check_classes(shown_as: str, found: list[str], expected: int | None, noun: str = "class folder") -> None:
    """Check the number of classes.

    Args:
        shown_as: the folder, archive or table, for messages.
        found: their names.
        expected: their number by config.yaml.
        noun: what makes a class there.

    Raises:
        UserError: too few or too many, or another number than `expected`.
    """
    if not 2 <= len(found) <= MAX_CLASSES:
        raise UserError(f"{shown_as}: {len(found):,} {noun}{'s' * (len(found) != 1)}; give 2 to {MAX_CLASSES:,}.")
    if expected is not None and len(found) != expected:
        raise UserError(
            f"{shown_as}: {len(found)} {noun}s, but `classes` is {expected} in config.yaml; write"
            f" `classes: {len(found)}` or correct the {noun}s: {', '.join(map(repr, found[:20]))}"
            f"{', ...' if len(found) > 20 else ''}."
        )


def report_case_twins(shown_as: str, classes: list[str]) -> None:
    """Log classes that differ in upper and lower case alone: they may be one class that is spelled in two ways."""
    for first, second in case_twins(classes):
        LOG.warning("%s: the classes %r and %r differ in upper and lower case alone", shown_as, first, second)
