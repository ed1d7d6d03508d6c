"""Experiments that differ only in their seed, taken together: means and intervals."""

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from deepnets.evaluation.results import Result
from deepnets.models import display_name
from deepnets.utils.files import canonical_json

Training = TypeVar("Training")  # an Experiment or a SeedGroup: what has a `model` and a `spec`


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; `seeds` is the number of runs behind it."""

    value: float
    low: float
    high: float
    seeds: int


def mean_over_seeds(accuracies: list[float]) -> Estimate:
    """Mean of at least two accuracies (fractions) with Student's t interval, cut to what an accuracy can be."""
    from scipy.special import stdtrit  # costs 0.2 s; most users of this module have one seed

    n = len(accuracies)
    mean = statistics.fmean(accuracies)
    half_width = float(stdtrit(n - 1, 0.975)) * statistics.stdev(accuracies) / math.sqrt(n)
    return Estimate(mean, max(0.0, mean - half_width), min(1.0, mean + half_width), n)


@dataclass(frozen=True)
class SeedGroup:
    """Experiments that differ in nothing but their seed, in the order of the study."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def model(self) -> str:
        return self.first.model

    @property
    def spec(self) -> dict:
        """That of the first seed."""
        return self.first.metrics.spec

    @cached_property
    def accuracy(self) -> Estimate:
        """Test accuracy: over the seeds where there are several, else one run with the interval of its test part."""
        if len(self.results) > 1:
            return mean_over_seeds([result.metrics.test.accuracy for result in self.results])
        test = self.first.metrics.test
        return Estimate(test.accuracy, *test.accuracy_ci95, seeds=1)

    def mean(self, value: Callable[[Result], float | None]) -> float | None:
        """Mean of a figure over the seeds; None where any of them has none."""
        values = [value(result) for result in self.results]
        return None if None in values else statistics.fmean(values)


def group_seeds(results: Iterable[Result]) -> list[SeedGroup]:
    """Put experiments that differ only in their seed together, in order of first appearance."""
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        # The recipe's values, not its name alone: a study may override single values for some of its entries.
        values = canonical_json({key: part for key, part in result.metrics.spec.items() if key != "seed"})
        groups.setdefault((result.dataset, result.model, result.recipe, values), []).append(result)
    return [SeedGroup(tuple(group)) for group in groups.values()]


def several_recipes(groups: Iterable[SeedGroup]) -> bool:
    """Whether the groups of a dataset differ in their recipe, so that a label has to name it."""
    return len({group.first.recipe for group in groups}) > 1


def label(group: SeedGroup, with_recipe: bool) -> str:
    """Name of a group among the groups of its dataset: the model, and the recipe where there are several."""
    name = display_name(group.model)
    return f"{name} ({group.first.recipe})" if with_recipe else name


def ranked(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Groups by their accuracy, the best first; equals stay in their order."""
    return sorted(groups, key=lambda group: group.accuracy.value, reverse=True)


def best_by_model(groups: list[SeedGroup]) -> dict[str, SeedGroup]:
    """Each model's group of the highest accuracy, in order of the models' first appearance."""
    best = {group.model: group for group in reversed(ranked(groups))}  # the last of a model stays
    return {group.model: best[group.model] for group in groups}


def interval_caption(groups: list[SeedGroup]) -> str:
    """What the accuracies of one dataset's groups are means of, and what their intervals are; no final stop."""
    images = f"{groups[0].first.metrics.test.n:,} test images"
    seeds = {len(group.results) for group in groups}
    if seeds == {1}:
        return f"{images}, one run each; 95 % interval of the test part (Wilson)"
    runs = f"mean of {max(seeds)} seeds" if len(seeds) == 1 else f"mean of up to {max(seeds)} seeds"
    single = "; single runs: interval of the test part (Wilson)" if 1 in seeds else ""
    return f"{images}, {runs}; 95 % interval over the seeds (Student's t){single}"


def mean_wall_seconds(group: SeedGroup) -> float:
    """Wall time of one training in seconds, mean over the seeds."""
    return statistics.fmean(result.timing.wall_seconds for result in group.results)


def budget_lines(trainings: Iterable[Training]) -> list[list[Training]]:
    """Which trainings of one dataset are budgets of one another: of one model, by recipes equal in all but `epochs`.

    Returns:
        A line for each model and recipe with two or more numbers of epochs, the fewest first.
    """
    lines: dict[tuple[str, str], list[Training]] = {}
    for training in sorted(trainings, key=_epochs):
        # The recipe's values, not its name: recipes of two names may be equal, an entry of a study may override some.
        others = {name: value for name, value in training.spec["recipe"].items() if name != "epochs"}
        lines.setdefault((training.model, canonical_json(others)), []).append(training)
    return [line for line in lines.values() if _epochs(line[0]) < _epochs(line[-1])]


def _epochs(training: Training) -> int:
    return training.spec["recipe"]["epochs"]
