"""Aggregate experiments that differ only in their seed: means, intervals, ranking."""

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepnets.config.experiment import recipe_title
from deepnets.evaluation.results import Result
from deepnets.models import display_name
from deepnets.utils.files import canonical_json


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; `seeds` is the number of runs behind it."""

    value: float
    low: float
    high: float
    seeds: int


def mean_over_seeds(accuracies: list[float]) -> Estimate:
    """Return the mean of two or more accuracies (fractions) with Student's t interval, cut to 0 and 1."""
    from scipy.special import stdtrit  # costs 0.2 s; most users of this module have one seed

    n = len(accuracies)
    mean = statistics.fmean(accuracies)
    half_width = float(stdtrit(n - 1, 0.975)) * statistics.stdev(accuracies) / math.sqrt(n)
    return Estimate(mean, max(0.0, mean - half_width), min(1.0, mean + half_width), n)


@dataclass(frozen=True)
class SeedGroup:
    """Experiments that differ only in their seed, in the order of the study."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def model(self) -> str:
        return self.first.model

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the first seed."""
        return self.first.metrics.spec

    @cached_property
    def accuracy(self) -> Estimate:
        """Test accuracy: the mean over several seeds, or one run with its interval over the test images."""
        if len(self.results) > 1:
            return mean_over_seeds([result.metrics.test.accuracy for result in self.results])
        test = self.first.metrics.test
        low, high = test.accuracy_ci95
        return Estimate(test.accuracy, low, high, seeds=1)

    def mean(self, value: Callable[[Result], float | None]) -> float | None:
        """Return the mean of a value over the seeds, None if the value of any seed is None."""
        values = [value(result) for result in self.results]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None


def group_seeds(results: Iterable[Result]) -> list[SeedGroup]:
    """Group experiments that differ only in their seed, in order of first appearance."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        # The recipe's values, not its name alone: a recipe's name stays when its values in config.yaml change.
        values = canonical_json({key: value for key, value in result.metrics.spec.items() if key != "seed"})
        groups.setdefault((result.dataset, result.model, result.recipe, values), []).append(result)
    return [SeedGroup(tuple(group)) for group in groups.values()]


def several_recipes(groups: Iterable[SeedGroup]) -> bool:
    """Return whether the groups of a dataset have different recipes, so that a name must include the recipe."""
    return len({group.first.recipe for group in groups}) > 1


def group_name(group: SeedGroup, with_recipe: bool) -> str:
    """Return the name of a group within its dataset: the model, followed by the recipe if `with_recipe`."""
    name = display_name(group.model)
    return f"{name} ({recipe_title(group.first.recipe)})" if with_recipe else name


def ranked(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Sort groups by accuracy, the best first; equal groups keep their order."""
    return sorted(groups, key=lambda group: group.accuracy.value, reverse=True)


def best_by_model(groups: list[SeedGroup]) -> dict[str, SeedGroup]:
    """Return the most accurate group of each model, in the order in which the models first appear."""
    best = {group.model: group for group in reversed(ranked(groups))}  # the best group of a model comes last
    return {group.model: best[group.model] for group in groups}


def interval_caption(groups: list[SeedGroup]) -> str:
    """Return what the accuracies of one dataset are means of and what their intervals are; without a full stop."""
    images = f"{groups[0].first.metrics.test.n:,} test images"
    seeds = {len(group.results) for group in groups}
    if seeds == {1}:
        return f"{images}, one run each; 95 % interval over the test images (Wilson)"
    runs = f"mean of {max(seeds)} seeds" if len(seeds) == 1 else f"mean of up to {max(seeds)} seeds"
    single = "; single runs: interval over the test images (Wilson)" if 1 in seeds else ""
    return f"{images}, {runs}; 95 % interval over the seeds (Student's t){single}"


def mean_wall_seconds(group: SeedGroup) -> float:
    """Return the wall time of a training run in seconds, the mean over the seeds."""
    return statistics.fmean(result.timing.wall_seconds for result in group.results)
