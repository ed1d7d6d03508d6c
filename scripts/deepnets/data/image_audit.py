"""Look at the images of a prepared dataset: how many of each class, how large, and which are odd, equal or alike."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepnets.data.arrays import open_dataset
from deepnets.data.decode import read_header
from deepnets.data.duplicates import count_duplicates
from deepnets.data.folds import Folds
from deepnets.data.image_rows import ImageRows
from deepnets.data.image_source import ImageSource
from deepnets.data.near_duplicates import NEAR, alike, perceptual_hash
from deepnets.data.progress import progress_bar
from deepnets.data.raw_files import Raw
from deepnets.data.sources import parse_spec, source
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG
from deepnets.utils.paths import SPLITS

SCHEMA_VERSION = 1
BLANK = (
    8  # between the lowest and the highest value of each channel, of 0 to 255: nobody sees anything in such an image
)
_LISTED = 100  # of each kind
_SIZES = 10  # listed, the most frequent ones


def write_audit(dataset: str, spec: dict, raw_manifest: Path, info: Path, output: Path) -> dict[str, Any]:
    """Write the audit of a dataset's images, and warn of images that are where they should not be.

    Args:
        dataset: its name in config.yaml.
        spec: that its arrays were made by.
        raw_manifest: path of raw.json; where the files are gone, images have no names.
        info: path of dataset.json.
        output: the file to write.

    Returns:
        The content of the file. Besides what identifies the arrays:
        found: key of config.yaml -> the choice that was made where it is left out, and why.
        folds: their number; None without folds.
        splits: split -> number of `images`, of `distinct` ones, and of images `per_class`.
        duplicates, groups: images that are the same, see `count_duplicates`.
        near_duplicates: how many images have another one that looks alike, but differs: `across_splits` test images
            with a training or validation image (with folds: images with one of another fold), `across_labels` images
            with one of another class, `validation_in_train` images of the dataset's own validation split with a
            training image; and `pairs`.
        blank: how many `images` have no contrast, and the first `members` of them.
        files: formats and sizes of the image files; None without files.

    Raises:
        UserError: the arrays are missing, damaged or of another spec.
    """
    metadata, rows, looks = _open(dataset, spec, info)
    rows.names, files = _names_and_files(spec, raw_manifest)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "spec": spec,
        "arrays": metadata["arrays"],
        "validation_rows": metadata.get("validation_rows"),
        "dataset": dataset,
        "classes": metadata["classes"],
        "found": metadata.get("found", {}),
        "folds": len(metadata["folds"]["sizes"]) if "folds" in metadata else None,
        "splits": {split: _describe_split(rows, split) for split in rows.sizes},
        **count_duplicates(rows),
        "near_duplicates": _near_duplicates(rows, looks),
        "blank": _blank(rows, looks),
        "files": files and _describe_files(files, metadata["input_shape"][-1], spec.get("non_square")),
    }
    write_json(output, content)
    _warn_of_duplicates(dataset, content["duplicates"], output)
    return content


@dataclass
class _Looks:
    """What each image looks like: its perceptual hash, uint64 (N,), and whether it is blank, bool (N,)."""

    hashes: np.ndarray
    blank: np.ndarray


def _open(dataset: str, spec: dict, info: Path) -> tuple[dict, ImageRows, _Looks]:
    hashes, contents, blank, labels = [], [], [], []
    sizes: dict[str, int] = {}
    for split in SPLITS:
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
    looks = _Looks(np.array(hashes, np.uint64), np.array(blank))
    fold = Folds(**metadata["folds"]).of_files() if "folds" in metadata else None
    return metadata, ImageRows(sizes, np.concatenate(labels), content, metadata["classes"], fold=fold), looks


def _describe_split(rows: ImageRows, split: str) -> dict[str, Any]:
    label, content = rows.label[rows.slices[split]], rows.content[rows.slices[split]]
    per_class = np.bincount(label, minlength=len(rows.classes)).tolist()
    return {"images": len(label), "distinct": len(np.unique(content)), "per_class": per_class}


def _near_duplicates(rows: ImageRows, looks: _Looks) -> dict[str, Any]:
    first_test, seen = rows.slices["test"].start, np.flatnonzero(~looks.blank).tolist()
    fold, validation = rows.fold, rows.slices.get("validation")
    kinds: dict[str, Callable[[int, int], bool]] = {
        "across_splits": lambda row, other: (
            row >= first_test > other if fold is None else bool(fold[row] != fold[other])
        ),
        "across_labels": lambda row, other: bool(rows.label[row] != rows.label[other]),
    }
    if validation is not None and fold is None:
        kinds["validation_in_train"] = lambda row, other: other < validation.start <= row < validation.stop
    found = {kind: alike(looks.hashes, rows.content, seen, accepts) for kind, accepts in kinds.items()}
    pairs = {
        kind: [[rows.member(row), rows.member(other)] for row, other in list(of_kind.items())[:_LISTED]]
        for kind, of_kind in found.items()
    }
    return {"bits": NEAR, **{kind: len(of_kind) for kind, of_kind in found.items()}, "pairs": pairs}


def _blank(rows: ImageRows, looks: _Looks) -> dict[str, Any]:
    blank = np.flatnonzero(looks.blank).tolist()
    return {"images": len(blank), "members": [rows.member(row) for row in blank[:_LISTED]]}


def _warn_of_duplicates(dataset: str, counts: dict[str, int], output: Path) -> None:
    in_train = counts.get("validation_in_train")  # None: the dataset has no validation split of its own
    if counts["across_splits"] or counts["across_labels"] or in_train:
        LOG.warning(
            "%s: %d test images are also training%s images, %sand %d images are in more than one class; %s lists them",
            dataset,
            counts["across_splits"],
            "" if in_train is None else " or validation",
            f"{in_train} validation images are also training images, " if in_train else "",
            counts["across_labels"],
            output,
        )


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


def _describe_files(images: ImageSource, prepared_size: int, non_square: str | None) -> dict[str, Any]:
    """Describe the image files: formats, sizes, and those that were enlarged more than twice."""
    resized_side = max if non_square == "pad" else min  # that becomes `prepared_size`
    assert images.open_files is not None
    sizes: Counter[tuple[int, int]] = Counter()
    formats: Counter[str] = Counter()
    tiny = []
    for name, file in images.open_files():
        if (seen := read_header(file)) is not None:
            sizes[seen.width, seen.height] += 1
            formats[seen.format] += 1
            if 2 * resized_side(seen.width, seen.height) < prepared_size:
                tiny.append(name)
    sides = [min(size) for size in sizes]
    return {
        "formats": dict(formats.most_common()),
        "sizes": [{"width": w, "height": h, "images": count} for (w, h), count in sizes.most_common(_SIZES)],
        "distinct_sizes": len(sizes),
        "shorter_side": [min(sides), max(sides)] if sides else None,
        "tiny": {"images": len(tiny), "files": sorted(tiny)[:_LISTED]},
    }
