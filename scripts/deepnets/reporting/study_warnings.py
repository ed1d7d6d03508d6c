"""The warnings of a study: those about all of it, and of each network and recipe one of a kind."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from deepnets.comparison.aggregate import SeedGroup, group_seeds
from deepnets.reporting import duplicates, experiments, exports, verdicts
from deepnets.reporting.headline import Row
from deepnets.reporting.markdown import Markdown, bold, code, enumerate_words, escape, link
from deepnets.reporting.missing import incomplete
from deepnets.reporting.study import Study
from deepnets.utils import paths

_SHOWN = 20


def describe(study: Study, rows: Mapping[str, list[Row]]) -> list[Markdown]:
    """Return the lines of warning, those about the study first.

    Of recipes that validation did not choose, those about exported files are shown, and the others, which metrics.csv
    counts as well, are counted.
    """
    lines, not_chosen = _about_all(study), 0
    compared = verdicts.compared_recipes({name: [row.group for row in runs] for name, runs in rows.items()})
    for group in group_seeds(study.results):
        of_runs = [result.warnings for result in group.results]
        if (group.first.dataset, group.model, group.recipe) not in compared:
            not_chosen += sum(map(len, of_runs))
            of_runs = [[] for _ in of_runs]
        of_exports = [exports.warnings(study, result) for result in group.results]
        lines += _of_group(group, [[*run, *exported] for run, exported in zip(of_runs, of_exports, strict=True)])
    left = max(0, len(lines) - _SHOWN)
    return [*lines[:_SHOWN], *_counted(study, left, not_chosen)]


def _about_all(study: Study) -> list[Markdown]:
    lines = [incomplete(study)] if study.missing else []
    lines += [
        Markdown(f"{bold(name)}: {escape(sentence)}. {code(paths.AUDIT.format(dataset=name))} lists them.")
        for name, audit in study.audits.items()
        for sentence in (duplicates.leakage(audit) if audit else [])
    ]
    runs = [run for result in study.results for run in result.timing.conditions]
    versions = sorted({run.versions.get("torch", "unknown") for run in runs})
    if len(versions) > 1:
        lines.append(
            escape(f"The experiments were trained with different versions of torch: {enumerate_words(versions)}.")
        )
    return lines


def _of_group(group: SeedGroup, warnings: Sequence[Sequence[str]]) -> Iterator[Markdown]:
    """Yield a warning of each kind, `warnings` being those of each run: the first with the advice that most runs get.

    So a reader gets one piece of advice, where seeds differ in their numbers, and by chance in what is advised.
    """
    kinds: dict[str, list[tuple[int, str]]] = {}
    for result, of_run in zip(group.results, warnings, strict=True):
        for warning in of_run:
            kinds.setdefault(re.sub(r"\d+", "", warning.partition(":")[0]), []).append((result.seed, warning))
    for found in kinds.values():
        [(advice, _)] = Counter(_advice(warning) for _, warning in found).most_common(1)
        seed, text = next(each for each in found if _advice(each[1]) == advice)
        seeds = [str(each) for each in dict.fromkeys(seed for seed, _ in found)]
        who = f"seed{'s' * (len(seeds) > 1)} {enumerate_words(seeds)}"
        if len(seeds) == len(group.results) > 1:
            who = group.runs
        numbers = f" (the numbers are those of seed {seed})" * (len({warning for _, warning in found}) > 1)
        yield Markdown(f"{bold(experiments.named(group.first, who))}: {escape(f'{text}{numbers}')}.")


def _advice(warning: str) -> str:
    return warning.partition("try ")[2]


def _counted(study: Study, left: int, not_chosen: int) -> Iterator[Markdown]:
    """Yield the line on warnings that are not shown: for lack of room, and those of recipes that are not compared."""
    numbers = {" more warning": left, " warning": not_chosen}
    words = [f"{number}{what}{'s' * (number > 1)}" for what, number in numbers.items() if number]
    if words:
        are = "is" if (left or not_chosen) == 1 else "are"
        which = " of recipes that validation did not choose" * bool(not_chosen)
        csv = study.link(paths.METRICS_CSV)
        yield Markdown(
            f"There {are} {enumerate_words(words)}{which}; {link(csv.name, csv)} has their number for each experiment,"
            " and the metrics.json and timing.json of an experiment their reasons."
        )
