"""The report's opening in sentences made from the numbers: result, question, conditions, the published study."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepnets.comparison.aggregate import SeedGroup
from deepnets.comparison.intervals import difference_interval, share_interval
from deepnets.comparison.published import Published
from deepnets.comparison.statistics_file import Statistics
from deepnets.models import display_name
from deepnets.reporting import verdicts
from deepnets.reporting.markdown import enumerate_words
from deepnets.reporting.started_from import how_trained

_PARTS = 3  # sets of networks, and in the title datasets, that are named
_CHANCE = "the 95 % interval of the difference"


@dataclass(frozen=True)
class Row:
    """One run of a dataset's table, and the row of the published study for its network, if there is one."""

    group: SeedGroup
    published: Published | None


def question(study: str, rows: dict[str, list[Row]], whose_recipe: str) -> str:
    """Return the sentence about what the study asks.

    Args:
        study: its name.
        rows: by dataset, in the order of the study.
        whose_recipe: what follows the networks, as from `settings.whose_recipe`: they may not have equal conditions.
    """
    groups = [row.group for dataset in rows.values() for row in dataset]
    recipes = {group.first.recipe for group in groups}
    how = [f"{len(recipes)} recipes in all"] if len(recipes) > 1 else []
    conditions = enumerate_words([*how, _seeds(groups)])
    trained = how_trained(result for group in groups for result in group.results)
    return f"The study {study} asks {_asked(rows, whose_recipe)} {trained}, with {conditions}."


def _asked(rows: dict[str, list[Row]], whose_recipe: str) -> str:
    parts = same_networks(rows)
    if len(parts) > _PARTS:
        every = list(dict.fromkeys(model for models, _ in parts for model in models))
        asked = f"which of {verdicts.counted(every, 'networks')}{whose_recipe} classifies"
        return f"{asked} {verdicts.counted(list(rows), 'datasets')} best, each with some of these networks,"
    clauses, whose = [], whose_recipe
    for models, datasets in parts:
        where = verdicts.counted(datasets, "datasets")
        if len(models) == 1:
            clauses.append(f"how well {models[0]} classifies {where}")
            continue
        named = verdicts.counted(models, "networks")
        if 2 < len(models) <= verdicts.NAMED:
            named = f"{len(models)} networks ({named})"
        clauses.append(f"which of {named}{whose} classifies {where} best")
        whose = ""
    return enumerate_words(clauses)


def title(rows: dict[str, list[Row]]) -> str:
    """Return which networks are on which datasets: "4 networks on mnist, 2 of them on cifar10"."""
    parts = same_networks(rows)
    number = len({model for models, _ in parts for model in models})
    if len(parts) > _PARTS:
        return f"{number} networks on {len(rows)} datasets, not each on all"
    (first, _), clauses = parts[0], list[str]()
    for models, datasets in parts:
        named = models[0] if len(models) == 1 else f"{len(models)} networks"
        if clauses and len(models) > 1 and set(models) < set(first):
            named = f"{len(models)} of them"
        are_named = len(datasets) == 1 or len(rows) <= _PARTS
        where = enumerate_words(datasets) if are_named else f"{len(datasets)} datasets"
        clauses.append(f"{named} on {where}")
    return ", ".join(clauses)


def same_networks(rows: Mapping[str, list[Row]]) -> list[tuple[list[str], list[str]]]:
    """Return the names of networks with the datasets that have these and no others, the most networks first."""
    found: dict[frozenset[str], tuple[list[str], list[str]]] = {}
    for dataset, runs in rows.items():
        models = list(dict.fromkeys(row.group.display_name for row in runs))
        found.setdefault(frozenset(models), (models, []))[1].append(dataset)
    return sorted(found.values(), key=lambda part: -len(part[0]))


def result(rows: dict[str, list[Row]], statistics: dict[str, Statistics]) -> str:
    """Return the sentence about the best network of each dataset; it reports an order that is open."""
    clauses = [
        verdicts.best(dataset, [row.group for row in runs], statistics[dataset])
        for dataset, runs in list(rows.items())[: verdicts.NAMED]
    ]
    left = len(rows) - len(clauses)
    if left:
        clauses.append(f"the tables below have the other {left}" if left > 1 else "the last table below has the other")
    return as_sentence(clauses)


def not_learned(rows: Mapping[str, list[Row]], statistics: Mapping[str, Statistics]) -> str:
    """Return the sentence on networks that answer as by guessing, whatever their recipe; "" without one.

    Where no network is clearly better than always naming the most frequent class, the first sentence reports that.
    """
    clauses = []
    for dataset, runs in rows.items():
        groups = [row.group for row in runs]
        if verdicts.none_is_clearly_better(groups, statistics[dataset]):
            continue
        leader, models = verdicts.standing(groups, statistics[dataset]).leader, {group.model for group in groups}
        for model in dict.fromkeys(group.model for group in groups):
            tried = [group for group in groups if group.model == model]
            if all(verdicts.is_guessing(group, statistics[dataset]) for group in tried):
                end = ", so it is not really compared" * (len(models) > 1 and model != leader.model)
                clauses.append(f"on {dataset}, {tried[0].display_name} did not learn in {_guessed(tried)}{end}")
    left = len(clauses) - verdicts.NAMED
    more = [f"nor did {left} more network{'s' * (left > 1)}"] if left > 0 else []
    return as_sentence([*clauses[: verdicts.NAMED], *more]) if clauses else ""


def _guessed(groups: list[SeedGroup]) -> str:
    """Return the number of runs and their test accuracies: "any of its 9 runs (20.00 %, as by guessing)"."""
    found = sorted(result.metrics.test.accuracy for group in groups for result in group.results)
    runs = "its only run" if len(found) == 1 else f"any of its {len(found)} runs"
    shown = " to ".join(dict.fromkeys(f"{100 * value:.2f}" for value in (found[0], found[-1])))
    return f"{runs} ({shown} % test accuracy, as by guessing)"


def place(dataset: str, rows: Mapping[str, list[Row]]) -> str:
    """Return how a clause after the first sentence starts: "on mnist, "; "" where there is one dataset."""
    return f"on {dataset}, " if len(rows) > 1 else ""


def as_sentence(clauses: list[str]) -> str:
    """Join clauses, of which each may start with a small letter, into a sentence."""
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def against_published(rows: dict[str, list[Row]], datasets: set[str]) -> str:
    """Return the sentence about the published accuracies: how many are exceeded, and how many by more than chance.

    "" where none of the datasets is, or stands for, one of the published study; `datasets`: those that are or do.
    """
    if datasets.isdisjoint(rows):
        return ""
    pairs: dict[tuple[str, str], list[_Compared]] = {}
    variants: dict[str, str] = {}
    for dataset, runs in rows.items():
        for row in runs:
            if row.published:
                pairs.setdefault((dataset, row.published.model), []).append(_Compared(row.group, row.published))
                if row.published.dataset != dataset:
                    variants[dataset] = row.published.dataset
    if not pairs and all(row.group.first.is_pretrained for runs in rows.values() for row in runs):
        return "The published study (Gosaye) trained from scratch, so its numbers are not compared with these."
    if not pairs:
        return "The published study (Gosaye) has no number for any of these pairs of network and dataset."
    best = {pair: max(runs, key=lambda run: run.ours.validation_accuracy) for pair, runs in pairs.items()}
    above = {f"{display_name(model)} on {dataset}": run for (dataset, model), run in best.items() if run.is_above}
    clear = {name: run.is_clearly_above for name, run in above.items()}
    of = " of the run that is best on validation" if any(len(runs) > 1 for runs in pairs.values()) else ""
    if len(pairs) == 1:
        [((dataset, model), run)] = best.items()
        relation = "above" if above else "not above"
        return (
            f"The test accuracy{of} of {display_name(model)} on {dataset} is {relation} the published "
            f"{run.published.test_accuracy:.2f} %{_of_originals(variants)}{_clearly(clear)}."
        )
    below = [f"{display_name(model)} on {dataset}" for (dataset, model), run in best.items() if not run.is_above]
    if not below:
        count, exceptions = "both" if len(pairs) == 2 else f"all {len(pairs)}", ""
    else:
        count = f"{len(above) or 'none'} of {len(pairs)}"
        exceptions = f"; not above: {verdicts.counted(below, 'pairs')}" if above else ""
    return (
        f"Test accuracy{of} is above the published one in {count} pairs that have one"
        f"{_of_originals(variants)}{_clearly(clear)}{exceptions}."
    )


@dataclass(frozen=True)
class _Compared:
    """A run, and the row of the published study for its network."""

    ours: SeedGroup
    published: Published

    @property
    def is_above(self) -> bool:
        # Compared as printed: a published 98.93 is not exceeded by 98.9301.
        return round(100 * self.ours.accuracy.value, 2) > self.published.test_accuracy

    @property
    def is_clearly_above(self) -> bool:
        """Whether the 95 % interval of the difference is above 0; the published share is of as many test images.

        Both have the same images as a rule, but only one has its answers here, so the interval is rather too wide.
        """
        ours, theirs = self.ours.accuracy, self.published.test_accuracy / 100
        of_theirs = share_interval(theirs, self.ours.first.metrics.test.n)
        return difference_interval(ours.value, (ours.low, ours.high), theirs, of_theirs)[0] > 0


def _of_originals(variants: dict[str, str]) -> str:
    """Return which datasets are compared with the ones that they stand for; `variants`: the latter by the former."""
    against = [f"{dataset} against {original} itself" for dataset, original in variants.items()]
    return f" ({enumerate_words(against)})" if against else ""


def _clearly(above: Mapping[str, bool]) -> str:
    """Return by how much the pairs that are above the published accuracy are so; `above`: whether clearly, by name."""
    if not above:
        return ""
    clear = sum(above.values())
    if not clear:
        return f", though by no more than {_CHANCE}"
    if clear < len(above):
        fewer = clear <= len(above) / 2
        names = [name for name, is_clear in above.items() if is_clear == fewer]
        which = f" ({'' if fewer else 'not in '}{enumerate_words(names)})" if len(names) <= verdicts.NAMED else ""
        return f", in {clear} of them{which} by more than {_CHANCE}"
    return f", by more than {_CHANCE}" if clear == 1 else f", each by more than {_CHANCE}"


def _seeds(groups: list[SeedGroup]) -> str:
    found = by_folds(groups)
    if len(found) == 1:
        return _of_equal_folds(groups, groups[0].folds)
    return ", and ".join(_of_equal_folds(each, folds, f" on {datasets_of(each)}") for folds, each in found.items())


def _of_equal_folds(groups: list[SeedGroup], folds: int, where: str = "") -> str:
    if folds:
        return f"{folds} folds{where}, of which each is the test split once"
    fewest, most = (extreme(len(group.results) for group in groups) for extreme in (min, max))
    if fewest < most:
        return f"{fewest} to {most} seeds each{where}"
    count = "one seed" if most == 1 else f"{most} seeds"
    return f"{count}{where}" if len(groups) == 1 else f"{count} each{where}"


def by_folds(groups: list[SeedGroup]) -> dict[int, list[SeedGroup]]:
    """Return the runs by the number of folds of their dataset, 0 without folds."""
    found: dict[int, list[SeedGroup]] = {}
    for group in groups:
        found.setdefault(group.folds, []).append(group)
    return found


def datasets_of(groups: list[SeedGroup]) -> str:
    """Return the names of the datasets of runs, in words, or if there are many, their number."""
    return verdicts.counted(list(dict.fromkeys(group.first.dataset for group in groups)), "datasets")
