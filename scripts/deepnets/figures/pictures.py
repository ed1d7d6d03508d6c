"""Test images in figures: a tile has the picture, the true class, the answer and the file name."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from numpy.typing import NDArray

from deepnets.comparison.aggregate import SeedGroup
from deepnets.comparison.statistics_file import Answer
from deepnets.evaluation.predictions import read_examples
from deepnets.figures.names import legible
from deepnets.figures.style import MUTED
from deepnets.utils import paths

TILE = 1.05, 1.55  # width and height in inches, with its text
_CHARACTERS = 13  # of a name below a tile


def kept_pictures(group: SeedGroup, needed: set[int]) -> dict[int, NDArray]:
    """Return those of the needed test images that the networks of a group have kept, uint8 (h, w, 1 or 3), by index.

    A network keeps its surest mistakes and its least sure hits. Images are counted over all folds of the group.
    """
    found: dict[int, NDArray] = {}
    for result, first in zip(group.results, group.first_rows, strict=True):
        missing = needed - found.keys()
        if missing:
            examples = read_examples(result.directory / paths.PREDICTIONS_FILE)
            found |= {first + index: each.copy() for index, each in examples.items() if first + index in missing}
    return found


def draw_tile(axes: Axes, picture: NDArray, answer: Answer, classes: Sequence[str]) -> None:
    """Draw an image, uint8 (h, w, 1 or 3), above its true class, the network's answer and the image's name."""
    axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    label, predicted = _cut(classes[answer.label]), _cut(classes[answer.predicted])
    given = f"{100 * answer.probability:.1f} %"
    # Three lines each, so that pictures in a row are at one height.
    text = f"\n{label}\n{given}" if answer.label == answer.predicted else f"{label}\nas {predicted}\n{given}"
    axes.set_title(text, fontsize=7, fontweight="normal", loc="center", linespacing=1.1)
    axes.set_xlabel(_cut(answer.name.split("/")[-1], keep_end=True), fontsize=6, color=MUTED, labelpad=2)


def _cut(name: str, keep_end: bool = False) -> str:
    """Return a name that fits below a tile; of a file, the end tells more than the start."""
    name = legible(name)
    if len(name) <= _CHARACTERS:
        return name
    return f"…{name[1 - _CHARACTERS :]}" if keep_end else f"{name[: _CHARACTERS - 1]}…"
