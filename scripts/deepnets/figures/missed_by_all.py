"""The test images that every network predicts wrongly, those with labels to look at first."""

import math

from matplotlib.figure import Figure
from numpy.typing import NDArray

from deepnets.comparison.aggregate import best_by_model
from deepnets.figures.comparison import Comparison, titled_figure
from deepnets.figures.pictures import TILE, draw_tile, kept_pictures
from deepnets.figures.style import MUTED, applied

_COLUMNS = 8
_TILES = 24
_FRAME = "#C0392B"  # of an image whose label may be wrong


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw the images with what all networks together answer, by the mean of their probabilities."""
    missed, statistics = comparison.statistics.missed_by_all, comparison.statistics
    if not missed.count:  # Snakemake needs the file, though the report leaves it out
        figure = titled_figure(comparison, "No test image is predicted wrongly by every network", (5.0, 0.7))
        figure.subplots().set_axis_off()  # without axes, the layout warns
        return figure
    pictures = _pictures(comparison)
    to_look_at = {answer.index for answer in statistics.suspicious_labels.images}
    kept = [answer for answer in missed.images if answer.index in pictures]
    shown = sorted(kept, key=lambda answer: answer.index not in to_look_at)[:_TILES]
    lines = max(1, math.ceil(len(shown) / _COLUMNS))
    size = _COLUMNS * TILE[0] + 0.3, lines * TILE[1] + 0.45
    counted = f"{len(shown)} of {missed.count:,}" if len(shown) < missed.count else f"{missed.count:,}"
    of_chosen = " of the chosen recipes" * (len(best_by_model(comparison.groups)) < len(comparison.groups))
    title = f"Test images that every network{of_chosen} predicts wrongly ({counted})"
    figure = titled_figure(comparison, title, size)
    if 0 < len(shown) < min(missed.count, _TILES):  # free tiles need a reason
        other = "the other one: no network kept its picture"
        others = other if missed.count - len(shown) == 1 else "the others: no network kept their pictures"
        figure.text(0.99, 0.985, others, ha="right", va="top", fontsize=8, color=MUTED)
    tiles = figure.subplots(lines, _COLUMNS, squeeze=False).flatten().tolist()
    for axes, answer in zip(tiles, shown, strict=False):
        draw_tile(axes, pictures[answer.index], answer, comparison.groups[0].first.metrics.classes)
        if answer.index in to_look_at:
            axes.spines[:].set(visible=True, color=_FRAME, linewidth=2)
    for axes in tiles[len(shown) :]:
        axes.set_axis_off()
    if not shown:
        figure.text(0.5, 0.4, "no network has kept a picture of these", ha="center", color=MUTED)
    return figure


def _pictures(comparison: Comparison) -> dict[int, NDArray]:
    """Return the missed images by their index, as far as a network has kept them: it keeps its surest mistakes."""
    needed = {answer.index for answer in comparison.statistics.missed_by_all.images}
    found: dict[int, NDArray] = {}
    for group in best_by_model(comparison.groups).values():
        found |= kept_pictures(group, needed - found.keys())
    return found
