"""The test images whose prediction changed between two states of a study, where both have predictions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from deepnets.comparison.changes import Predicted
from deepnets.comparison.paired import mcnemar
from deepnets.evaluation.metrics import NO_PREDICTION, Labels, predicted_classes
from deepnets.evaluation.predictions import read_test
from deepnets.reporting.markdown import Markdown, escape, table
from deepnets.reporting.states import Names, Run

SHOWN = 20  # images of an experiment; the others are counted


@dataclass(frozen=True)
class Flips:
    """The images that two networks predict differently, int64 (N,) each.

    index: their numbers in the test split, from 0. label: their classes. before, after: the predicted classes,
    NO_PREDICTION where there is no class. classes: the names of the classes.
    """

    index: Labels
    label: Labels
    before: Labels
    after: Labels
    classes: list[str]

    @property
    def only_before(self) -> int:
        """The number of images that only the earlier network has right."""
        return int((self.before == self.label).sum())

    @property
    def only_after(self) -> int:
        """The number of images that only the later network has right."""
        return int((self.after == self.label).sum())

    @property
    def p(self) -> float:
        """The probability of a difference at least as large, if both were equally often right (McNemar, exact)."""
        return float(mcnemar(self.only_before, self.only_after))


def predicted_by_both(before: dict[str, Run], after: dict[str, Run]) -> dict[str, Predicted]:
    """Return the predictions of each seed for which both states have those of the same test images.

    Raises:
        UserError: a file of predictions is damaged.
    """
    found = {}
    for seed in before.keys() & after.keys():
        old, new = before[seed].predictions, after[seed].predictions
        if old is None or new is None:
            continue
        (was, labels), (now, other_labels) = read_test(old), read_test(new)
        if np.array_equal(labels, other_labels):
            found[seed] = Predicted(was, now, labels)
    return dict(sorted(found.items()))


def flips_of(predicted: Predicted, classes: list[str]) -> Flips:
    """Return the images that the two networks predict differently; `classes`: their names."""
    was, now = predicted_classes(predicted.before), predicted_classes(predicted.after)
    index = np.flatnonzero(was != now)
    return Flips(index, predicted.labels[index], was[index], now[index], classes)


def flips_table(flips: dict[Names, dict[str, Flips]], name: Callable[[Names], str]) -> Iterator[str]:
    """Yield the section about the images that flipped, as Markdown; nothing where no predictions are known."""
    known = [(names, seed, each) for names, seeds in flips.items() for seed, each in seeds.items()]
    if not known:
        return
    yield "## Test images that flipped"
    header = ["Experiment", "Seed", "Now right", "Now wrong", "Another wrong class", "p (McNemar)"]
    yield table(header, [[name(names), seed, *_counts(each)] for names, seed, each in known], numbers_from=2)
    for names, seed, each in known:
        if len(each.index):
            yield Markdown(f"{escape(name(names))}, seed {escape(seed)}: {_images(each)}.")


def _counts(flips: Flips) -> list[object]:
    others = len(flips.index) - flips.only_after - flips.only_before
    return [flips.only_after, flips.only_before, others, f"{flips.p:.2g}"]


def _images(flips: Flips) -> Markdown:
    def called(number: int) -> str:
        if number == NO_PREDICTION:
            return "no class"
        return flips.classes[number] if number < len(flips.classes) else str(number)

    rows = zip(flips.index, flips.label, flips.before, flips.after, strict=True)
    words = [
        f"image {index} ({called(label)}): {called(before)}, now {called(after)}"
        for index, label, before, after in list(rows)[:SHOWN]
    ]
    rest = f"; and {len(flips.index) - SHOWN} more" if len(flips.index) > SHOWN else ""
    return escape("; ".join(words) + rest)
