"""Put the statistics of one dataset into words: what is best, what cannot be distinguished, what would settle it.

Of each model, the recipe with the best validation accuracy stands for it, and the best model is the one that is best on
validation. Of a single model, its recipes are compared. Whether two differ is decided by their paired test with Holm's
correction, never by their intervals.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor, log10

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    by_validation,
    compared,
    group_name,
    several_recipes,
)
from deepnets.comparison.per_class import class_counts
from deepnets.comparison.statistics_file import MOST_SEEDS, Pair, Settle, Statistics
from deepnets.config.experiment import recipe_title
from deepnets.evaluation.metrics import is_imbalanced
from deepnets.evaluation.schemas import SplitMetrics
from deepnets.reporting.markdown import enumerate_words

NAMED = 6  # longer lists are counted, not read
FEW_IMAGES = 2  # of validation: a smaller lead may be chance, and is reported in images
_OPEN_SHOWN = 3  # open pairs that get a sentence; figure and statistics.json have all


@dataclass(frozen=True)
class Rival:
    """A network that the best one is not better than: `verdict` is "b" where it is better, "equivalent" or "open".

    `behind`: the best one's accuracy minus its own, where they are compared; a fraction.
    """

    group: SeedGroup
    pair: Pair
    verdict: str
    behind: float


@dataclass(frozen=True)
class Standing:
    """The networks of a dataset (one of each model, or the recipes of its only one) and the best on validation.

    Attributes:
        leader: of these, the one with the highest validation accuracy.
        rivals: the others that it is not better than, by the paired tests on the test images.
        others: all that are compared with the leader, the best on validation first.
    """

    leader: SeedGroup
    rivals: list[Rival]
    others: list[SeedGroup]

    @property
    def has_winner(self) -> bool:
        """Whether the leader is better than each other one, by the paired tests."""
        return bool(self.others) and not self.rivals

    @property
    def is_of_single_runs(self) -> bool:
        """Whether the leader and all others have one training run each, of which other seeds may differ."""
        return all(len(group.results) == 1 and group.first.fold is None for group in (self.leader, *self.others))

    @property
    def not_distinguished(self) -> list[SeedGroup]:
        """The leader, and those that cannot be distinguished from it, or are equivalent."""
        others = (rival.group for rival in self.rivals if rival.verdict != "b" and rival.pair.over != "nothing")
        return [self.leader, *others]

    @property
    def undecided(self) -> list[SeedGroup]:
        """What more seeds may change: the leader and its rivals; if it is better than all, the next on validation."""
        return [self.leader, *([rival.group for rival in self.rivals] or self.others[:1])]


def standing(groups: list[SeedGroup], statistics: Statistics) -> Standing:
    """Compare the networks of a dataset; `groups` have their candidates of the statistics."""
    leader, *others = by_validation(_tested(compared(groups), statistics))
    return Standing(leader, _rivals(leader, others, statistics), others)


def _tested(groups: list[SeedGroup], statistics: Statistics) -> list[SeedGroup]:
    """Return those that have pairs in the statistics: of very many, some are not compared."""
    known = {id(candidate) for candidate in statistics.compared}
    return [group for group in groups if id(group.candidate) in known]


def _rivals(leader: SeedGroup, others: list[SeedGroup], statistics: Statistics) -> list[Rival]:
    """Return those of the others that the leader is not better than; all have pairs in the statistics."""
    places = {id(candidate): place for place, candidate in enumerate(statistics.compared)}
    outcomes, mine, rivals = statistics.outcomes(), places[id(leader.candidate)], list[Rival]()
    for group in others:
        place = places[id(group.candidate)]
        pair = outcomes[min(mine, place), max(mine, place)]
        won, lost, sign = ("a", "b", 1) if mine < place else ("b", "a", -1)
        if pair.verdict != won:
            rivals.append(Rival(group, pair, "b" if pair.verdict == lost else pair.verdict, sign * pair.difference))
    return rivals


def compared_recipes(groups: Mapping[str, list[SeedGroup]]) -> set[tuple[str, str, str]]:
    """Return dataset, model and recipe of what is compared on each dataset: without recipes that were not chosen."""
    return {(dataset, each.model, each.recipe) for dataset, runs in groups.items() for each in compared(runs)}


def is_guessing(group: SeedGroup, statistics: Statistics) -> bool:
    """Return whether each run answers the test images as somebody who guesses does.

    No run is shown to be better than always naming the commonest class, and a gain of a quarter of what is left is
    ruled out, also in balanced accuracy: classes may be imbalanced.
    """
    majority = statistics.baselines.majority.accuracy
    tests = [result.metrics.test for result in group.results]
    return all(
        test.accuracy_ci95[0] <= majority
        and test.accuracy_ci95[1] < majority + (1 - majority) / 4
        and not _knows_classes(test, statistics.baselines.chance)
        for test in tests
    )


def _knows_classes(test: SplitMetrics, chance: float) -> bool:
    """Return whether the balanced accuracy has at least a quarter of what is left above that of guessing."""
    return test.balanced_accuracy >= chance + (1 - chance) / 4


def none_is_clearly_better(groups: list[SeedGroup], statistics: Statistics) -> bool:
    """Return whether no recipe of a dataset is clearly better than always naming the most frequent class.

    Then their order says nothing. Unlike `is_guessing`, it may be that the test images are too few to show more.
    """
    return not any(_is_clearly_better(group, statistics) for group in groups)


def _is_clearly_better(group: SeedGroup, statistics: Statistics) -> bool:
    """Return whether the 95 % interval of the accuracy, or of each of its runs, is above that of one answer for all.

    The interval over two seeds is very wide, also where both have learned. Imbalanced classes can be known by a network
    that has no more images right than the largest class has; there balanced accuracy decides, too.
    """
    majority, tests = statistics.baselines.majority.accuracy, [result.metrics.test for result in group.results]
    if group.accuracy.low > majority or all(test.accuracy_ci95[0] > majority for test in tests):
        return True
    imbalanced = is_imbalanced(class_counts(group.results).images)
    return imbalanced and all(_knows_classes(test, statistics.baselines.chance) for test in tests)


def best(dataset: str, groups: list[SeedGroup], statistics: Statistics) -> str:
    """Return the clause about the best network of a dataset; it reports what cannot be distinguished from it.

    Where no network is clearly better than always naming the most frequent class, it reports that instead.
    """
    found, with_recipe = standing(groups, statistics), several_recipes(groups)
    estimate, name = found.leader.accuracy, group_name(found.leader, with_recipe)
    value = f"{100 * estimate.value:.2f} %"
    interval = f"(95 % interval {100 * estimate.low:.2f} to {100 * estimate.high:.2f} %)"
    if none_is_clearly_better(groups, statistics):
        who, whose = (f"{name} is not", "it") if len(groups) == 1 else ("no network is", f"{name}, best on validation,")
        share = f"{100 * statistics.baselines.majority.accuracy:.2f} % of the test images"
        return (
            f"on {dataset}, {who} clearly better than always naming the most frequent class, which is right for"
            f" {share}: {whose} has {value} test accuracy {interval}"
        )
    if not found.rivals:
        was = "reached"
        if found.has_winner:
            was = "was best, in one training run each, with" if found.is_of_single_runs else "was best with"
        chosen = f"{_who_chose(found.leader, groups)}{_doubt(found, groups, statistics)}"
        return f"on {dataset}, {name} {was} {value} test accuracy {interval}{chosen}"
    chosen = ", which also chose the recipes," if len(groups) > len(best_by_model(groups)) > 1 else ""
    return (
        f"on {dataset}, {name} was best on validation{_lead(found, with_recipe)}{chosen} and has {value} test accuracy"
        f" {interval}, but {_to_rivals(found, statistics.margin, with_recipe)}"
    )


def _doubt(found: Standing, groups: list[SeedGroup], statistics: Statistics) -> str:
    """Return the clause on recipes that a winner is not better than and that others of their network hardly beat.

    Validation preferred another recipe by fewer than two images, so the verdict could as well be that against them.
    """
    near = {
        id(group): (group, lead_in_images(chosen, group))
        for chosen in found.others
        for group in _tested(groups, statistics)
        if group.model == chosen.model != found.leader.model and group is not chosen
    }
    close = [group for group, lead in near.values() if lead < FEW_IMAGES]
    rivals = [rival for rival in _rivals(found.leader, close, statistics) if rival.pair.over != "nothing"]
    if not rivals:
        return ""
    images = f"{found.leader.first.metrics.validation.n:,} validation images"
    behind = f"each fewer than {FEW_IMAGES} of {images} behind the chosen recipe of its network"
    if len(rivals) == 1:
        [rival], (_, lead) = rivals, near[id(rivals[0].group)]
        mean = " on average" * (len(rival.group.results) > 1)
        behind = f"which is only {lead:g} of {images}{mean} behind the recipe that was chosen"
        if not lead:
            behind = "which is level on validation with the recipe that was chosen"
    return f", but {_to_rivals(replace(found, rivals=rivals), statistics.margin, with_recipe=True)}, {behind}"


def _to_rivals(found: Standing, margin: float, with_recipe: bool) -> str:
    """Return what the leader is to its rivals: "cannot be distinguished from VGG-16"."""
    return enumerate_words(
        [
            f"{words} {counted([group_name(rival.group, with_recipe) for rival in rivals], 'others')}"
            for words, rivals in _relations(found, margin).items()
            if rivals
        ]
    )


def _relations(found: Standing, margin: float) -> dict[str, list[Rival]]:
    """Return what the leader is to its rivals: the words before their names, and those of each kind."""
    # A mean over seeds may be higher than that of a network with one seed, which alone is compared. Two may have more
    # folds in common than all networks have.
    mean = found.leader.accuracy.value
    equal = [rival for rival in found.rivals if rival.verdict == "equivalent"]
    lost = [rival for rival in found.rivals if rival.verdict == "b"]
    ahead = [rival for rival in lost if mean >= rival.group.accuracy.value]
    within = f"is equivalent, within {100 * margin:g} point{'s' * (margin != 0.01)}"
    return {
        f"{within}, to": [rival for rival in equal if rival.pair.over != "networks"],
        f"{within} and for these trained networks, to": [rival for rival in equal if rival.pair.over == "networks"],
        "cannot be distinguished from": [
            rival for rival in found.rivals if rival.verdict == "open" and rival.pair.over != "nothing"
        ],
        "has no fold in common with": [rival for rival in found.rivals if rival.pair.over == "nothing"],
        "was worse, with the one seed that is compared, than": [rival for rival in ahead if not rival.pair.folds],
        "was worse, on the folds that both have, than": [rival for rival in ahead if rival.pair.folds],
        "was worse there than": [rival for rival in lost if mean < rival.group.accuracy.value],
    }


def _lead(found: Standing, with_recipe: bool) -> str:
    """Return by how many validation images the leader was best, if they are fewer than two, or who is level with it."""
    leader, second = found.leader, found.others[0]
    lead = lead_in_images(leader, second)
    if lead >= FEW_IMAGES:
        return ""
    if not lead:
        level = [each for each in found.others if each.validation_accuracy == second.validation_accuracy]
        return f" (level with {counted([group_name(each, with_recipe) for each in level], 'others')})"
    mean = " on average" * (len(leader.results) + len(second.results) > 2)
    return f" (by {lead:g} of {leader.first.metrics.validation.n:,} images{mean})"


def lead_in_images(leader: SeedGroup, second: SeedGroup) -> float:
    """Return how many validation images more the leader has right, the mean over its seeds, to one decimal place."""
    images = leader.first.metrics.validation.n
    return round(images * (leader.validation_accuracy - second.validation_accuracy), 1)


def _who_chose(leader: SeedGroup, groups: list[SeedGroup]) -> str:
    """Return the words on how recipes were chosen; "" where each network has one."""
    if len(groups) == len(best_by_model(groups)):
        return ""
    recipes = Counter(group.model for group in groups)
    if recipes[leader.model] > 1:
        return ", its recipe chosen on validation"
    several = [group.display_name for model, group in best_by_model(groups).items() if recipes[model] > 1]
    recipe = f"recipe{'s' * (len(several) > 1)}"
    return f", the {recipe} of {counted(several, 'other networks')} chosen on validation"


def counted(names: list[str], kind: str) -> str:
    """List names in words; if there are many, their number."""
    return enumerate_words(names) if len(names) <= NAMED else f"{len(names)} {kind}"


def open_questions(groups: list[SeedGroup], statistics: Statistics) -> list[str]:
    """Return sentences about what would settle which network is best; [] if that is settled, or none has learned."""
    if none_is_clearly_better(groups, statistics):
        return []
    found, with_recipe = standing(groups, statistics), several_recipes(groups)
    name = group_name(found.leader, with_recipe)
    open_pairs = [(rival, rival.pair.settle) for rival in found.rivals if rival.pair.settle]
    tests = sum(pair.over != "nothing" for pair in statistics.pairs)
    sentences = [_open(found.leader, *each, with_recipe, tests) for each in open_pairs[:_OPEN_SHOWN]]
    left = len(open_pairs) - len(sentences)
    return [*sentences, *([f"{left} more are open against {name}."] if left > 0 else [])]


def what_was_compared(groups: list[SeedGroup], statistics: Statistics) -> str:
    """Return the sentences about how pairs were compared, and what that means for other seeds; "" for one candidate."""
    if len(groups) < 2:
        return ""
    pairs = [pair for pair in statistics.pairs if pair.over != "nothing"]
    if not pairs:
        return ""
    over = {pair.over for pair in pairs}
    tests = {
        "t tests over the folds": "folds" in over,
        "exact McNemar tests of the trained networks, which say nothing about other seeds": "networks" in over,
        "t tests over seeds and images": "seeds" in over,
    }
    number = "1 pair" if len(pairs) == 1 else f"{len(pairs):,} pairs"
    how = enumerate_words([test for test, used in tests.items() if used])
    chosen = "Of each network, the recipe in bold has the best validation accuracy and stands for it. "
    others = "Test accuracies of recipes that are not chosen decide nothing. "
    several = len(groups) > len(best_by_model(groups))
    recipes = f"{chosen}{others * several}" if several_recipes(groups) else ""
    return (
        f"{recipes}Those that share a letter under Group cannot be distinguished: paired tests on the same images"
        f" ({how}), {number}, 5 % after Holm's correction. Equivalent: not called better, and the 90 % interval of the"
        f" difference, uncorrected, lies within {100 * statistics.margin:g} percentage points.{_short_names(groups)}"
    )


def _short_names(groups: list[SeedGroup]) -> str:
    """Return the sentence on recipes whose own values are left out elsewhere: "quick" for "quick, lr 0.05"."""
    names = dict.fromkeys((group.title, recipe_title(group.recipe)) for group in groups)
    clauses = [f"{title} is called {short}" for title, short in names if title != short]
    where = "In warnings and the tables of recipes, experiments and costs"
    return f" {where}, {counted(clauses, 'recipes have shorter names')}." if clauses else ""


def unlike_folds(statistics: Statistics) -> str:
    """Return the sentences on which folds count, where networks of some are missing; "" where all are there."""
    folds = statistics.folds
    left_out = sum(len(each.networks) - len(each.seeds) for each in statistics.candidates)
    if folds is None or (len(folds.shared) == folds.number and not left_out):
        return ""
    if folds.shared:
        one = "1 trained network does" if left_out == 1 else f"{left_out} trained networks do"
        others = f"; {one} not count in them" if left_out else ""
        numbers = f"Accuracies are of {len(folds.shared)} of {folds.number} folds, which every network has{others}."
    else:
        numbers = (
            "No fold has all of them, so each accuracy is of the network's own folds, which are other images than those"
            " of the next one, and nothing is reported of all networks together."
        )
    pairs = " Two networks are compared on all folds that both have." if statistics.pairs else ""
    return f"Networks are missing for some folds. {numbers}{pairs}"


def _open(leader: SeedGroup, rival: Rival, settle: Settle, with_recipe: bool, tests: int) -> str:
    """Return the sentences on an open pair; `tests`: the number of all pairs, which makes each test stricter."""
    pair, seen, smallest = rival.pair, f"{100 * abs(rival.behind):.2f}", settle.smallest_difference
    one = " with the one seed that is compared" * (len(leader.results) + len(rival.group.results) > 2)
    runs = {"seeds": f" with {pair.seeds} seeds", "folds": f" in {pair.folds} folds"}.get(pair.over, one)
    names = [group_name(each, with_recipe) for each in (leader, rival.group)]
    better, worse = names if rival.behind >= 0 else reversed(names)
    stand = f"{better} is {seen} points above {worse}" if float(seen) else f"{better} and {worse} are level"
    test = "this test" if tests == 1 else f"this test, one of {tests:,},"
    show = "misses even the largest difference in more than 20 % of studies"
    if smallest is not None:
        show = (
            f"finds a true difference of {100 * smallest:.2f} points in 80 % of studies, and a smaller one less often"
        )
    given = runs.replace(" with", " and", 1)
    start = f"{stand}. With {pair.n:,} test images{given}, {test} {show}."
    ways = [f"about {rounded(settle.images):,} test images"] if settle.images else []
    ways += [f"about {rounded(settle.seeds):,} seeds each"] if settle.seeds else []
    if ways:
        return f"{start} To show the difference seen takes {' or '.join(ways)}."
    if not pair.difference:
        return start
    if pair.over != "seeds":
        return f"{start} No number of test images{runs} would show a difference as small as the one seen."
    return (
        f"{start} Neither more test images{runs} each nor up to {MOST_SEEDS:,} seeds on these images would show a"
        " difference as small as the one seen; both together may."
    )


def rounded(number: int) -> int:
    """Return a number with two digits that count: it is an estimate."""
    return round(number, 1 - floor(log10(number)))
