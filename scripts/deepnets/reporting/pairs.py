"""The pairs of candidates of a dataset as a table: how far they are apart, and whether that is more than chance."""

from collections.abc import Callable
from typing import Any

from deepnets.comparison.aggregate import SeedGroup, group_name, several_recipes
from deepnets.comparison.statistics_file import Pair, Statistics
from deepnets.reporting import verdicts
from deepnets.reporting.markdown import Markdown, table
from deepnets.reporting.tables import MISSING, with_interval

_ROWS = 50  # statistics.json has all
_VERDICTS = {"a": "A is better", "b": "B is better", "equivalent": "equivalent", "open": "open"}


def describe(groups: list[SeedGroup], statistics: Statistics) -> dict[str, Any]:
    """Return what the template shows of the pairs of one dataset; `groups` have their candidates of the statistics.

    If there are too many, those of the network that is best on validation come first.
    """
    outcomes = {place: pair for place, pair in statistics.outcomes().items() if pair.over != "nothing"}
    with_recipe = several_recipes(groups)
    if not outcomes:
        return {"count": 0}
    group_of = {id(group.candidate): group for group in groups}
    compared = [group_of[id(candidate)] for candidate in statistics.compared]
    best = verdicts.standing(groups, statistics).leader
    places = list(outcomes)
    if len(places) > _ROWS:
        places = sorted(places, key=lambda place: all(compared[each] is not best for each in place))[:_ROWS]
    names = [group_name(group_of[id(c)], with_recipe) + ", not chosen" * (not c.selected) for c in statistics.compared]
    counted = any(pair.a_only is not None for pair in outcomes.values())
    several_seeds = any(pair.probability_a_beats_b is not None for pair in outcomes.values())
    columns: dict[str, Callable[[Pair], str]] = {
        "Verdict": lambda pair: _VERDICTS[pair.verdict],
        "Difference (points)": _difference,
        "p (Holm)": lambda pair: Markdown("&lt; 0.001") if pair.p_holm < 0.001 else f"{pair.p_holm:.3f}",
        **({"Only A / only B right": _right_alone} if counted else {}),
        **({"A beats B": _probability} if several_seeds else {}),
    }
    lines = [[names[a], names[b], *(cell(outcomes[a, b]) for cell in columns.values())] for a, b in places]
    return {
        "count": len(outcomes),
        "left_out": len(outcomes) - len(places),
        "table": table(["A", "B", *columns], lines, numbers_from=3),
        "counted": counted,
        "not_chosen": not all(candidate.selected for candidate in statistics.compared),
        "several_seeds": several_seeds,
    }


def _difference(pair: Pair) -> str:
    return with_interval(*(_signed(100 * value) for value in (pair.difference, *pair.ci95)))


def _right_alone(pair: Pair) -> str:
    return MISSING if pair.a_only is None else f"{pair.a_only:,} / {pair.b_only:,}"


def _probability(pair: Pair) -> str:
    return MISSING if pair.probability_a_beats_b is None else f"{pair.probability_a_beats_b:.2f}"


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return text if not text.strip("0.") else f"{'+' if value > 0 else '−'}{text}"
