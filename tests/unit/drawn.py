"""Helpers for tests of figures: made-up experiments to compare, and what a figure shows."""

from collections.abc import Collection
from pathlib import Path

from made_up_results import write_experiment, write_statistics

from deepnets.comparison.aggregate import group_seeds, with_statistics
from deepnets.comparison.statistics_file import Statistics
from deepnets.evaluation.results import read_result
from deepnets.figures import style
from deepnets.figures.comparison import Comparison
from deepnets.utils.checked_json import read_checked


def comparison_of(root: Path, *options: dict, published: dict | None = None) -> Comparison:
    """Compare experiments on digits, each given by the keyword arguments of `write_experiment`."""
    directories = [write_experiment(root / "results", **each) for each in options]
    return comparison_of_finished(root, *directories, published=published)


def comparison_of_finished(
    root: Path, *directories: Path, published: dict | None = None, stopped: Collection[Path] = ()
) -> Comparison:
    """Compare experiments on digits, each given by its directory."""
    statistics = read_checked(write_statistics(root, *directories)["digits"], Statistics)
    groups = with_statistics(group_seeds(map(read_result, directories)), statistics)
    styles = style.model_styles({group.model: index for index, group in enumerate(groups)})
    return Comparison("digits", groups, styles, statistics, published or {}, stopped)


def texts(artist) -> list[str]:
    return [text.get_text() for text in artist.findobj(lambda each: hasattr(each, "get_text"))]


def rendered(figure):
    figure.draw_without_rendering()
    return figure


def front_of(figure) -> list[tuple[float, float]]:
    """The corners of the Pareto front, (x, y)."""
    [line] = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))
