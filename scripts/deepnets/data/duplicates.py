"""Count the images that are the same as another one, within and across splits and classes.

Two images are the same if all their pixels are, as a network sees them: after decoding and resizing. So copies are
found whatever their names and formats, but not photos that were taken twice or that differ in quality.
"""

from collections import Counter

import numpy as np

from deepnets.data.image_rows import ImageRows

_GROUPS = 100  # listed of each kind
_OF_EACH = 3  # images listed of a group in each class of each split, so that every class that has the image is named
_OF_SPLIT = 10  # images listed of a group in each split


def count_duplicates(rows: ImageRows) -> dict[str, dict]:
    """Count the images that are the same, and name some.

    Returns:
        duplicates: kind -> number of images. within_train, within_test: images that repeat an earlier one of their
            split. across_splits: test images that are also training or validation images; with folds, images that are
            also in another fold, as each image is a test image once. across_labels: images that are also in another
            class. A dataset with its own validation split also has within_validation and validation_in_train,
            validation images that are also training images.
        groups: kind -> up to 100 groups of equal images: how many `images`, and up to 10 `members` of each split.
    """
    kinds = _kinds(rows)
    return {
        "duplicates": {kind: int(counted[found].sum()) for kind, (found, counted) in kinds.items()},
        "groups": {kind: _groups(rows, kind, found) for kind, (found, _) in kinds.items()},
    }


def _kinds(rows: ImageRows) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kind -> whether each content is of it, and how many of its images count."""
    contents = rows.content.max() + 1
    copies = {split: np.bincount(rows.content[rows.slices[split]], minlength=contents) for split in rows.sizes}
    total = np.stack(list(copies.values())).sum(0)
    before_test = total - copies["test"]
    kinds = {f"within_{split}": (count > 1, count - 1) for split, count in copies.items()}
    kinds["across_splits"] = ((before_test > 0) & (copies["test"] > 0), copies["test"])
    if rows.fold is not None:
        kinds["across_splits"] = (_differs(rows.content, rows.fold), total)
    if (validation := copies.get("validation")) is not None:
        kinds["validation_in_train"] = ((copies["train"] > 0) & (validation > 0), validation)
    return kinds | {"across_labels": (_differs(rows.content, rows.label), total)}


def _differs(content: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether the images of each content have more than one of these values, one for each row."""
    lowest, highest = np.full(content.max() + 1, values.max()), np.full(content.max() + 1, values.min())
    np.minimum.at(lowest, content, values)
    np.maximum.at(highest, content, values)
    return lowest != highest


def _groups(rows: ImageRows, kind: str, found: np.ndarray) -> list[dict]:
    """The first groups of a kind, in the order of their first images."""
    one_split = rows.slices.get(kind.removeprefix("within_"), slice(None))
    groups: dict[int, list[int]] = {}
    for row in np.arange(len(rows.content))[one_split][found[rows.content[one_split]]].tolist():
        content = int(rows.content[row])
        if content in groups or len(groups) < _GROUPS:
            groups.setdefault(content, []).append(row)
    return [{"images": len(members), "members": _members(rows, members)} for members in groups.values()]


def _members(rows: ImageRows, group: list[int]) -> list[dict]:
    of_class: Counter[tuple[str, str]] = Counter()
    of_split: Counter[str] = Counter()
    members = []
    for member in map(rows.member, group):
        split, label = member["split"], member["class"]
        if of_class[split, label] < _OF_EACH and of_split[split] < _OF_SPLIT:
            of_class[split, label] += 1
            of_split[split] += 1
            members.append(member)
    return members
