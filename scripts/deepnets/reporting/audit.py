"""What a dataset's audit.json says, as the report and the model card read it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from deepnets.utils.checked_json import read_checked


class Member(BaseModel):
    """An image, by its place in a split and by its file if it has one."""

    split: Literal["train", "validation", "test"]
    index: NonNegativeInt
    label: str = Field(alias="class")
    file: str | None = None

    def __str__(self) -> str:
        return self.file or f"{self.split} image {self.index} ({self.label})"


class _Split(BaseModel):
    images: NonNegativeInt
    distinct: NonNegativeInt
    per_class: list[NonNegativeInt]


class _Splits(BaseModel):
    train: _Split
    validation: _Split | None = None
    test: _Split


class _Counts(BaseModel):
    within_train: NonNegativeInt
    within_test: NonNegativeInt
    across_splits: NonNegativeInt
    across_labels: NonNegativeInt
    validation_in_train: NonNegativeInt = 0


class Group(BaseModel):
    """Images that are the same."""

    images: NonNegativeInt
    members: list[Member] = Field(min_length=2)


class _Groups(BaseModel):
    across_splits: list[Group]
    validation_in_train: list[Group] = []
    across_labels: list[Group]


class _Blank(BaseModel):
    images: NonNegativeInt
    members: list[Member]


Pair = Annotated[list[Member], Field(min_length=2, max_length=2)]


class _Pairs(BaseModel):
    across_splits: list[Pair]
    validation_in_train: list[Pair] = []
    across_labels: list[Pair]


class _NearDuplicates(BaseModel):
    bits: NonNegativeInt
    across_splits: NonNegativeInt
    validation_in_train: NonNegativeInt = 0
    across_labels: NonNegativeInt
    pairs: _Pairs


class _Size(BaseModel):
    width: PositiveInt
    height: PositiveInt
    images: PositiveInt


class _Tiny(BaseModel):
    images: NonNegativeInt
    files: list[str]


class _Files(BaseModel):
    formats: dict[str, PositiveInt]
    sizes: list[_Size]
    distinct_sizes: NonNegativeInt
    shorter_side: tuple[PositiveInt, PositiveInt] | None
    tiny: _Tiny


class Audit(BaseModel):
    """What is read of audit.json; `deepnets.data.image_audit` says what the numbers count."""

    classes: list[str]
    found: dict[str, str] = {}
    folds: PositiveInt | None = None  # with folds, each image is a test image once
    splits: _Splits
    duplicates: _Counts
    groups: _Groups
    blank: _Blank
    near_duplicates: _NearDuplicates
    files: _Files | None

    @property
    def all_square(self) -> bool:
        """Whether each image file is known to be square: of many sizes, only the most frequent ones are kept."""
        files = self.files
        if files is None or files.distinct_sizes > len(files.sizes):
            return False
        return all(size.width == size.height for size in files.sizes)

    @property
    def test_images(self) -> int:
        """The number of test images; with folds, each image is one."""
        return self.splits.test.images + (self.splits.train.images if self.folds else 0)


def read_audit(path: Path) -> Audit | None:
    """Read audit.json; None if it does not exist, because the data was deleted or nobody asked for it.

    Raises:
        UserError: it is damaged.
    """
    return read_checked(path, Audit) if path.exists() else None
