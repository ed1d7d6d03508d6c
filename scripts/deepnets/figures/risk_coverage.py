"""When to trust a single answer: errors among the most confident answers, and conformal prediction sets."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepnets.comparison.aggregate import best_by_model
from deepnets.figures.comparison import FAINT, Comparison, add_legend, titled_figure
from deepnets.figures.style import MUTED, applied

_LEAST_POINTS = 1.0  # percentage points of coverage that the axis spans on each side of the target
_LEAST_CLASSES = 0.1  # of the mean size of a set that the axis spans


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a line and a point for each model: its recipe that validation chose, means over the seeds."""
    figure = titled_figure(comparison, "When to trust an answer", (7.2, 3.4))
    by_coverage, sets = figure.subplots(1, 2)
    for model, group in best_by_model(comparison.groups).items():
        assert group.candidate is not None
        networks, style = group.candidate.passes, comparison.styles[model]
        # All networks have the same test images, so they have the same shares of them.
        shares, risks = 100 * np.mean([network.risk_coverage for network in networks], axis=0).T
        size = float(np.mean([network.conformal.mean_size for network in networks]))
        coverage = 100 * float(np.mean([network.conformal.coverage for network in networks]))
        if model in comparison.coloured:
            by_coverage.plot(shares, risks, color=style.color, linestyle=style.linestyle, marker="", linewidth=1.2)
            sets.plot([size], [coverage], color=style.color, marker=style.marker)
        else:
            by_coverage.plot(shares, risks, **FAINT)
            sets.plot([size], [coverage], ".", **FAINT)
        target = 100 * networks[0].conformal.target
    by_coverage.set_xlabel("Answered, the most confident images (%)")
    by_coverage.set_ylabel("Errors among them (%)")
    by_coverage.set_ylim(bottom=0)
    sets.axhline(target, color=MUTED, linestyle="--", linewidth=0.8)
    sets.set_xlabel("Classes in a conformal set, mean")
    sets.set_ylabel("Sets with the true class (%)")
    sets.xaxis.set_major_locator(MaxNLocator(5))
    _widen(sets, target)
    add_legend(figure, comparison)
    return figure


def _widen(sets: Axes, target: float) -> None:
    """Let the axes of the sets span more than noise: a point on each side of the target, and a tenth of a class.

    With 10,000 test images, the 95 % interval of a coverage of 95 % is 0.4 points on each side.
    """
    low, high = sets.get_ylim()
    sets.set_ylim(min(low, target - _LEAST_POINTS), min(max(high, target + _LEAST_POINTS), 101))
    low, high = sets.get_xlim()
    middle, half = (low + high) / 2, max(high - low, _LEAST_CLASSES) / 2
    sets.set_xlim(middle - half, middle + half)
