"""Aggregate experiments that differ only in their seed: means, intervals, ranking."""

import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from deepnets.comparison.statistics_file import Candidate, Statistics
from deepnets.comparison.sweeps import titles
from deepnets.config.experiment import recipe_title
from deepnets.evaluation.results import Result
from deepnets.utils.files import canonical_json


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedGroup:
    """Experiments that differ only in their seed, in the order of the study.

    Before statistics.json is read, `candidate`, what it has of them, is None, and `title`, the recipe for readers, "".
    """

    results: tuple[Result, ...]
    candidate: Candidate | None = None
    title: str = ""

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def model(self) -> str:
        return self.first.model

    @property
    def display_name(self) -> str:
        """The name of its model for readers."""
        return self.first.display_name

    @property
    def recipe(self) -> str:
        return self.first.recipe

    @property
    def recipe_parts(self) -> list[str]:
        """Its recipe for readers, in parts: ["quick", "lr 0.03"]."""
        return (self.title or recipe_title(self.recipe)).split(", ")

    @property
    def folds(self) -> int:
        """The number of folds; 0 without folds, and for a single one, whose networks are as those without."""
        number = len({result.fold for result in self.results} - {None})
        return number if number > 1 else 0

    @property
    def test_images(self) -> int:
        """The number of test images, of all folds together."""
        return sum(self._fold_sizes.values())

    @property
    def first_rows(self) -> list[int]:
        """Of each network, where its test images begin among those of all folds; 0 without folds."""
        sizes = self._fold_sizes
        return [sum(sizes[fold] for fold in sizes if fold < (result.fold or 0)) for result in self.results]

    @property
    def _fold_sizes(self) -> dict[int, int]:
        return {result.fold or 0: result.metrics.test.n for result in self.results}

    @property
    def runs(self) -> str:
        """The number of its networks in words: "3 seeds", "5 folds", "5 folds, 2 times"; "" for a single one."""
        if self.folds:
            repeated = len(self.results) // self.folds
            return f"{self.folds} folds{f', {repeated} times' if repeated > 1 else ''}"
        return f"{len(self.results)} seeds" if len(self.results) > 1 else ""

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the first seed."""
        return self.first.metrics.spec

    @property
    def key(self) -> tuple[str, str, tuple[int, ...]]:
        """Model, recipe and seeds; no other group of a dataset has the same."""
        return self.model, self.recipe, tuple(result.seed for result in self.results)

    @cached_property
    def validation_accuracy(self) -> float:
        """The mean over the seeds, a fraction. All choices among recipes are made by it."""
        return statistics.fmean(result.metrics.validation.accuracy for result in self.results)

    @cached_property
    def accuracy(self) -> Estimate:
        """Test accuracy with its interval, by statistics.json; of a single run, metrics.json has it as well.

        Raises:
            ValueError: there are several seeds, and statistics.json was not read.
        """
        if self.candidate is not None:
            low, high = self.candidate.ci95
            return Estimate(self.candidate.accuracy, low, high)
        if len(self.results) > 1:
            raise ValueError(f"the interval of several seeds is in statistics.json: {self.key}")
        test = self.first.metrics.test
        low, high = test.accuracy_ci95
        return Estimate(test.accuracy, low, high)

    @property
    def peak_memory_mb(self) -> float | None:
        """The highest peak memory of its training runs in MB, as a machine must have it for each; None if not known."""
        peaks = [result.timing.peak_memory_mb for result in self.results]
        return max(peak for peak in peaks if peak) if all(peaks) else None

    def stopped_early(self, stopped: Collection[Path]) -> bool:
        """Whether a search stopped it early; `stopped`: the folders of the experiments in which one did."""
        return all(result.directory in stopped for result in self.results)

    def mean(self, value: Callable[[Result], float | None]) -> float | None:
        """Return the mean of a value over the seeds, None if the value of any seed is None."""
        values = [value(result) for result in self.results]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None


def group_seeds(results: Iterable[Result]) -> list[SeedGroup]:
    """Group experiments that differ only in their seed, and in the fold that it chooses, in order of appearance."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        # The recipe's values, not its name alone: a recipe's name stays when its values in config.yaml change.
        spec = result.metrics.spec
        dataset = {key: value for key, value in spec["dataset"].items() if key != "fold"}
        values = canonical_json({**spec, "dataset": dataset, "seed": None})
        groups.setdefault((result.dataset, result.model, result.recipe, values), []).append(result)
    return [SeedGroup(tuple(group)) for group in groups.values()]


def shared_folds(candidates: Iterable[Sequence[Result]]) -> list[int]:
    """Return the folds that each candidate has a network of, ascending; [0] without folds."""
    first, *others = [{result.fold or 0 for result in results} for results in candidates]
    return sorted(first.intersection(*others))


def passes(results: Sequence[Result], folds: Collection[int] | None = None) -> list[list[Result]]:
    """Return the networks in sets that together predict each test image once: one of each fold, or one alone.

    A network that belongs to no set is left out: other folds have fewer networks, as in an unfinished study.

    Args:
        results: of one candidate.
        folds: those whose images are predicted; None: all that it has a network of.
    """
    of_fold: dict[int, list[Result]] = {}
    for result in results:
        if folds is None or (result.fold or 0) in folds:
            of_fold.setdefault(result.fold or 0, []).append(result)
    return [list(each) for each in zip(*(of_fold[fold] for fold in sorted(of_fold)), strict=False)]


def with_statistics(groups: Iterable[SeedGroup], statistics: Statistics) -> list[SeedGroup]:
    """Return the groups of a dataset, each with its candidate of statistics.json and the results that count in that.

    So the groups of a dataset have the same folds, unless no fold is shared by all.

    Raises:
        KeyError: the statistics are about other experiments, which `read_statistics` refuses.
    """
    of_key = {
        (each.model, each.recipe, tuple(network.seed for network in each.networks)): each
        for each in statistics.candidates
    }
    all_groups = list(groups)
    found = []
    for group, title in zip(all_groups, titles(all_groups), strict=True):
        candidate = of_key[group.key]
        results = tuple(result for result in group.results if result.seed in candidate.seeds)
        found.append(replace(group, candidate=candidate, results=results, title=title))
    return found


def several_recipes(groups: Iterable[SeedGroup]) -> bool:
    """Return whether the groups of a dataset have different recipes, so that a name must include the recipe."""
    return len({group.recipe for group in groups}) > 1


def group_name(group: SeedGroup, with_recipe: bool, left_out: Collection[str] = ()) -> str:
    """Return the name of a group within its dataset: the model, followed by the recipe if `with_recipe`.

    `left_out`: parts of the recipe that the name does without.
    """
    parts = [part for part in group.recipe_parts if part not in left_out] if with_recipe else []
    return f"{group.display_name} ({', '.join(parts)})" if parts else group.display_name


def by_validation(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Sort groups by validation accuracy, the best first; equal groups keep their order."""
    return sorted(groups, key=lambda group: group.validation_accuracy, reverse=True)


def best_by_model(groups: Iterable[SeedGroup]) -> dict[str, SeedGroup]:
    """Return the group that stands for each model: of its recipes, the one with the best validation accuracy.

    Of equal ones, the first. The models are in the order in which they first appear.
    """
    best: dict[str, SeedGroup] = {}
    for group in groups:
        known = best.setdefault(group.model, group)
        if group.validation_accuracy > known.validation_accuracy:
            best[group.model] = group
    return best


def most_epochs(groups: Iterable[SeedGroup]) -> dict[str, float]:
    """Return the most epochs of any recipe of each model, in the order in which the models first appear."""
    most: dict[str, float] = {}
    for group in groups:
        most[group.model] = max(most.get(group.model, 0), group.first.epochs)
    return most


def compared(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Return what a study compares on a dataset: what stands for each model, or the recipes of its only one."""
    groups = list(groups)
    chosen = list(best_by_model(groups).values())
    return chosen if len(chosen) > 1 else groups


def pareto_front(groups: Iterable[SeedGroup], cost: Callable[[SeedGroup], float]) -> list[SeedGroup]:
    """Return the groups that no other one beats in cost or test accuracy without losing in the other; cheapest first.

    Of equal groups, the first. It is for readers; no choice may be made by it.
    """
    front: list[SeedGroup] = []
    for group in sorted(groups, key=lambda group: (cost(group), -group.accuracy.value)):
        if not front or group.accuracy.value > front[-1].accuracy.value:
            front.append(group)
    return front


def interval_caption(groups: list[SeedGroup]) -> str:
    """Return what the accuracies of one dataset are means of and what their intervals are; without a full stop."""
    sizes = sorted(group.test_images for group in groups)  # unlike ones where no fold is shared by all groups
    images = f"{' to '.join(f'{size:,}' for size in dict.fromkeys((sizes[0], sizes[-1])))} test images"
    if any(group.folds for group in groups):
        runs = " or ".join(dict.fromkeys(group.runs or "one fold" for group in groups))
        return f"{images}, each predicted by a network that was not trained on it, {runs}; 95 % interval over the folds"
    seeds = {len(group.results) for group in groups}
    if seeds == {1}:
        return f"{images}, one run each; 95 % interval of each trained network (Wilson)"
    runs = f"mean of {max(seeds)} seeds" if len(seeds) == 1 else f"mean of up to {max(seeds)} seeds"
    single = "; single runs: over the images alone (Wilson)" if 1 in seeds else ""
    few = "; the spread over 2 seeds is hardly known" if 2 in seeds else ""
    return f"{images}, {runs}; 95 % interval over seeds and images{single}{few}"
