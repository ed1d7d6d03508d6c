"""What was asked and what was found, in three sentences made from the numbers."""

from dataclasses import dataclass

from deepnets.comparison.aggregate import Estimate, SeedGroup, label, ranked, several_recipes
from deepnets.comparison.published import Published
from deepnets.models import display_name
from deepnets.reporting.markdown import enumerate_words

_NAMED = 6  # longer lists are counted, not read


@dataclass(frozen=True)
class Row:
    """One line of a dataset's table: a group, and the row of the reproduced study for its network, if any."""

    group: SeedGroup
    published: Published | None


def asked(study: str, rows: dict[str, list[Row]]) -> str:
    """The first sentence. `rows`: by dataset, in the order of the study, as for the other two."""
    groups = [row.group for dataset in rows.values() for row in dataset]
    models = list(dict.fromkeys(display_name(group.model) for group in groups))
    recipes = {group.first.recipe for group in groups}
    datasets = _named(list(rows), "datasets")
    if len(models) == 1:
        question = f"how well {models[0]} classifies {datasets}"
    elif 2 < len(models) <= _NAMED:
        question = f"which of {len(models)} networks ({enumerate_words(models)}) classifies {datasets} best"
    else:
        question = f"which of {_named(models, 'networks')} classifies {datasets} best"
    how = [f"{len(recipes)} recipes"] if len(recipes) > 1 else []
    conditions = enumerate_words([*how, _seeds(groups)])
    return f"The study {study} asks {question} when trained from scratch, with {conditions}."


def found(rows: dict[str, list[Row]]) -> str:
    """The second sentence: the best model of each dataset, and whether the order of the first is settled."""
    parts = [_best(dataset, [row.group for row in part]) for dataset, part in list(rows.items())[:_NAMED]]
    left = len(rows) - len(parts)
    if left:
        parts.append(f"the tables below have the other {left}" if left > 1 else "the last table below has the other")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def against_published(rows: dict[str, list[Row]]) -> str:
    """The third sentence: how many accuracies of the reproduced study are exceeded, and by which the interval does."""
    pairs: dict[tuple[str, str], list[Row]] = {}
    for dataset, part in rows.items():
        for row in part:
            if row.published:
                pairs.setdefault((dataset, row.published.model), []).append(row)
    if not pairs:
        return "The reproduced study has no figure for any of these pairs to compare with."
    best = {pair: max(tried, key=lambda row: row.group.accuracy.value) for pair, tried in pairs.items()}
    above = [row for row in best.values() if _margin(row) > 0]
    clear = sum(100 * row.group.accuracy.low > row.published.test_accuracy for row in above)
    of = " of the best run" if any(len(tried) > 1 for tried in pairs.values()) else ""
    if len(pairs) == 1:
        [((dataset, model), row)] = best.items()
        side = "above" if above else "not above"
        return (
            f"The test accuracy{of} of {display_name(model)} on {dataset} is {side} the published "
            f"{row.published.test_accuracy:.2f} %{_clearly(clear, len(above))}."
        )
    below = [f"{display_name(model)} on {dataset}" for (dataset, model), row in best.items() if _margin(row) <= 0]
    if not below:
        count, exceptions = "both" if len(pairs) == 2 else f"all {len(pairs)}", ""
    else:
        count = f"{len(above) or 'none'} of {len(pairs)}"
        exceptions = f"; not above: {_named(below, 'pairs')}" if above else ""
    return (
        f"Test accuracy{of} is above the published one in {count} pairs that have one"
        f"{_clearly(clear, len(above))}{exceptions}."
    )


def interval_text(estimate: Estimate) -> str:
    """An interval in percent: "96.79 to 99.41 %"."""
    return f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f} %"


def _best(dataset: str, groups: list[SeedGroup]) -> str:
    best, *others = ranked(groups)
    with_recipe = several_recipes(groups)
    name, estimate = label(best, with_recipe), best.accuracy
    reached = f"{100 * estimate.value:.2f} % test accuracy (95 % interval {interval_text(estimate)})"
    if len(groups) == 1:
        return f"on {dataset}, {name} reached {reached}"
    rivals = [group for group in others if group.accuracy.high >= estimate.low]
    if not rivals:
        return f"on {dataset}, {name} was best with {reached}"
    names = _named([label(group, with_recipe) for group in rivals], "others")
    overlap = f"that of {names}" if len(rivals) == 1 else f"those of {names}"
    return f"on {dataset}, {name} was ahead with {reached}, but its interval overlaps {overlap}: the order is open"


def _margin(row: Row) -> float:
    # Printed digits decide: a published 98.93 is not beaten by 98.9301.
    return round(100 * row.group.accuracy.value, 2) - row.published.test_accuracy


def _clearly(clear: int, above: int) -> str:
    if not above:
        return ""
    if not clear:
        return ", though within the 95 % interval"
    if clear < above:
        return f", in {clear} of them by more than the 95 % interval"
    return ", by more than the 95 % interval" if above == 1 else ", each by more than the 95 % interval"


def _named(names: list[str], kind: str) -> str:
    return enumerate_words(names) if len(names) <= _NAMED else f"{len(names)} {kind}"


def _seeds(groups: list[SeedGroup]) -> str:
    fewest, most = (extreme(len(group.results) for group in groups) for extreme in (min, max))
    if fewest < most:
        return f"{fewest} to {most} seeds each"
    count = "one seed" if most == 1 else f"{most} seeds"
    return count if len(groups) == 1 else f"{count} each"
