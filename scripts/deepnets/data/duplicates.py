"""Find duplicate images in the prepared arrays: audit.json.

Two images are the same if all their pixels are, as a network sees them: after decoding and resizing. So copies are
found whatever their names and formats, but not photos that were taken twice or that differ in quality.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepnets.data.image_source import ImageSource
from deepnets.data.progress import progress_bar
from deepnets.utils.paths import IMAGES

SCHEMA_VERSION = 1
_GROUPS = 100  # listed of each kind
_OF_EACH = 3  # images listed of a group in each class of each split, so that every class that has the image is named
_OF_SPLIT = 10  # images listed of a group in each split


def audit(dataset: str, folder: Path, images: ImageSource, code: str | None = None) -> dict:
    """Make the content of audit.json: how many images are the same, and which.

    Only digests are in memory, 32 bytes for each image.

    Args:
        dataset: its name.
        folder: has the arrays {train,test}_images.npy.
        images: the source of the arrays, with the labels, the class names and, if they were files, the file names.
        code: identifies this module's code, so that the report can say that other code counted.

    Returns:
        code: as given.
        folds: their number; None without folds.
        splits: split -> `images`, and `distinct` ones.
        duplicates: kind -> number of images. within_train, within_test: images that repeat an earlier one of their
            split. across_splits: test images that are also training or validation images; with folds, images that are
            also in another fold, as each image is a test image once. across_labels: images that
            are also in another class. A dataset with its own validation split also has within_validation and
            validation_in_train, validation images that are also training images.
        groups: kind -> up to 100 groups of equal images: how many `images`, and up to 10 `members` of each split.
    """
    order = [split for splits in images.stored().values() for split in splits]
    labels = [images.labels[split] for split in order]
    with progress_bar(dataset, sum(map(len, labels)), "images compared") as bar:
        digests = np.concatenate([_digests(folder / IMAGES.format(split=split), bar) for split in images.stored()])
    _, content = np.unique(digests, return_inverse=True)  # the same number for the same image
    sizes = dict(zip(order, map(len, labels), strict=True))
    split = np.repeat(np.arange(len(order)), list(sizes.values()))
    fold = None if images.folds is None else images.folds.of_files()
    rows = _Rows(split, np.concatenate(labels), content, sizes, images.classes, images.names, fold)
    folds = None if images.folds is None else len(images.folds.sizes)
    return {"schema_version": SCHEMA_VERSION, "dataset": dataset, "code": code, "folds": folds, **rows.describe()}


def _digests(path: Path, bar: Any) -> np.ndarray:
    """SHA-256 of each image, as (N,) items of 32 bytes."""
    images = np.load(path, mmap_mode="r")
    digests = np.empty((len(images), 32), np.uint8)
    for row, image in enumerate(images):
        digests[row] = np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8)
        bar.update()
    return digests.view("V32").ravel()


@dataclass(frozen=True)
class _Rows:
    """All images of a dataset, split by split.

    split, label, content: int64 (N,). sizes: images of each split, in the order of the rows. classes, names: as of an
    ImageSource. fold: int64 (N,); None without folds.
    """

    split: np.ndarray
    label: np.ndarray
    content: np.ndarray
    sizes: dict[str, int]
    classes: Sequence[str]
    names: Mapping[str, Sequence[str]] | None
    fold: np.ndarray | None = None

    def describe(self) -> dict:
        copies = {
            split: np.bincount(self.content[self.split == index], minlength=self.content.max() + 1)
            for index, split in enumerate(self.sizes)
        }
        kinds = self._kinds(copies)
        return {
            "splits": {
                split: {"images": size, "distinct": int((copies[split] > 0).sum())}
                for split, size in self.sizes.items()
            },
            "duplicates": {kind: int(counted[found].sum()) for kind, (found, counted) in kinds.items()},
            "groups": {kind: self._groups(kind, found) for kind, (found, _) in kinds.items()},
        }

    def _kinds(self, copies: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Kind -> whether each content is of it, and how many of its images count."""
        total = np.stack(list(copies.values())).sum(0)
        before_test = total - copies["test"]
        kinds = {f"within_{split}": (count > 1, count - 1) for split, count in copies.items()}
        kinds["across_splits"] = ((before_test > 0) & (copies["test"] > 0), copies["test"])
        if self.fold is not None:
            kinds["across_splits"] = (self._differs(self.fold), total)
        if (validation := copies.get("validation")) is not None:
            kinds["validation_in_train"] = ((copies["train"] > 0) & (validation > 0), validation)
        return kinds | {"across_labels": (self._differs(self.label), total)}

    def _differs(self, values: np.ndarray) -> np.ndarray:
        """Whether the images of each content have more than one of these values, one for each row."""
        lowest, highest = np.full(self.content.max() + 1, values.max()), np.full(self.content.max() + 1, values.min())
        np.minimum.at(lowest, self.content, values)
        np.maximum.at(highest, self.content, values)
        return lowest != highest

    def _groups(self, kind: str, found: np.ndarray) -> list[dict]:
        """The first groups of a kind, in the order of their first images."""
        one_split = {f"within_{split}": index for index, split in enumerate(self.sizes)}.get(kind)
        rows = np.flatnonzero(found[self.content] & (True if one_split is None else self.split == one_split))
        groups: dict[int, list[int]] = {}
        for row in rows.tolist():
            content = int(self.content[row])
            if content in groups or len(groups) < _GROUPS:
                groups.setdefault(content, []).append(row)
        return [{"images": len(members), "members": self._members(members)} for members in groups.values()]

    def _members(self, rows: list[int]) -> list[dict]:
        of_class: Counter[tuple[int, int]] = Counter()
        of_split: Counter[int] = Counter()
        members = []
        splits, starts = list(self.sizes), np.cumsum([0, *self.sizes.values()]).tolist()
        for row in rows:
            split, label = int(self.split[row]), int(self.label[row])
            if of_class[split, label] < _OF_EACH and of_split[split] < _OF_SPLIT:
                of_class[split, label] += 1
                of_split[split] += 1
                index = row - starts[split]
                name = {} if self.names is None else {"file": self.names[splits[split]][index]}
                members.append({"split": splits[split], "index": index, "class": self.classes[label], **name})
        return members
