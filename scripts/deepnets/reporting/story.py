"""What a reader who must choose takes from a report: the cheapest of the best networks, and what to run next."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation, group_name, several_recipes
from deepnets.comparison.statistics_file import Settle, Statistics, Sweep
from deepnets.comparison.sweeps import options_of, swept
from deepnets.comparison.training_time import training_time
from deepnets.evaluation.measurements import Latency
from deepnets.reporting import verdicts
from deepnets.reporting.headline import Row, as_sentence, place
from deepnets.reporting.markdown import Markdown, code, enumerate_words, escape
from deepnets.reporting.study import Study
from deepnets.reporting.tables import format_duration

_DATASETS_NAMED = 3
_MANY_SEEDS = 30  # nobody trains more to settle a question
_MANY_IMAGES = 1_000_000  # nor collects more
_FEWEST_VALUES = 3  # of a sweep that shows where its best value lies


def cheapest(study: Study, rows: Mapping[str, list[Row]]) -> str:
    """Return the sentence on the cheapest of the networks that cannot be distinguished from the best of each dataset.

    "" where there is one alone, or one with several recipes, which cost the same in use, and where no network is
    clearly better than always naming the most frequent class. Cost in use is the latency where it was measured, else
    multiply-adds; in training it is what `training_time` chooses.
    """
    found = [
        _cheapest(place(name, rows), [row.group for row in runs], study.statistics[name], study.latencies)
        for name, runs in rows.items()
    ]
    clauses = [clause for clause in found if clause]
    left = len(clauses) - _DATASETS_NAMED
    more = [f"the tables below have that of {left} more"] if left > 0 else []
    return as_sentence([*clauses[:_DATASETS_NAMED], *more]) if clauses else ""


def runner_up(study: Study, rows: Mapping[str, list[Row]]) -> str:
    """Return the sentence on the next network on validation, where the best is better than all: how far, for what cost.

    "" where no network is better than all others, or only recipes of one network are compared.
    """
    clauses = []
    for name, runs in rows.items():
        groups = [row.group for row in runs]
        found = verdicts.standing(groups, study.statistics[name])
        if not found.has_winner or verdicts.none_is_clearly_better(groups, study.statistics[name]):
            continue
        best, second = found.leader, found.others[0]
        # Where one of the two has a single seed, that seed alone is compared, and the means may say otherwise.
        if best.model == second.model or best.accuracy.value <= second.accuracy.value:
            continue
        latencies = [study.latencies.get((name, group.model)) for group in (best, second)]
        known = [1000 * each.latency.median_seconds for each in latencies if each]
        adds = [group.first.metrics.model.mult_adds for group in (best, second)]
        first, next_ = (f"{ms:,.2f} ms" for ms in known) if len(known) == 2 else (f"{each:,.0f}" for each in adds)
        kind = "in torch" if len(known) == 2 else "multiply-adds"
        behind = f"{100 * (best.accuracy.value - second.accuracy.value):.2f} points"
        who = f"{place(name, rows)}{group_name(second, several_recipes(groups))}"
        clauses.append(
            f"{who}, the next on validation, has {behind} less and takes {next_} instead of {first} {kind} for an image"
        )
    left = len(clauses) - _DATASETS_NAMED
    more = [f"the tables below have that of {left} more"] if left > 0 else []
    return as_sentence([*clauses[:_DATASETS_NAMED], *more]) if clauses else ""


def _cheapest(
    where: str, groups: list[SeedGroup], statistics: Statistics, latencies: Mapping[tuple[str, str], Latency]
) -> str:
    alike, with_recipe = verdicts.standing(groups, statistics).not_distinguished, several_recipes(groups)
    if len({group.model for group in alike}) < 2 or verdicts.none_is_clearly_better(groups, statistics):
        return ""
    measured = [latencies.get((group.first.dataset, group.model)) for group in alike]
    seconds = [each.latency.median_seconds for each in measured if each]
    are_measured = len(seconds) == len(alike)
    costs = seconds if are_measured else [float(group.first.metrics.model.mult_adds) for group in alike]
    least, time = min(costs), training_time(groups)
    use, training = alike[costs.index(least)], min(alike, key=time.of)
    cost = f"{1000 * least:,.2f} ms in torch" if are_measured else f"{least:,.0f} multiply-adds"
    in_use = f"{cost} for an image"
    in_training = f"{format_duration(time.of(training))}{time.in_words}"
    best, of_use, of_training = (group_name(group, with_recipe) for group in (alike[0], use, training))
    others = "the network" if len(alike) == 2 else f"the {len(alike) - 1} networks"  # compared with the best alone
    start = f"{where}among {best} and {others} that cannot be distinguished from it, {of_use} is the cheapest"
    if training is use:
        return f"{start}: {in_use}, {in_training} for training"
    return f"{start} in use ({in_use}) and {of_training} in training ({in_training})"


# -- what to run next -------------------------------------------------------------------------------------------------


def next_steps(study: Study, rows: Mapping[str, list[Row]]) -> list[Markdown]:
    """Return sentences on what to run next, the most urgent first; [] if nothing is open."""
    groups = {name: [row.group for row in runs] for name, runs in rows.items()}
    poor = [name for name, runs in groups.items() if verdicts.none_is_clearly_better(runs, study.statistics[name])]
    good = {name: runs for name, runs in groups.items() if name not in poor}
    compared = [*_seeds(study, good), *_settle(study, good), *_sweeps(study, good)]
    return [*_complete(study, groups), *_learn(study, poor), *compared][: verdicts.NAMED]


def _complete(study: Study, groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    if study.missing:
        number = "one experiment is" if len(study.missing) == 1 else f"{len(study.missing)} experiments are"
        yield Markdown(f"The rest of the study: [{number} missing](#missing-experiments).")
    compared = verdicts.compared_recipes(groups)
    warned = sum(bool(each.warnings) for each in study.results if (each.dataset, each.model, each.recipe) in compared)
    if warned:
        runs = "one training run" if warned == 1 else f"{warned} training runs"
        yield escape(f"What the warnings below advise for {runs}.")


def _learn(study: Study, datasets: list[str]) -> Iterator[Markdown]:
    """Yield what may help where no network is clearly better than always naming the most frequent class."""
    if not datasets:
        return
    where = verdicts.counted(datasets, "datasets")
    parts = [f"Images of {name}" for name in datasets if study.audits[name]]
    see = f": see {verdicts.counted(parts, 'parts on images')} below" if parts else ""
    yield escape(
        f"Longer training on {where}, or another recipe or learning rate. First, look at the images and their"
        f" labels{see}."
    )


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
    return verdicts.counted([*dict.fromkeys(group.display_name for group in groups)], "networks")


def _settle(study: Study, groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    """Yield for each dataset what would settle a pair of the best network that is open over several seeds or folds.

    It is the first pair that somebody can afford to settle, with those before it that nobody can, or the sentence that
    this holds for no pair.
    """
    for dataset, of_dataset in groups.items():
        found, with_recipe = verdicts.standing(of_dataset, study.statistics[dataset]), several_recipes(of_dataset)
        are_open = [each for each in found.rivals if each.pair.settle and not _has_one(each.group)]
        if not are_open or _has_one(found.leader):
            continue
        best = group_name(found.leader, with_recipe)
        may_have_folds = bool(study.datasets[dataset]["own_files"]) and found.leader.first.fold is None
        names, there_are = [group_name(rival.group, with_recipe) for rival in are_open], _images_in_all(found.leader)
        ways = [
            next(_ways_to_settle(rival.pair.settle, dataset, f"{best} and {name}", there_are, may_have_folds), None)
            for rival, name in zip(are_open, names, strict=True)
            if rival.pair.settle
        ]
        first = next((place for place, way in enumerate(ways) if way), len(ways))
        choose = "Choose by their cost." if len({group.model for group in of_dataset}) > 1 else "Take any of them."
        if first < len(ways):
            level = verdicts.counted([best, *names[:first]], "networks")
            before = [f"No runs would show which of {level} is best. {choose}"] if first else []
            yield Markdown(" ".join(escape(each or "") for each in (ways[first], *before)))
            continue
        seeds = f"more than {_MANY_SEEDS} seeds each, or " * any(rival.pair.over == "seeds" for rival in are_open)
        yield escape(
            f"No runs to find out which of {verdicts.counted([best, *names], 'networks')} is best on {dataset}: that"
            f" takes {seeds}more test images than the dataset has ({there_are:,} in all). {choose}"
        )


def _images_in_all(group: SeedGroup) -> int:
    """Return how many images the dataset of a group has in all."""
    metrics = group.first.metrics
    return sum(split.of or split.n for split in (metrics.train, metrics.validation, metrics.test))


def _ways_to_settle(settle: Settle, dataset: str, both: str, there_are: int, may_have_folds: bool) -> Iterator[str]:
    """Yield what somebody can afford that would show which of `both` is better.

    Args:
        settle: what would settle the pair.
        dataset: its name.
        both: the names of the two.
        there_are: how many images the dataset has in all.
        may_have_folds: whether these are the user's own, and not yet divided into folds.
    """
    if settle.seeds and settle.seeds <= _MANY_SEEDS:
        yield f"About {settle.seeds} seeds each of {both} on {dataset}, which would probably show which is better."
    if settle.images and settle.images <= _MANY_IMAGES:
        images = f"{verdicts.rounded(settle.images):,}"
        way = f"About {images} test images of {dataset}, which would probably show which of {both} is better"
        if not may_have_folds:
            if there_are >= settle.images:
                yield f"{way}."
            return
        there = f"{'but' if there_are < settle.images else 'and'} the dataset has {there_are:,} images in all."
        folds = f"of the dataset makes each of these a test image once, if no folder or column of {dataset} has splits."
        yield Markdown(f"{escape(f'{way}, {there}')} {code('folds: 5')} {escape(folds)}")


def _sweeps(study: Study, groups: Mapping[str, list[SeedGroup]]) -> Iterator[Markdown]:
    """Yield a sentence for each sweep of one option whose best value on validation is the first or the last tried.

    A lead that may be chance is no reason to go on: then more seeds come first. No value is best where none taught
    the network anything.
    """
    for dataset, of_dataset in groups.items():
        for model, chosen in best_by_model(of_dataset).items():
            options = swept([group for group in of_dataset if group.model == model])
            if len(options) != 1 or verdicts.is_guessing(chosen, study.statistics[dataset]):
                continue
            [(option, runs)] = options.items()
            tried = [*dict.fromkeys(options_of(run)[option] for run in runs)]
            best = options_of(chosen)[option] if chosen in runs else None
            lead = verdicts.lead_in_images(*by_validation(runs)[:2])
            if len(tried) >= _FEWEST_VALUES and best in (tried[0], tried[-1]) and lead:
                kind, more = ("largest", "larger") if best == tried[-1] else ("smallest", "smaller")
                of = f" by only {lead:g} of {chosen.first.metrics.validation.n:,} images"
                few, first = (of, ", but more seeds first") if lead < verdicts.FEW_IMAGES else ("", "")
                who = escape(f"{chosen.display_name} on {dataset}")
                end = f"the {kind} of {len(tried)}, {best:g}, is best on validation{few}"
                yield Markdown(f"{who} with {more} values of {code(option)}{first}: {end}.")


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
    recipes = Counter(candidate.model for candidate in statistics.candidates)
    shorter = any(recipes[sweep.model] > len(sweep.expected_best_validation) for sweep in tried)
    not_counted = " Recipes with fewer epochs than others of their network are not counted." * shorter
    return f"Expected best validation accuracy by the number of recipes tried: {'; '.join(clauses)}{more}.{not_counted}"


def _gain(name: str, sweep: Sweep) -> str:
    """Return a clause with the expected best of 1, 4, 16, ... and all recipes."""
    values = sweep.expected_best_validation
    numbers = [*(number for number in (1, 4, 16, 64, 256) if number < len(values)), len(values)]
    reached = [f"{100 * values[number - 1]:.2f} % after {number}" for number in numbers]
    return f"{name} {enumerate_words(reached)}"
