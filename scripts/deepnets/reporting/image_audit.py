"""Put the audit of a dataset's images into words: classes, files, odd images and images that look alike."""

from pathlib import PurePosixPath
from typing import Any

from deepnets.reporting.audit import Audit, Pair
from deepnets.reporting.markdown import Markdown, enumerate_words, image, table
from deepnets.utils import paths

_EXAMPLES = 3
_CLASSES_SHOWN = 50  # in the table; of more, the sentence has the smallest and the largest
_SHEET_WIDTH = "60%"
_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
# Among that many test images, no more than this share are copies; else simple images, as digits, have similar hashes.
_MANY, _TOO_COMMON = 100, 0.05


def describe(dataset: str, audit: Audit | None) -> dict[str, Any] | None:
    """The parts of the report about a dataset's images: `sentences`, what was `found` of the keys that config.yaml left
    out, a `table` or None, and the `sheet` of samples.
    """
    if audit is None:
        return None
    sheet = PurePosixPath(paths.SAMPLE_SHEET.format(dataset=dataset)).relative_to("results")
    return {
        "sentences": sentences(audit),
        # After the choice and its reason comes what to write for another one.
        "found": [f"{key}: {choice.partition('; ')[0]}" for key, choice in audit.found.items()],
        "table": _table(audit) if len(audit.classes) <= _CLASSES_SHOWN else None,
        "sheet": image(f"Training images of {dataset}", sheet, _SHEET_WIDTH),
    }


def sentences(audit: Audit) -> list[str]:
    """Return what was found about a dataset's images: classes, files, odd images, images that look alike."""
    return [_classes(audit), *_files(audit), *_odd(audit), _near(audit)]


def _classes(audit: Audit) -> str:
    counts = _columns(audit)[0][1]
    fewest, most = min(counts), max(counts)
    if fewest == most:
        return f"Each class has {fewest:,} {_kind(audit)}."
    smallest, largest = (audit.classes[counts.index(count)] for count in (fewest, most))
    return f"Classes have from {fewest:,} ({smallest}) to {most:,} ({largest}) {_kind(audit)}."


def _kind(audit: Audit) -> str:
    """Return what the images of the first column are."""
    return "images" if audit.folds else f"{_columns(audit)[0][0].lower()} images"


def _columns(audit: Audit) -> list[tuple[str, list[int]]]:
    """Return the title of each column of the table, and the images of each class: by what they are for.

    Validation images are drawn from the training split where the dataset has none. With folds, each image is for all.
    """
    splits = {_TITLES[name]: split.per_class for name, split in audit.splits if split}
    if audit.folds:
        return [("Images", [sum(counts) for counts in zip(*splits.values(), strict=True)])]
    train, *others = splits.items()
    return [train if "Validation" in splits else ("Training and validation", train[1]), *others]


def _table(audit: Audit) -> Markdown:
    columns = _columns(audit)
    rows = [[name, *(f"{counts[label]:,}" for _, counts in columns)] for label, name in enumerate(audit.classes)]
    return table(["Class", *(title for title, _ in columns)], rows, numbers_from=1)


def _files(audit: Audit) -> list[str]:
    if (files := audit.files) is None or files.shorter_side is None:
        return []
    formats = enumerate_words([f"{count:,} {name}" for name, count in files.formats.items()])
    if files.distinct_sizes == 1:
        size = f"all of {files.sizes[0].width} x {files.sizes[0].height} pixels"
    else:
        low, high = files.shorter_side
        size = f"of {files.distinct_sizes:,} sizes, the shorter side from {low:,} to {high:,} pixels"
    return [f"The files are {formats}, {size}."]


def _odd(audit: Audit) -> list[str]:
    found = []
    if audit.blank.images:
        found.append(f"{_images(audit.blank.images)} blank ({_some(list(map(str, audit.blank.members)))}).")
    if audit.files and (tiny := audit.files.tiny).images:
        found.append(f"{_images(tiny.images)} tiny, enlarged more than twice ({_some(tiny.files)}).")
    return found or [f"No image is blank{' or tiny' if audit.files else ''}."]


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count:,} images are"


def _near(audit: Audit) -> str:
    near, tested = audit.near_duplicates, audit.test_images
    if tested >= _MANY and near.across_splits > _TOO_COMMON * tested:
        return (
            f"{near.across_splits:,} of {tested:,} test images have nearly the same perceptual hash as a training or"
            " validation image. They are too many to be copies: simple images look alike. So the hashes say nothing"
            " about near-duplicates here."
        )
    own_validation = audit.splits.validation is not None and audit.folds is None
    kinds = [
        (near.across_splits, "test image", "a training or validation image", near.pairs.across_splits),
        *(
            [(near.validation_in_train, "validation image", "a training image", near.pairs.validation_in_train)]
            if own_validation
            else []
        ),
        (near.across_labels, "image", "one of another class", near.pairs.across_labels),
    ]
    counted = [
        f"{count:,} {what} {'looks' if count == 1 else 'look'} like {other}{_pairs(pairs)}"
        for count, name, other, pairs in kinds
        for what in [name if count == 1 else f"{name}s"]
    ]
    return (
        f"By perceptual hash (at most {near.bits} of 64 bits differ), {enumerate_words(counted)}, though their pixels"
        " differ; that is a hint alone, as simple images may look alike."
    )


def _pairs(pairs: list[Pair]) -> str:
    return f" ({_some([f'{one} is like {other}' for one, other in pairs])})" if pairs else ""


def _some(names: list[str]) -> str:
    return "; ".join(names[:_EXAMPLES] + ["..."] * (len(names) > _EXAMPLES))
