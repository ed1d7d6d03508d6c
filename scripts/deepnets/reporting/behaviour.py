"""How networks behave beyond accuracy: classes, calibration, when to trust an answer, images to look at."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from shlex import quote
from statistics import fmean, stdev
from typing import Any

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    by_validation,
    group_name,
    passes,
    several_recipes,
)
from deepnets.comparison.per_class import ClassCounts, Score, class_counts, class_scores
from deepnets.comparison.statistics_file import Answer, Behaviour, Calibration, Images, Network, Statistics
from deepnets.evaluation.measurements import Robustness, corruption_title
from deepnets.evaluation.results import Result
from deepnets.reporting.markdown import Markdown, code, enumerate_words, escape, image, table
from deepnets.reporting.study import Study
from deepnets.reporting.tables import MISSING, ROWS, with_interval
from deepnets.reporting.verdicts import counted
from deepnets.utils import paths
from deepnets.utils.durations import NO_BREAK

_CLASSES = 12  # rows of a table of classes, those with the lowest F1
_CONFUSIONS = 3  # the most frequent errors
_NETWORKS = 12  # with a table of the classes of all folds
_IMAGES = 10  # in a list
_RELIABLE = 0.95  # the accuracy below which networks share more mistakes than there are wrong labels, as a rule
_CORRUPTED_SIDE = 32  # px of a side; smaller images get the same corruptions, as evaluation/corruptions.py says
_SHARE = "0.9"  # of the images, the most confident ones


def behaviour(groups: list[SeedGroup], statistics: Statistics, study: Study) -> dict[str, Any]:
    """Return what the template shows of one dataset.

    Args:
        groups: with their candidates of the statistics.
        statistics: of the dataset.
        study: the whole study.
    """
    robustness = study.robustness
    chosen = by_validation(best_by_model(groups).values())
    rows = [(group.display_name, group.candidate.passes) for group in chosen if group.candidate]
    return {
        "baselines": _baselines(statistics, groups[0]),
        "calibration": _calibration_table(rows),
        "left_out": max(0, len(rows) - ROWS),
        "below_error": _below_error(rows),
        "not_carried_over": _not_carried_over(rows, chosen),
        "robustness": _robustness_table(chosen, robustness) if robustness else None,
        "corrupted": _corrupted_images(groups[0], robustness) if robustness else None,
        "harsher": _harsher(groups[0]) if robustness else None,
        "repeated": any(len(each) > 1 for _, each in rows),
        "averaged": _averaged(statistics, any(len(each) > 1 for _, each in rows)),
        "classes": [_classes_of_folds(group) for group in chosen[:_NETWORKS] if statistics.folds],
        "maps": [
            saliency(group.first, PurePosixPath(*group.first.directory.parts[-4:]))
            for group in chosen
            if group.first.directory in study.saliency
        ],
        "draw_maps": _draw_maps(chosen),
        **_of_all_networks(groups, chosen, statistics),
    }


def _of_all_networks(
    groups: Sequence[SeedGroup], chosen: Sequence[SeedGroup], statistics: Statistics
) -> dict[str, list[str]]:
    """Return what the template shows of the images that all trained networks of the chosen recipes predict alike."""
    if statistics.committee is None:
        return {"missed": [], "to_look_at": []}
    only = f" of {group_name(chosen[0], several_recipes(groups))}" if len(chosen) == 1 else ""
    of_fold = " of their fold" * (statistics.folds is not None)
    networks = f"all {statistics.committee.networks} trained networks{only}{of_fold}"
    classes = chosen[0].first.metrics.classes
    missed = _images(f"that {networks} predict wrongly, with the mean probability", statistics.missed_by_all, classes)
    same = f"with a label to look at: {networks} give the same other class, with the lowest probability of any of them"
    best = max(group.accuracy.value for group in chosen)
    doubt = f"; as the best network has {100 * best:.1f} % accuracy, their own mistakes are likelier than wrong labels"
    return {
        "missed": missed or [f"No test image is predicted wrongly by {networks}."],
        "to_look_at": _images(same + doubt * (best < _RELIABLE), statistics.suspicious_labels, classes),
    }


def _baselines(statistics: Statistics, group: SeedGroup) -> str:
    majority, chance = statistics.baselines.majority, statistics.baselines.chance
    are_alike = majority.accuracy == chance and len(set(class_counts(group.results).images)) == 1
    which = "as any one class" if are_alike else "the most frequent class of the validation images"
    name = group.first.metrics.classes[majority.label]
    return (
        f"Without a network: always the class {name}, {which}, is right for {100 * majority.accuracy:.2f} % of"
        f" the test images, guessing at random for {100 * chance:.2f} %."
    )


def saliency(result: Result, folder: PurePosixPath) -> Markdown:
    """Return figures/saliency.png of an experiment; `folder`: of the experiment, from the document."""
    title = f"Where {result.display_name} found its surest mistakes on {result.dataset}"
    return image(title, folder / paths.SALIENCY_FILE, "100%")


def _draw_maps(groups: Sequence[SeedGroup]) -> Markdown | None:
    """Return the command that shows where a network found its surest mistakes; None if no network has such maps.

    No study has these maps among its results: for them, each network is loaded and run again.

    Args:
        groups: the best one first.
    """
    for group in groups:
        if group.first.metrics.model.grad_cam is not False:
            figure = "/".join([*group.first.directory.parts[-5:], paths.SALIENCY_FILE])
            return code(f"snakemake --cores 2 {quote(figure)}")
    return None


def _averaged(statistics: Statistics, several: bool) -> str:
    """Return the sentence on what a network's numbers are of; `several`: seeds, or passes over the folds."""
    if not statistics.folds:
        return "Numbers are means over the seeds." if several else ""
    means = ", means over the repetitions" * several
    return f"Numbers are of the folds' images together{means}; the temperature is the mean of the folds' networks."


def _calibration_table(rows: Sequence[tuple[str, Sequence[Behaviour]]]) -> Markdown:
    """Return a row per network: calibration before and after temperature, and when to trust an answer."""
    header = [
        *("Model", "Log loss", "Brier score", "Calibration error (%)"),
        *("Temperature", "Log loss after", "Calibration error after (%)"),
        *("Accuracy on the surest 90 % (%)", "AURC (%)", "Classes per set", "Sets with the true class (%)"),
    ]
    lines = []
    for name, networks in rows[:ROWS]:
        lines.append(
            [
                name,
                _log_loss(networks),
                _mean(networks, lambda each: each.brier, ".4f"),
                _error(networks),
                _mean(networks, lambda each: each.temperature, ".2f"),
                _log_loss([each.with_temperature for each in networks]),
                _mean(networks, lambda each: 100 * each.with_temperature.ece, ".2f"),
                _mean(networks, lambda each: 100 * each.selective_accuracy[_SHARE], ".2f"),
                _mean(networks, lambda each: 100 * each.aurc, ".2f"),
                _mean(networks, lambda each: each.conformal.mean_size, ".2f"),
                _mean(networks, lambda each: 100 * each.conformal.coverage, ".2f"),
            ]
        )
    return table(header, lines, numbers_from=1)


def _robustness_table(groups: list[SeedGroup], robustness: Mapping[Path, Robustness]) -> Markdown:
    """Return a row per network: its accuracy on the images as they are, on corrupted ones, and for each kind.

    The first two have the standard deviation over the seeds, or over the passes over the folds.
    """
    kinds = list(robustness[groups[0].first.directory].corruptions)
    lines = []
    for group in groups[:ROWS]:
        columns = zip(*(_accuracies(each, kinds, robustness) for each in passes(group.results)), strict=True)
        cells = [_mean_percent(column, with_spread=place < 2) for place, column in enumerate(columns)]
        lines.append([group.display_name, *cells])
    return table(["Model", "As they are", "Corrupted", *map(corruption_title, kinds)], lines, numbers_from=1)


def _accuracies(results: Sequence[Result], kinds: list[str], robustness: Mapping[Path, Robustness]) -> list[float]:
    """Return the columns of the table for networks that together predict each test image once."""
    networks = [robustness[result.directory] for result in results]
    columns = [[network.accuracy, network.corrupted_accuracy, *map(network.mean, kinds)] for network in networks]
    images = [network.n for network in networks]  # folds may differ by an image
    return [fmean(column, images) for column in zip(*columns, strict=True)]


def _mean_percent(values: Sequence[float], with_spread: bool) -> str:
    spread = f" ± {100 * stdev(values):.2f}" if with_spread and len(values) > 1 else ""
    return f"{100 * fmean(values):.2f}{spread}".replace(" ", NO_BREAK)


def _corrupted_images(group: SeedGroup, robustness: Mapping[Path, Robustness]) -> str:
    measured = [robustness[result.directory] for result in passes(group.results)[0]]
    number, all_ = sum(each.n for each in measured), sum(each.of for each in measured)
    of = "" if number == all_ else f", a fixed random sample of {all_:,}"
    return f"{number:,} test images{of}"


def _harsher(group: SeedGroup) -> str:
    """Return the sentence on corruptions that change images under 32 px more; "" for larger ones."""
    side = min(group.first.metrics.model.input_size[-2:])
    if side >= _CORRUPTED_SIDE:
        return ""
    return (
        f"These images have {side} pixels, so blur, whose width is in pixels, changes them more than it changes images"
        f" of {_CORRUPTED_SIDE}."
    )


def _mean(networks: Sequence[Behaviour], value: Callable[[Behaviour], float], form: str) -> str:
    return format(fmean(map(value, networks)), form)


def _log_loss(networks: Sequence[Calibration]) -> str:
    values = [each.log_loss for each in networks]
    finite = [value for value in values if value is not None]
    return f"{fmean(finite):.4f}" if len(finite) == len(values) else MISSING


def _error(networks: Sequence[Behaviour]) -> str:
    """Return the calibration error with its interval; of several networks the mean, with the lowest and the highest."""
    errors = [each.ece for each in networks]
    bounds = (min(errors), max(errors)) if len(errors) > 1 else networks[0].ece_ci95
    return with_interval(f"{100 * fmean(errors):.2f}", *(f"{100 * bound:.2f}" for bound in bounds))


def _below_error(rows: Sequence[tuple[str, Sequence[Behaviour]]]) -> str:
    """Return what is in brackets below the calibration errors."""
    several = {len(networks) > 1 for _, networks in rows}
    kinds = {
        "95 % interval of one network": False in several,
        "lowest and highest of several networks": True in several,
    }
    return " or ".join(f"the {kind}" for kind, is_there in kinds.items() if is_there)


def _not_carried_over(rows: Sequence[tuple[str, Sequence[Behaviour]]], groups: Sequence[SeedGroup]) -> str:
    """Return the sentence on networks whose log loss is higher after the temperature; "" without one."""
    names = []
    for name, networks in rows:
        before, after = _log_loss(networks), _log_loss([each.with_temperature for each in networks])
        if MISSING not in (before, after) and float(after) > float(before):
            names.append(name)
    if not names:
        return ""
    sizes = {result.metrics.validation.n for group in groups for result in group.results}
    number = "" if len(sizes) > 1 or groups[0].folds else f"{sizes.pop():,} "
    return (
        f"For {counted(names, f'of {len(rows)} networks')}, the gain in log loss on the {number}validation images did"
        " not carry over to the test images."
    )


def _images(kind: str, images: Images, classes: list[str]) -> list[str]:
    """Return lines about images, the first of which counts them; [] for a count of 0."""
    if not images.count:
        return []
    number = "One test image" if images.count == 1 else f"{images.count:,} test images"
    shown = f" (the {_IMAGES} with the surest answers)" if images.count > _IMAGES else ""
    return [f"{number} {kind}{shown}:", *(_answer(each, classes) for each in images.images[:_IMAGES])]


def _answer(answer: Answer, classes: list[str]) -> str:
    wrong = f", predicted as {classes[answer.predicted]}" if answer.predicted != answer.label else ""
    return f"{answer.name}: {classes[answer.label]}{wrong} ({100 * answer.probability:.1f} %)"


# -- classes ----------------------------------------------------------------------------------------------------------


def of_experiment(result: Result, network: Network) -> dict[str, Any]:
    """Return what the template shows of one trained network."""
    classes = result.metrics.classes
    return {
        **_classes(class_counts([result])),
        "mistakes": [_answer(each, classes) for each in network.confident_mistakes],
        "hits": [_answer(each, classes) for each in network.doubtful_hits],
    }


def _classes_of_folds(group: SeedGroup) -> dict[str, Any]:
    """Return what the template shows of the classes of a network on the images of all its folds."""
    seeds = [str(result.seed) for result in passes(group.results)[0]]
    return {"name": group.display_name, "seeds": enumerate_words(seeds), **_classes(class_counts(group.results))}


def _classes(counts: ClassCounts) -> dict[str, Any]:
    return {
        "class_table": _class_table(counts),
        "classes_left_out": max(0, len(counts.names) - _CLASSES),
        "confusions": _confusions(counts),
    }


def _confusions(counts: ClassCounts) -> list[str]:
    """Return the most frequent errors, as "3 predicted as 8: 5 of 35"; 35 images are of class 3."""
    found = [
        (count, true, predicted)
        for true, row in enumerate(counts.matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    found.sort(key=lambda confusion: (-confusion[0], *confusion[1:]))
    return [
        f"{counts.names[true]} predicted as {counts.names[predicted]}: {count} of {counts.images[true]}"
        for count, true, predicted in found[:_CONFUSIONS]
    ]


def _class_table(counts: ClassCounts) -> Markdown:
    scores = class_scores(counts)
    if len(scores) > _CLASSES:
        scores = sorted(scores, key=lambda each: each.f1.value if each.f1 else 1.0)[:_CLASSES]
    lines = [[each.name, each.n, *map(_score, (each.precision, each.recall, each.f1))] for each in scores]
    return table(["Class", "Test images", "Precision (%)", "Recall (%)", "F1 (%)"], lines, numbers_from=1)


def _score(score: Score | None) -> Markdown:
    if score is None:
        return escape(MISSING)
    return escape(f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})")
