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

from deepnets.data.progress import progress_bar
from deepnets.utils.paths import IMAGES, LABELS, SPLITS

SCHEMA_VERSION = 1
_GROUPS = 100  # listed of each kind
_OF_EACH = 3  # images listed of a group in each class of each split, so that every class that has the image is named
_OF_SPLIT = 10  # images listed of a group in each split


def audit(dataset: str, folder: Path, classes: Sequence[str], names: Mapping[str, Sequence[str]] | None) -> dict:
    """Make the content of audit.json: how many images are the same, and which.

    Only digests are in memory, 32 bytes for each image.

    Args:
        dataset: its name.
        folder: has the arrays {train,test}_{images,labels}.npy.
        classes: names, by label.
        names: split -> file names of its images, if they were files.

    Returns:
        splits: split -> `images`, and `distinct` ones.
        duplicates: kind -> number of images. within_train, within_test: images that repeat an earlier one of their
            split. across_splits: test images that are also training images. across_labels: images that are also in
            another class.
        groups: kind -> up to 100 groups of equal images: how many `images`, and up to 10 `members` of each split.
    """
    labels = [np.load(folder / LABELS.format(split=split)) for split in SPLITS]
    sizes = [len(each) for each in labels]
    with progress_bar(dataset, sum(sizes), "images compared") as bar:
        digests = np.concatenate([_digests(folder / IMAGES.format(split=split), bar) for split in SPLITS])
    _, content = np.unique(digests, return_inverse=True)  # the same number for the same image
    split = np.repeat(np.arange(len(SPLITS)), sizes)
    rows = _Rows(split, np.concatenate(labels), content, sizes, classes, names)
    return {"schema_version": SCHEMA_VERSION, "dataset": dataset, **rows.describe()}


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
    """All images of a dataset, the training split first.

    split, label, content: int64 (N,). sizes: images of each split. classes, names: as for `audit`.
    """

    split: np.ndarray
    label: np.ndarray
    content: np.ndarray
    sizes: list[int]
    classes: Sequence[str]
    names: Mapping[str, Sequence[str]] | None

    def describe(self) -> dict:
        count = self.content.max() + 1
        train, test = (np.bincount(self.content[self.split == index], minlength=count) for index in range(2))
        lowest, highest = np.full(count, len(self.classes)), np.full(count, -1)
        np.minimum.at(lowest, self.content, self.label)
        np.maximum.at(highest, self.content, self.label)
        # Kind -> whether a content is of it, and how many images of this content count.
        kinds = {
            "within_train": (train > 1, train - 1),
            "within_test": (test > 1, test - 1),
            "across_splits": ((train > 0) & (test > 0), test),
            "across_labels": (lowest != highest, train + test),
        }
        of_split = [int((each > 0).sum()) for each in (train, test)]
        return {
            "splits": {
                split: {"images": size, "distinct": distinct}
                for split, size, distinct in zip(SPLITS, self.sizes, of_split, strict=True)
            },
            "duplicates": {kind: int(counted[found].sum()) for kind, (found, counted) in kinds.items()},
            "groups": {kind: self._groups(kind, found) for kind, (found, _) in kinds.items()},
        }

    def _groups(self, kind: str, found: np.ndarray) -> list[dict]:
        """The first groups of a kind, in the order of their first images."""
        one_split = {"within_train": 0, "within_test": 1}.get(kind)
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
        for row in rows:
            split, label = int(self.split[row]), int(self.label[row])
            if of_class[split, label] < _OF_EACH and of_split[split] < _OF_SPLIT:
                of_class[split, label] += 1
                of_split[split] += 1
                index = row - sum(self.sizes[:split])
                name = {} if self.names is None else {"file": self.names[SPLITS[split]][index]}
                members.append({"split": SPLITS[split], "index": index, "class": self.classes[label], **name})
        return members
