"""Training images of each class, a row for a class: what a network is given to see."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepnets.data.arrays import open_dataset
from deepnets.figures.names import short_names
from deepnets.figures.style import applied, save
from deepnets.utils.specs import settings_sha256

COLUMNS = 10  # images of a class
ROWS = 30  # classes; of more, some that are spread over all
_NAME_CHARACTERS = 24
_CHARACTER = 0.08  # of a name, in inches
_INCHES = 0.5  # a side of the square around an image
_SHARE = 0.92  # of that side, which the image takes


def write_sample_sheet(info: Path, job: dict, output: Path) -> None:
    """Draw the sample sheet of a prepared dataset.

    Args:
        info: path of dataset.json.
        job: its "spec" is that of the arrays.
        output: the PNG to write.

    Raises:
        UserError: the arrays are missing, damaged or of another spec.
    """
    images, labels, metadata = open_dataset(info, "train", job["spec"])
    classes = metadata["classes"]
    shown = np.unique(np.linspace(0, len(classes) - 1, min(len(classes), ROWS)).astype(int)).tolist()
    rows = [_spread(np.flatnonzero(labels == label)) for label in shown]
    figure = draw([images[row] for row in rows], [classes[label] for label in shown], len(classes))
    save(figure, output, settings_sha256(job))


def _spread(rows: np.ndarray) -> np.ndarray:
    """Some of the rows, spread over all; files are often in the order in which they were taken."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), COLUMNS)).astype(int))]


@applied()
def draw(images: list[np.ndarray], names: list[str], number: int) -> Figure:
    """Draw some images of each class.

    Args:
        images: of each class, uint8 (n, H, W, C) with n at most `COLUMNS`.
        names: of the classes.
        number: of all classes.
    """
    shown = short_names(names, _NAME_CHARACTERS)
    width = _INCHES * COLUMNS + 0.3 + _CHARACTER * max(map(len, shown))
    figure = Figure(figsize=(width, _INCHES * len(names) + 0.6), layout="constrained")
    some = "" if len(names) == number else f", {len(names)} of {number} classes"
    figure.suptitle(f"Training images as networks see them{some}", x=0.01, ha="left", fontsize=10, fontweight="bold")
    # One pair of axes for all: with a hundred, the layout takes two seconds.
    axes = figure.subplots()
    axes.set(xlim=(0, COLUMNS), ylim=(len(names), 0), aspect="equal", xticks=[])
    axes.set_yticks(np.arange(len(names)) + 0.5, shown)
    axes.set_anchor("W")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for top, row in enumerate(images):
        for left, each in enumerate(row):
            _place(axes, each, left, top)
    return figure


def _place(axes: Axes, image: np.ndarray, left: float, top: float) -> None:
    """Draw an image, uint8 (H, W, C), into the middle of the square of side 1 whose corner is at `left`, `top`."""
    height, width = (_SHARE * side / max(image.shape[:2]) for side in image.shape[:2])
    x, y = left + 0.5, top + 0.5
    # Enlarged pixels keep their edges: smoothed ones would show what no network sees, in more bytes.
    small = max(image.shape[:2]) <= _SHARE * _INCHES * axes.figure.dpi
    axes.imshow(
        image.squeeze(),
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if small else "antialiased",
        extent=(x - width / 2, x + width / 2, y + height / 2, y - height / 2),
    )
