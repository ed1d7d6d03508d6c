"""What a reader who must choose takes from a report: the cheapest of the best networks, and what to run next."""

from collections.abc import Iterator, Mapping, Sequence

from deepnets.comparison.aggregate import SeedGroup, best_by_model, group_name, several_recipes
from deepnets.comparison.statistics_file import Statistics, Sweep
from deepnets.comparison.sweeps import options_of, swept
from deepnets.comparison.training_time import training_time
from deepnets.evaluation.measurements import Latency
from deepnets.reporting import verdicts
from deepnets.reporting.headline import Row, as_sentence, place
from deepnets.reporting.markdown import Markdown, code, enumerate_words, escape
from deepnets.reporting.study import Study
from deepnets.reporting.tables import format_duration

_DATASETS_NAMED = 3
_MANY_SEEDS = 30  # more seeds than anyone trains to settle a question
_FEWEST_VALUES = 3  # of a sweep that shows where its best value lies


def cheapest(study: Study, rows: Mapping[str, list[Row]]) -> str:
    """Return the sentence on the cheapest of the networks that tie for the best of each dataset; "" without a tie.

    Cost in use is the latency where it was measured, else multiply-adds; in training it is what
    `training_time` chooses.
    """
    found = [
        _cheapest(place(name, rows), [row.group for row in runs], study.statistics[name], study.latencies)
        for name, runs in rows.items()
    ]
    clauses = [clause for clause in found if clause]
    left = len(clauses) - _DATASETS_NAMED
    more = [f"the tables below have that of {left} more"] if left > 0 else []
    return as_sentence([*clauses[:_DATASETS_NAMED], *more]) if clauses else ""


def _cheapest(
    where: str, groups: list[SeedGroup], statistics: Statistics, latencies: Mapping[tuple[str, str], Latency]
) -> str:
    tied, with_recipe = verdicts.standing(groups, statistics).tied, several_recipes(groups)
    if len(tied) < 2:
        return ""
    measured = [latencies.get((group.first.dataset, group.model)) for group in tied]
    seconds = [each.latency.median_seconds for each in measured if each]
    are_measured = len(seconds) == len(tied)
    costs = seconds if are_measured else [float(group.first.metrics.model.mult_adds) for group in tied]
    least, time = min(costs), training_time(groups)
    use, training = tied[costs.index(least)], min(tied, key=time.of)
    in_use = f"{1000 * least:,.2f} ms for an image" if are_measured else f"{least:,.0f} multiply-adds for an image"
    in_training, named = f"{format_duration(time.of(training))}{time.in_words}", group_name(use, with_recipe)
    others = "the one that ties" if len(tied) == 2 else f"the {len(tied) - 1} that tie"  # each with the best alone
    start = f"{where}of the best and {others} with it, the cheapest"
    if training is use:
        return f"{start} is {named}, in use ({in_use}) and in training ({in_training})"
    return f"{start} in use is {named} ({in_use}), in training {group_name(training, with_recipe)} ({in_training})"


# -- what to run next -------------------------------------------------------------------------------------------------


def next_steps(study: Study, rows: Mapping[str, list[Row]]) -> list[Markdown]:
    """Return sentences on what to run next, the most urgent first; [] if nothing is open."""
    groups = {name: [row.group for row in runs] for name, runs in rows.items()}
    steps = [*_complete(study), *_seeds(study, groups), *_settle(study, groups), *_sweeps(groups)]
    return steps[: verdicts.NAMED]


def _complete(study: Study) -> Iterator[Markdown]:
    if study.missing:
        number = "one experiment is" if len(study.missing) == 1 else f"{len(study.missing)} experiments are"
        yield Markdown(f"The rest of the study: [{number} missing](#missing-experiments).")
    warned = sum(bool(result.warnings) for result in study.results)
    if warned:
        runs = "one training run" if warned == 1 else f"{warned} training runs"
        yield escape(f"What the warnings below advise for {runs}.")


def _seeds(study: Study, groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    """Yield a sentence on more seeds, where networks have one: nothing is known of the others.

    A pair is compared with one seed each if one of the two has no more, so what is best needs its rival's, too.
    """
    wanted = {
        dataset: list(filter(_has_one, verdicts.standing(of_dataset, study.statistics[dataset]).undecided))
        for dataset, of_dataset in groups.items()
    }
    clauses = [f"{_models(single)} on {dataset}" for dataset, single in wanted.items() if single]
    if clauses:
        many = f"the best networks on {len(clauses)} datasets"
        who = enumerate_words(clauses) if len(clauses) <= _DATASETS_NAMED else many
        yield Markdown(
            f"{escape(f'Three or more seeds of {who}')} ({code('seeds: [0, 1, 2]')}): another seed gives another"
            " accuracy, and with one it is not known by how much."
        )


def _has_one(group: SeedGroup) -> bool:
    return len(group.results) == 1 and group.first.fold is None


def _models(groups: Sequence[SeedGroup]) -> str:
    return verdicts.counted([group.display_name for group in groups], "networks")


def _settle(study: Study, groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    """Yield for each dataset what would settle the first open pair of the best network, over several seeds or folds."""
    for dataset, of_dataset in groups.items():
        found = verdicts.standing(of_dataset, study.statistics[dataset])
        rival = next((each for each in found.rivals if each.pair.settle), None)
        if rival is None or rival.pair.settle is None or _has_one(found.leader) or _has_one(rival.group):
            continue
        settle, both = rival.pair.settle, enumerate_words([g.display_name for g in (found.leader, rival.group)])
        if settle.seeds and settle.seeds <= _MANY_SEEDS:
            yield escape(f"About {settle.seeds} seeds each of {both} on {dataset}, which would show which is better.")
        elif settle.images:
            images = f"{verdicts.rounded(settle.images):,}"
            yield escape(f"About {images} test images of {dataset}, which would show which of {both} is better.")


def _sweeps(groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    """Yield a sentence for each sweep of one option whose best value on validation is the first or the last tried."""
    for dataset, of_dataset in groups.items():
        for model, chosen in best_by_model(of_dataset).items():
            options = swept([group for group in of_dataset if group.model == model])
            if len(options) != 1:
                continue
            [(option, runs)] = options.items()
            tried = [*dict.fromkeys(options_of(run)[option] for run in runs)]
            best = options_of(chosen)[option] if chosen in runs else None
            if len(tried) >= _FEWEST_VALUES and best in (tried[0], tried[-1]):
                kind, more = ("largest", "larger") if best == tried[-1] else ("smallest", "smaller")
                who = escape(f"{chosen.display_name} on {dataset}")
                end = f"the {kind} of {len(tried)}, {best:g}, is best on validation"
                yield Markdown(f"{who} with {more} values of {code(option)}: {end}.")


# -- what a sweep gained ----------------------------------------------------------------------------------------------


def gain_of_trials(groups: Sequence[SeedGroup], statistics: Statistics) -> str:
    """Return the sentences on what trying more recipes of each network gains on validation; "" if few were tried."""
    tried = [sweep for sweep in statistics.sweeps if len(sweep.expected_best_validation) >= _FEWEST_VALUES]
    if not tried:
        return ""
    names = {group.model: group.display_name for group in groups}
    clauses = [_gain(names[sweep.model], sweep) for sweep in tried[: verdicts.NAMED]]
    left = len(tried) - len(clauses)
    more = f"; statistics.json has {left} more networks" if left else ""
    return (
        f"What it gains to try more recipes, by the expected best validation accuracy: {'; '.join(clauses)}{more}."
        " Recipes with fewer epochs than others of their network are not counted."
    )


def _gain(name: str, sweep: Sweep) -> str:
    """Return a clause with the expected best of 1, 4, 16, ... and all recipes."""
    values = sweep.expected_best_validation
    numbers = [*(number for number in (1, 4, 16, 64, 256) if number < len(values)), len(values)]
    reached = enumerate_words([f"{100 * values[number - 1]:.2f} %" for number in numbers])
    return f"{name} {reached} after {enumerate_words(list(map(str, numbers)))} recipes"
