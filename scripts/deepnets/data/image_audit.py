"""Look at the images of a prepared dataset: how many of each class, how large, and which are odd or look alike."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepnets.data.arrays import open_dataset
from deepnets.data.decode import look
from deepnets.data.folds import Folds
from deepnets.data.image_source import ImageSource
from deepnets.data.near_duplicates import NEAR, alike, perceptual_hash
from deepnets.data.progress import progress_bar
from deepnets.data.raw_files import Raw
from deepnets.data.sources import parse_spec, source
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG

SCHEMA_VERSION = 1
BLANK = (
    8  # between the lowest and the highest value of each channel, of 0 to 255: nobody sees anything in such an image
)
_LISTED = 100  # of each kind
_SIZES = 10  # listed, the most frequent ones


def write_audit(dataset: str, spec: dict, raw_manifest: Path, info: Path, output: Path) -> dict[str, Any]:
    """Write the audit of a dataset's images.

    Args:
        dataset: its name in config.yaml.
        spec: that its arrays were made by.
        raw_manifest: path of raw.json; where the files are gone, images have no names.
        info: path of dataset.json.
        output: the file to write.

    Returns:
        The content of the file; `_Images.describe` says what is in it.

    Raises:
        UserError: the arrays are missing, damaged or of another spec.
    """
    metadata, images = _open(dataset, spec, info)
    images.names, files = _names_and_files(spec, raw_manifest)
    content = {
        "schema_version": SCHEMA_VERSION,
        "spec": spec,
        "arrays": metadata["arrays"],
        "validation_rows": metadata.get("validation_rows"),
        "dataset": dataset,
        "classes": metadata["classes"],
        **images.describe(),
        "files": files and _describe_files(files, metadata["input_shape"][-1]),
    }
    write_json(output, content)
    return content


@dataclass
class _Images:
    """All images of a dataset, split by split.

    sizes: images of each split, in the order of the rows. label, content, hashes: (N,); content is the same number for
    the same pixels. blank: bool (N,). classes: names. names: of the files, by split; None if unknown. fold: int64 (N,);
    None without folds.
    """

    sizes: dict[str, int]
    label: np.ndarray
    content: np.ndarray
    hashes: np.ndarray
    blank: np.ndarray
    classes: list[str]
    names: dict[str, list[str]] | None = None
    fold: np.ndarray | None = None

    def describe(self) -> dict[str, Any]:
        """Describe the images.

        Returns:
            splits: split -> number of images of each class.
            blank: how many `images` have no contrast, and the first `members` of them.
            near_duplicates: how many images have another one that looks alike, but differs: `across_splits` test images
                with a training or validation image (with folds: images with one of another fold), `across_labels`
                images with one of another class; and `pairs`.
        """
        starts = np.cumsum([0, *self.sizes.values()]).tolist()
        splits = {
            split: np.bincount(self.label[start : start + size], minlength=len(self.classes)).tolist()
            for (split, size), start in zip(self.sizes.items(), starts, strict=False)
        }
        blank = np.flatnonzero(self.blank).tolist()
        members = [self._member(row) for row in blank[:_LISTED]]
        return {"splits": splits, "blank": {"images": len(blank), "members": members}, **self._near_duplicates()}

    def _near_duplicates(self) -> dict[str, Any]:
        first_test, seen = len(self.label) - self.sizes["test"], np.flatnonzero(~self.blank).tolist()
        fold = self.fold
        kinds: dict[str, Callable[[int, int], bool]] = {
            "across_splits": lambda row, other: (
                row >= first_test > other if fold is None else bool(fold[row] != fold[other])
            ),
            "across_labels": lambda row, other: bool(self.label[row] != self.label[other]),
        }
        found = {kind: alike(self.hashes, self.content, seen, accepts) for kind, accepts in kinds.items()}
        pairs = {
            kind: [[self._member(row), self._member(other)] for row, other in list(of_kind.items())[:_LISTED]]
            for kind, of_kind in found.items()
        }
        counts = {kind: len(of_kind) for kind, of_kind in found.items()}
        return {"near_duplicates": {"bits": NEAR, **counts, "pairs": pairs}}

    def _member(self, row: int) -> dict[str, Any]:
        starts = dict(zip(self.sizes, np.cumsum([0, *self.sizes.values()]).tolist(), strict=False))
        split = max(starts, key=lambda each: (starts[each] <= row, starts[each]))
        index = row - starts[split]
        name = {} if self.names is None else {"file": self.names[split][index]}
        return {"split": split, "index": index, "class": self.classes[int(self.label[row])], **name}


def _open(dataset: str, spec: dict, info: Path) -> tuple[dict, _Images]:
    hashes, contents, blank, labels = [], [], [], []
    sizes: dict[str, int] = {}
    for split in ("train", "test"):
        images, of_split, metadata = open_dataset(info, split, spec)
        if split == "train" and (rows := metadata.get("validation_rows")):
            sizes |= {"train": rows[0], "validation": rows[1] - rows[0]}
        else:
            sizes[split] = len(images)
        labels.append(of_split)
        with progress_bar(dataset, len(images), f"{split} images looked at") as bar:
            for image in images:
                hashes.append(perceptual_hash(image))
                contents.append(hashlib.blake2b(image.tobytes(), digest_size=16).digest())
                blank.append(int(np.ptp(image, axis=(0, 1)).max()) < BLANK)
                bar.update()
    _, content = np.unique(np.array(contents, "V16"), return_inverse=True)
    hashed = np.array(hashes, np.uint64)
    fold = Folds(**metadata["folds"]).of_files() if "folds" in metadata else None
    found = _Images(sizes, np.concatenate(labels), content, hashed, np.array(blank), metadata["classes"], fold=fold)
    return metadata, found


def _names_and_files(spec: dict, raw_manifest: Path) -> tuple[dict[str, list[str]] | None, ImageSource | None]:
    """The names of the images' files, and what opens them; None without files, or where they are gone."""
    options = parse_spec(spec)
    if not options.decodes_files:
        return None, None
    try:
        images = source(spec["source"]).read(options, Raw.open(raw_manifest))
    except UserError as error:
        LOG.warning("%s; the audit is of the arrays alone", error)
        return None, None
    return images.names, images


def _describe_files(images: ImageSource, prepared_size: int) -> dict[str, Any]:
    """Describe the image files: formats, sizes, and those that were enlarged more than twice."""
    assert images.open_files is not None
    sizes: Counter[tuple[int, int]] = Counter()
    formats: Counter[str] = Counter()
    tiny = []
    for name, file in images.open_files():
        if (seen := look(file)) is not None:
            sizes[seen.width, seen.height] += 1
            formats[seen.format] += 1
            if 2 * min(seen.width, seen.height) < prepared_size:
                tiny.append(name)
    sides = [min(size) for size in sizes]
    return {
        "formats": dict(formats.most_common()),
        "sizes": [{"width": w, "height": h, "images": count} for (w, h), count in sizes.most_common(_SIZES)],
        "distinct_sizes": len(sizes),
        "shorter_side": [min(sides), max(sides)] if sides else None,
        "tiny": {"images": len(tiny), "files": sorted(tiny)[:_LISTED]},
    }
