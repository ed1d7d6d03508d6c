"""The report's opening in sentences made from the numbers: result, question, conditions, the published study."""

from dataclasses import dataclass

from deepnets.comparison.aggregate import Estimate, SeedGroup
from deepnets.comparison.published import Published
from deepnets.comparison.statistics_file import Statistics
from deepnets.models import display_name
from deepnets.reporting import verdicts
from deepnets.reporting.markdown import enumerate_words
from deepnets.reporting.started_from import how_trained


@dataclass(frozen=True)
class Row:
    """One run of a dataset's table, and the row of the published study for its network, if there is one."""

    group: SeedGroup
    published: Published | None


def question(study: str, rows: dict[str, list[Row]]) -> str:
    """Return the sentence about what the study asks. `rows`: by dataset, in the order of the study."""
    groups = [row.group for dataset in rows.values() for row in dataset]
    models = list(dict.fromkeys(display_name(group.model) for group in groups))
    recipes = {group.first.recipe for group in groups}
    datasets = verdicts.counted(list(rows), "datasets")
    if len(models) == 1:
        asked = f"how well {models[0]} classifies {datasets}"
    elif 2 < len(models) <= verdicts.NAMED:
        asked = f"which of {len(models)} networks ({enumerate_words(models)}) classifies {datasets} best"
    else:
        asked = f"which of {verdicts.counted(models, 'networks')} classifies {datasets} best"
    how = [f"{len(recipes)} recipes"] if len(recipes) > 1 else []
    conditions = enumerate_words([*how, _seeds(groups)])
    trained = how_trained(result for group in groups for result in group.results)
    return f"The study {study} asks {asked} {trained}, with {conditions}."


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


def as_sentence(clauses: list[str]) -> str:
    """Join clauses, of which each may start with a small letter, into a sentence."""
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def against_published(rows: dict[str, list[Row]]) -> str:
    """Return the sentence about the published accuracies: how many are exceeded, and by how many intervals."""
    pairs: dict[tuple[str, str], list[_Compared]] = {}
    for dataset, runs in rows.items():
        for row in runs:
            if row.published:
                compared = _Compared(row.group.accuracy, row.published.test_accuracy, row.group.validation_accuracy)
                pairs.setdefault((dataset, row.published.model), []).append(compared)
    if not pairs and all(row.group.first.is_pretrained for runs in rows.values() for row in runs):
        return "The published study (Gosaye) trained from scratch, so its numbers are not compared with these."
    if not pairs:
        return "The published study (Gosaye) has no number for any of these pairs of network and dataset."
    best = {pair: max(runs, key=lambda run: run.validation) for pair, runs in pairs.items()}
    above = [run for run in best.values() if run.is_above]
    clear = sum(run.is_clearly_above for run in above)
    of = " of the run that is best on validation" if any(len(runs) > 1 for runs in pairs.values()) else ""
    if len(pairs) == 1:
        [((dataset, model), run)] = best.items()
        relation = "above" if above else "not above"
        return (
            f"The test accuracy{of} of {display_name(model)} on {dataset} is {relation} the published "
            f"{run.published:.2f} %{_clearly(clear, len(above))}."
        )
    below = [f"{display_name(model)} on {dataset}" for (dataset, model), run in best.items() if not run.is_above]
    if not below:
        count, exceptions = "both" if len(pairs) == 2 else f"all {len(pairs)}", ""
    else:
        count = f"{len(above) or 'none'} of {len(pairs)}"
        exceptions = f"; not above: {verdicts.counted(below, 'pairs')}" if above else ""
    return (
        f"Test accuracy{of} is above the published one in {count} pairs that have one"
        f"{_clearly(clear, len(above))}{exceptions}."
    )


@dataclass(frozen=True)
class _Compared:
    """The accuracy of a run (a fraction with its interval), the published one in percent, and that on validation."""

    ours: Estimate
    published: float
    validation: float

    @property
    def is_above(self) -> bool:
        # Compared as printed: a published 98.93 is not exceeded by 98.9301.
        return round(100 * self.ours.value, 2) > self.published

    @property
    def is_clearly_above(self) -> bool:
        return 100 * self.ours.low > self.published


def _clearly(clear: int, above: int) -> str:
    if not above:
        return ""
    if not clear:
        return ", though within the 95 % interval"
    if clear < above:
        return f", in {clear} of them by more than the 95 % interval"
    return ", by more than the 95 % interval" if above == 1 else ", each by more than the 95 % interval"


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
