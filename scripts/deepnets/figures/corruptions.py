"""Test accuracy on corrupted images, a panel per kind of corruption."""

import math

import numpy as np
from matplotlib.figure import Figure

from deepnets.comparison.aggregate import best_by_model, passes
from deepnets.evaluation.measurements import Robustness, corruption_title, read_robustness
from deepnets.figures.comparison import FAINT, Comparison, add_legend, titled_figure
from deepnets.figures.style import applied

_COLUMNS = 4


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a line per model: its recipe that validation chose, the mean over the seeds."""
    best = best_by_model(comparison.groups)
    measured = {model: [read_robustness(result) for result in group.results] for model, group in best.items()}
    images = sum(read_robustness(result).n for result in passes(comparison.groups[0].results)[0])
    first = next(iter(measured.values()))[0]
    kinds = list(first.corruptions)
    figure = titled_figure(comparison, f"Test accuracy on corrupted images ({images:,} images)", (7.6, 4.2))
    lines = math.ceil(len(kinds) / _COLUMNS)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False, sharex=True, sharey=True).flatten().tolist()
    for axes, kind in zip(panels, kinds, strict=False):
        for model, networks in measured.items():
            percent = [_percent(network, kind) for network in networks]
            accuracies = np.average(percent, axis=0, weights=[network.n for network in networks])
            style = comparison.styles[model]
            if model in comparison.coloured:
                axes.plot(accuracies, color=style.color, marker=style.marker, linestyle=style.linestyle, linewidth=1.2)
            else:
                axes.plot(accuracies, **FAINT)
        axes.set_title(corruption_title(kind), fontsize=9)
        axes.set_xticks(range(1 + len(first.corruptions[kind])))
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(kinds) - _COLUMNS) : len(kinds)]:  # the lowest of each column
        axes.set_xlabel("Severity")
        axes.tick_params(labelbottom=True)
    panels[0].set_ylim(-3, 103)
    figure.supylabel("Test accuracy (%)", fontsize=9)
    add_legend(figure, comparison)
    return figure


def _percent(network: Robustness, kind: str) -> list[float]:
    """The accuracies at severity 0, 1, 2 and 3."""
    return [100 * accuracy for accuracy in (network.accuracy, *network.corruptions[kind])]
