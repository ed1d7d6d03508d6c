"""When to trust a single answer: errors among the most confident answers, and conformal prediction sets."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepnets.comparison.aggregate import best_by_model
from deepnets.figures.comparison import FAINT, Comparison, add_legend, titled_figure
from deepnets.figures.style import MUTED, applied


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
    add_legend(figure, comparison)
    return figure
