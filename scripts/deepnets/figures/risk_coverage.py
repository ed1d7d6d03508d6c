"""When to trust a single answer: errors among the most confident answers, and conformal prediction sets."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepnets.comparison.aggregate import SeedGroup, best_by_model, passes
from deepnets.figures.comparison import FAINT, Comparison, add_legend, titled_figure
from deepnets.figures.style import GRID, MUTED, applied

_QUANTILE = 1.96  # of a normal distribution, for 95 %
_MARGIN = 1.2  # of the band, on the axis of coverage
_MARKED = 0.12  # of a line, from marker to marker
_LEAST_CLASSES = 0.1  # of the mean size of a set that the axis spans


@applied()
def draw(comparison: Comparison) -> Figure:
    """Draw a line and a point for each model: its recipe that validation chose, means over the seeds."""
    figure = titled_figure(comparison, "When to trust an answer", (7.2, 3.4))
    by_coverage, sets = figure.subplots(1, 2)
    best = best_by_model(comparison.groups)
    for model, group in best.items():
        assert group.candidate is not None
        networks, style = group.candidate.passes, comparison.styles[model]
        # All networks have the same test images, so they have the same shares of them.
        shares, risks = 100 * np.mean([network.risk_coverage for network in networks], axis=0).T
        size = float(np.mean([network.conformal.mean_size for network in networks]))
        coverage = 100 * float(np.mean([network.conformal.coverage for network in networks]))
        if model in comparison.coloured:
            [line] = by_coverage.plot(shares, risks, color=style.color, linestyle=style.linestyle, linewidth=1.2)
            line.set(marker=style.marker, markersize=4, markevery=_MARKED)
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
    _draw_chance(sets, target, *min(map(_images, best.values())))
    add_legend(figure, comparison)
    return figure


def chance(target: float, validation: int, test: int) -> float:
    """Return how far the coverage of one network is from its target by chance, in 95 % of cases; fractions.

    The threshold is a quantile of the validation images, and so varies as a share of them does (the coverage has a beta
    distribution: Angelopoulos and Bates 2021, arXiv 2107.07511, section 3.2); the test images vary on top of it.

    Args:
        target: the share of sets that should hold the true class.
        validation, test: numbers of images.
    """
    return _QUANTILE * math.sqrt(target * (1 - target) * (1 / validation + 1 / test))


def _images(group: SeedGroup) -> tuple[int, int]:
    """Return how many validation and test images decide the coverage of one network; with folds, of those of all."""
    networks = passes(group.results)[0]
    return sum(each.metrics.validation.n for each in networks), group.test_images


def _draw_chance(sets: Axes, target: float, validation: int, test: int) -> None:
    """Draw what can be chance as a band, and let the axes span it and a tenth of a class; `target`: in percent."""
    points = 100 * chance(target / 100, validation, test)
    sets.axhspan(target - points, min(target + points, 100), color=GRID, alpha=0.6, zorder=0)
    numbers = f"with {validation:,} validation and {test:,} test images,\n{points:.1f} points can be chance (grey)"
    sets.set_title(numbers, fontsize=8, fontweight="normal", color=MUTED)
    low, high = sets.get_ylim()
    sets.set_ylim(min(low, target - _MARGIN * points), min(max(high, target + _MARGIN * points), 101))
    low, high = sets.get_xlim()
    middle, half = (low + high) / 2, max(high - low, _LEAST_CLASSES) / 2
    sets.set_xlim(middle - half, middle + half)
