"""Put the statistics of one dataset into words: what is best, what cannot be distinguished, what would settle it.

Of each model, the recipe with the best validation accuracy stands for it. Whether two differ is decided by their paired
test with Holm's correction, never by their intervals.
"""

from dataclasses import dataclass
from math import floor, log10

from deepnets.comparison.aggregate import SeedGroup, best_by_model, group_name, ranked, several_recipes
from deepnets.comparison.statistics_file import Pair, Settle, Statistics
from deepnets.reporting.markdown import enumerate_words

_NAMED = 6  # longer lists are counted, not read
_OPEN_SHOWN = 3  # open pairs that get a sentence; figure and statistics.json have all


@dataclass(frozen=True)
class Standing:
    """The models of a dataset, compared with the one that has the highest test accuracy.

    Attributes:
        leader: of the groups that stand for a model, the one with the highest test accuracy.
        rivals: the others that it is not better than, by the paired tests, with the pair's outcome.
        others: the number of models that are compared with the leader.
    """

    leader: SeedGroup
    rivals: list[tuple[SeedGroup, Pair]]
    others: int

    @property
    def has_winner(self) -> bool:
        """Whether the leader is better than each other model, by the paired tests."""
        return self.others > 0 and not self.rivals


def standing(groups: list[SeedGroup], statistics: Statistics) -> Standing:
    """Compare the models of a dataset; `groups` have their candidates of the statistics."""
    places = {id(candidate): place for place, candidate in enumerate(statistics.compared)}
    of_models = [group for group in best_by_model(groups).values() if id(group.candidate) in places]
    leader, *others = sorted(ranked(of_models), key=lambda group: places[id(group.candidate)])
    outcomes = statistics.outcomes()
    pairs = [(group, outcomes[places[id(leader.candidate)], places[id(group.candidate)]]) for group in others]
    return Standing(leader, [(group, pair) for group, pair in pairs if pair.verdict != "a"], len(others))


def best(dataset: str, groups: list[SeedGroup], statistics: Statistics) -> str:
    """Return the clause about the best network of a dataset; it reports what cannot be distinguished from it."""
    found, with_recipe = standing(groups, statistics), several_recipes(groups)
    estimate, name = found.leader.accuracy, group_name(found.leader, with_recipe)
    value = f"{100 * estimate.value:.2f} %"
    interval = f"(95 % interval {100 * estimate.low:.2f} to {100 * estimate.high:.2f} %)"
    if not found.rivals:
        was = "was best with" if found.has_winner else "reached"
        return f"on {dataset}, {name} {was} {value} test accuracy {interval}"
    ties = {
        "equivalent": "is equivalent to",
        "open": "cannot be distinguished from",
        "b": "was worse, with the one seed that is compared, than",  # of the two, only one has several seeds
    }
    clauses = []
    for verdict, words in ties.items():
        names = [group_name(group, with_recipe) for group, pair in found.rivals if pair.verdict == verdict]
        if names:
            clauses.append(f"{words} {enumerate_words(names) if len(names) <= _NAMED else f'{len(names)} others'}")
    return f"on {dataset}, {name} had the highest test accuracy, {value} {interval}, but {' and '.join(clauses)}"


def open_questions(groups: list[SeedGroup], statistics: Statistics) -> list[str]:
    """Return sentences about what would settle which model is best; [] if that is settled."""
    found, with_recipe = standing(groups, statistics), several_recipes(groups)
    name = group_name(found.leader, with_recipe)
    open_pairs = [(group, pair) for group, pair in found.rivals if pair.settle]
    sentences = [
        _open(name, group_name(group, with_recipe), pair, pair.settle, statistics.n)
        for group, pair in open_pairs[:_OPEN_SHOWN]
        if pair.settle
    ]
    left = len(open_pairs) - len(sentences)
    return [*sentences, *([f"{left} more are open against {name}."] if left > 0 else [])]


def what_was_compared(groups: list[SeedGroup], statistics: Statistics) -> str:
    """Return the sentences about how pairs were compared, and what that means for other seeds; "" for one candidate."""
    if len(groups) < 2:
        return ""
    seeds, folds = {pair.seeds for pair in statistics.pairs}, groups[0].folds
    tests = {
        "t tests over the folds": folds,
        "exact McNemar tests of the trained networks, which say nothing about other seeds": not folds and 1 in seeds,
        "t tests over seeds and images": not folds and seeds - {1},
    }
    number = "1 pair" if len(statistics.pairs) == 1 else f"{len(statistics.pairs):,} pairs"
    how = enumerate_words([test for test, used in tests.items() if used])
    chosen = "Of each network, the recipe in bold has the best validation accuracy. " if several_recipes(groups) else ""
    return (
        f"{chosen}Those that share a letter under Group cannot be distinguished: paired tests on the same images"
        f" ({how}), {number}, 5 % after Holm's correction. Equivalent: within"
        f" {100 * statistics.margin:g} percentage points."
    )


def _open(leader: str, rival: str, pair: Pair, settle: Settle, images: int) -> str:
    seen, smallest = 100 * abs(pair.difference), 100 * settle.smallest_difference
    runs = f" with {pair.seeds} seeds" if pair.seeds > 1 else ""
    start = (
        f"{leader} and {rival} differ by {seen:.2f} points; {images:,} test images{runs} show differences of"
        f" {smallest:.2f} points or more (in 80 % of studies)."
    )
    ways = [f"about {_rounded(settle.images):,} test images"] if settle.images else []
    ways += [f"about {_rounded(settle.seeds):,} seeds each"] if settle.seeds else []
    if not ways:
        return f"{start} No number of test images would show that they differ."
    return f"{start} To show the difference seen takes {' or '.join(ways)}."


def _rounded(number: int) -> int:
    """Return a number with two digits that count: it is an estimate."""
    return round(number, 1 - floor(log10(number)))
