"""Put audit.json into words: images that are the same, and what that means for the results."""

from typing import Literal

from deepnets.reporting.audit import Audit, Group
from deepnets.reporting.markdown import Markdown, code
from deepnets.utils import paths

_EXAMPLES = 3


def leakage(audit: Audit) -> list[str]:
    """Return the sentences that a reader of the results must know; [] if no image is where it should not be."""
    sentences = []
    own_validation = " or validation" if audit.splits.validation else ""
    if count := audit.duplicates.across_splits:
        also = (
            f"is also a training{own_validation} image" if count == 1 else f"are also training{own_validation} images"
        )
        if audit.folds is None:
            examples = _examples(audit.groups.across_splits, "split", of="test")
        else:
            examples = _examples(audit.groups.across_splits, "index")
        sentences.append(
            f"{count:,} of {audit.test_images:,} test images {also} ({examples}), so the test accuracy is likely"
            " too high; remove one copy of each"
        )
    if count := audit.duplicates.validation_in_train:
        examples = _examples(audit.groups.validation_in_train, "split", of="validation")
        sentences.append(
            f"{count:,} validation images are also training images ({examples}), so the validation accuracy is likely"
            " too high; remove one copy of each"
        )
    if count := audit.duplicates.across_labels:
        examples = _examples(audit.groups.across_labels, "label")
        sentences.append(
            f"{count:,} images are in more than one class ({examples}), so no network can get all of them right; keep"
            " the copies of the right class"
        )
    return sentences


def _examples(groups: list[Group], differ: Literal["split", "label", "index"], of: str | None = None) -> str:
    """Two images of each of the first groups that differ in one thing; the one named first is in split `of`."""
    pairs = []
    for group in groups[:_EXAMPLES]:
        one = next((each for each in group.members if each.split == of), group.members[-1])
        other = next(
            (each for each in group.members if getattr(each, differ) != getattr(one, differ)), group.members[0]
        )
        pairs.append(f"{one} is {other}")
    return "; ".join(pairs + ["..."] * (len(groups) > _EXAMPLES))


def counted(dataset: str, audit: Audit | None) -> Markdown:
    """Return the sentence that counts a dataset's duplicates."""
    file = code(paths.AUDIT.format(dataset=dataset))
    if audit is None:
        return Markdown(f"Duplicate images are not known: {file} is missing.")
    counts = audit.duplicates
    validation = (
        f" or validation images; {counts.validation_in_train:,} validation images are training images"
        if audit.splits.validation
        else " images"
    )
    counted = (
        f"{counts.within_train:,} repeat one within the training split, {counts.within_test:,} within the test split;"
        f" {counts.across_splits:,} test images are training{validation}"
    )
    if audit.folds is not None:
        counted = f"{counts.across_splits:,} are also in another fold"
    return Markdown(
        f"Images that are the same as another one, pixel for pixel at this size: {counted};"
        f" {counts.across_labels:,} are in more than one class ({file})."
    )
