"""The test images that surprise most: confident mistakes and doubtful hits of each network."""

from collections.abc import Sequence
from itertools import zip_longest

from matplotlib.figure import Figure, SubFigure

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation
from deepnets.figures.comparison import Comparison, titled_figure
from deepnets.figures.names import short_names
from deepnets.figures.pictures import TILE, draw_tile, kept_pictures
from deepnets.figures.style import applied

_NETWORKS = 8  # of more, those that are best on validation
_MISTAKES, _HITS = 5, 3


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a row for each model, the best on validation first: its chosen recipe, the first seed or all folds."""
    groups = by_validation(best_by_model(comparison.groups).values())
    shown = groups[:_NETWORKS]
    left_out = f", {len(shown)} of {len(groups)} networks" if len(shown) < len(groups) else ""
    size = (_MISTAKES + _HITS) * TILE[0] + 0.4, (TILE[1] + 0.25) * len(shown) + 0.4
    figure = titled_figure(comparison, f"Surest mistakes and least sure right answers{left_out}", size)
    rows = figure.subfigures(len(shown), 2, squeeze=False, wspace=0.03, width_ratios=[_MISTAKES, _HITS])
    names = short_names([group.display_name for group in shown], 26)
    for group, name, parts in zip(shown, names, rows, strict=True):
        _draw_row(group, name, parts)
    return figure


def _draw_row(group: SeedGroup, name: str, parts: Sequence[SubFigure]) -> None:
    assert group.candidate is not None
    found, classes = group.candidate.passes[0], group.first.metrics.classes
    mistakes, hits = found.confident_mistakes[:_MISTAKES], found.doubtful_hits[:_HITS]
    pictures = kept_pictures(group, {answer.index for answer in (*mistakes, *hits)})
    kinds = (
        (f"{name}: surest mistakes", mistakes, _MISTAKES),
        ("least sure right answers", hits, _HITS),
    )
    for part, (title, answers, columns) in zip(parts, kinds, strict=True):
        part.suptitle(title if answers else f"{title}: none", x=0.02, ha="left", fontsize=8, fontweight="bold")
        for axes, answer in zip_longest(part.subplots(1, columns).tolist(), answers):
            if answer is None:
                axes.set_axis_off()
            else:
                draw_tile(axes, pictures[answer.index], answer, classes)
