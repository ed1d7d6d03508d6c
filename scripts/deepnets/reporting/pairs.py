"""The pairs of candidates of a dataset as a table: how far they are apart, and whether that is more than chance."""

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
    lines = [[names[a], names[b], *_cells(outcomes[a, b])] for a, b in places]
    header = ["A", "B", "Verdict", "Difference (points)", "p (Holm)", "A beats B"]
    return {
        "count": len(outcomes),
        "left_out": len(outcomes) - len(places),
        "table": table(header, lines, numbers_from=3),
        "several_seeds": any(pair.probability_a_beats_b is not None for pair in outcomes.values()),
    }


def _cells(pair: Pair) -> list[str]:
    difference, *bounds = (_signed(100 * value) for value in (pair.difference, *pair.ci95))
    p = Markdown("&lt; 0.001") if pair.p_holm < 0.001 else f"{pair.p_holm:.3f}"
    probability = pair.probability_a_beats_b
    return [
        _VERDICTS[pair.verdict],
        with_interval(difference, *bounds),
        p,
        MISSING if probability is None else f"{probability:.2f}",
    ]


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return text if not text.strip("0.") else f"{'+' if value > 0 else '−'}{text}"
