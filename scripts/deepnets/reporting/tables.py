"""The report's tables and metrics.csv: the numbers of results, formatted for readers."""

import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from deepnets.comparison.aggregate import SeedGroup, best_by_model, by_validation, group_name, several_recipes
from deepnets.comparison.per_class import class_counts
from deepnets.comparison.published import Published
from deepnets.comparison.statistics_file import Committee
from deepnets.evaluation import metrics
from deepnets.evaluation.metrics import Metric, SplitName
from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import MirrorAveraged, SplitMetrics
from deepnets.models import display_name
from deepnets.reporting.headline import Row
from deepnets.reporting.markdown import Markdown, bold, enumerate_words, escape, table
from deepnets.utils.durations import NO_BREAK, format_duration

MISSING = "–"
_TIME = "time"  # instead of a format: that of `format_duration`
_FIRST = ("validation_accuracy", "test_accuracy")  # columns that are read first: by one is chosen, the other is reached
RUNS = 40  # runs of a dataset in the comparison table, which people read from top to bottom; metrics.csv has the rest
ROWS = 200  # rows of the reference tables; with a thousand rows, code hosts would not show the page


# -- each network's runs and its published row ------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column of the comparison table.

    Attributes:
        name: the attribute of a published row to compare with; a dash is shown if the row has no such attribute.
        value: this project's value of one experiment, to be multiplied by `scale`.
        format, published_format, difference_format: for this value, the published one and their difference.
    """

    title: str
    name: str
    value: Callable[[Result], float | None]
    format: str
    published_format: str
    difference_format: str
    scale: int = 1


def columns(results: Iterable[Result]) -> list[Column]:
    """Return by what a run is chosen and what it reached, its costs, other metrics, and what only some results have.

    Metrics for imbalanced classes have a column only where the classes are.
    """
    results = list(results)
    are_imbalanced = imbalanced(results)
    costs = [
        ("Epochs", "epochs", "epochs", "g"),
        ("Training time", "wall_seconds", "timing.wall_seconds", _TIME),  # which no published row has
        ("Size (MB)", "size_mb", "metrics.model.size_mb", ".2f"),
        ("Trainable parameters", "trainable_parameters", "metrics.model.trainable_parameters", ",.0f"),
    ]
    found = [
        *(Column(title, name, attrgetter(value), form, form, form) for title, name, value, form in costs),
        *(
            _metric_column(metric, split)
            for metric in metrics.METRICS
            if are_imbalanced or not metric.only_imbalanced
            for split in metric.columns
        ),
        *(column for column in [_MIRROR_AVERAGED] if any(column.value(result) is not None for result in results)),
    ]
    return sorted(found, key=lambda column: column.name not in _FIRST)


_MIRROR_AVERAGED = Column(
    "Mirror-averaged test acc. (%)",
    "mirror_averaged_test_accuracy",  # which no published row has
    attrgetter("mirror_averaged_accuracy"),
    *(".2f", ".2f", ".2f"),
    scale=100,
)


def directions() -> str:
    """Return the sentence that says for which columns a lower or a higher value is better."""
    lower = [
        metric.column_title(split)
        for metric in metrics.METRICS
        for split in metric.columns
        if metric.direction == "lower"
    ]
    return f"Lower is better for {enumerate_words(lower)}, higher for the other metrics."


def imbalanced(results: Sequence[Result]) -> bool:
    """Whether the classes of a dataset's test split are imbalanced; with folds, those of all folds together."""
    return metrics.is_imbalanced(class_counts(results).images)


def _metric_column(metric: Metric, split: SplitName) -> Column:
    return Column(
        metric.column_title(split),
        f"{split}_{metric.name}",
        attrgetter(f"metrics.{split}.{metric.name}"),
        metric.format,
        metric.published_format or metric.format,
        metric.difference_format or metric.format,
        metric.scale,
    )


def comparison_table(rows: list[Row], committee: Committee | None, stopped: Collection[Path] = ()) -> Markdown:
    """Return the table of one dataset: its runs, the best on validation first.

    Below the first run of each architecture that somebody published are the published row, and the difference from it.
    Where recipes differ, the name of a run is bold if validation chose its recipe for the network, and the others are
    marked. If there are more than RUNS runs, the table has the one of each network that is best on validation, and the
    best of the others. The last row is the committee's, if there is one.

    `stopped`: the folders of experiments in which a search stopped a trial early; its name says it.
    """

    def line(name: str, cells: list[str], letters: str) -> list[str]:
        return [name, *cells[: len(_FIRST)], letters, *cells[len(_FIRST) :]]

    with_recipe, shown = several_recipes(row.group for row in rows), _shown(rows)
    shown_columns = columns(result for row in rows for result in row.group.results)
    lines: list[list[str]] = []
    compared = set[str]()
    for row in shown:
        candidate, architecture = row.group.candidate, row.group.first.architecture
        cells = [_our_cell(row, column) for column in shown_columns]
        letters = candidate.group if candidate else None
        lines.append(line(_named(row.group, with_recipe, stopped), cells, letters or MISSING))
        published = row.published  # None for pretrained networks, too, which are not compared
        if published is None or architecture in compared:
            continue
        compared.add(architecture)
        theirs = [_published_cell(published, column) for column in shown_columns]
        differences = [_difference_cell(row, published, column) for column in shown_columns]
        named = f"{display_name(architecture)}, published"
        lines += [line(named, theirs, MISSING), line("difference", differences, MISSING)]
    if committee:
        of_folds = " of each fold" * any(row.group.folds for row in rows)
        name = Markdown(f"<em>Committee of {committee.networks} networks{of_folds}</em><br><small>not ranked</small>")
        lines.append(line(name, [_committee_cell(committee, column) for column in shown_columns], MISSING))
    return table(line("Model", [column.title for column in shown_columns], "Group"), lines, numbers_from=1)


def _named(group: SeedGroup, with_recipe: bool, stopped: Collection[Path]) -> str:
    """Return the name of a run; with recipes, it shows whether validation chose this one."""
    early = "stopped early" if group.stopped_early(stopped) else ""
    name = ", ".join(filter(None, [group_name(group, with_recipe), group.runs, early]))
    if not with_recipe or group.candidate is None:
        return name
    return bold(name) if group.candidate.selected else Markdown(f"{escape(name)}<br><small>not chosen</small>")


def _shown(rows: list[Row]) -> list[Row]:
    """Return the runs that the table shows, the best on validation first."""
    groups = [row.group for row in rows]
    urgent = dict.fromkeys(
        id(group) for group in [*by_validation(best_by_model(groups).values()), *by_validation(groups)]
    )
    shown, of_group = set(list(urgent)[:RUNS]), {id(row.group): row for row in rows}
    return [of_group[id(group)] for group in by_validation(groups) if id(group) in shown]


def _ours(row: Row, column: Column) -> float | None:
    value = _pooled(row, column) if row.group.first.fold is not None else row.group.mean(column.value)
    return None if value is None else column.scale * value


def _pooled(row: Row, column: Column) -> float | None:
    """Return the value of a network in folds: a metric of the test images is that of all folds' images together."""
    candidate, (split, _, metric) = row.group.candidate, column.name.partition("_")
    if candidate is None or candidate.pooled is None or split != "test":
        return row.group.mean(column.value)
    values = [each.test[metric] for each in candidate.pooled]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _our_cell(row: Row, column: Column) -> str:
    value = _ours(row, column)
    text = MISSING if value is None else _written(value, column.format)
    if column.name != "test_accuracy":
        return text
    accuracy, candidate = row.group.accuracy, row.group.candidate
    spread = f" ± {100 * candidate.std:.2f}" if candidate and candidate.std is not None else ""
    return with_interval(f"{text}{spread}", f"{100 * accuracy.low:.2f}", f"{100 * accuracy.high:.2f}")


def _committee_cell(committee: Committee, column: Column) -> str:
    if column.name != "test_accuracy":
        return MISSING
    value, *bounds = (f"{100 * each:.2f}" for each in (committee.accuracy, *committee.ci95))
    return with_interval(value, *bounds)


def with_interval(value: str, low: str, high: str) -> Markdown:
    """Return a cell with a number, and its interval below it."""
    return Markdown(f"{value}<br>({low} to {high})".replace(" ", NO_BREAK))


def _written(value: float, form: str) -> str:
    return format_duration(value) if form == _TIME else format(value, form)


def _published_cell(published: Published, column: Column) -> str:
    value = getattr(published, column.name, None)
    return MISSING if value is None else format(value, column.published_format)


def _difference_cell(row: Row, published: Published, column: Column) -> str:
    ours, theirs = _ours(row, column), getattr(published, column.name, None)
    if ours is None or theirs is None:
        return MISSING
    text = format(abs(ours - theirs), column.difference_format)
    if not text.strip("0.,"):
        return "0"
    return f"{'+' if ours > theirs else '−'}{text}"


# -- metrics.csv ------------------------------------------------------------------------------------------------------


def metrics_csv(results: Iterable[Result]) -> str:
    """Return one row per experiment with every single number: fractions, seconds, MB; unknown values are empty."""
    # With dtype object, a column of whole numbers keeps whole numbers if a value is missing.
    return pd.DataFrame([_metrics_row(result) for result in results], dtype=object).to_csv(index=False)


def _metrics_row(result: Result) -> dict[str, Any]:
    content, timing = result.metrics, result.timing
    return {
        **content.experiment.model_dump(),
        "architecture": result.architecture,
        "epochs": result.epochs,
        "parameters": content.model.parameters,
        "trainable_parameters": content.model.trainable_parameters,
        "mult_adds": content.model.mult_adds,
        "size_mb": content.model.size_mb,
        "weights_bytes": content.weights_bytes,
        "train_images": content.train.of or content.train.n,
        "train_images_evaluated": content.train.n,
        **_split_cells("train", content.train),
        "validation_images": content.validation.n,
        **_split_cells("validation", content.validation),
        "test_images": content.test.n,
        **_split_cells("test", content.test),
        **(_mirror_averaged_cells(content.mirror_averaged) if content.mirror_averaged else {}),
        "wall_seconds": timing.wall_seconds,
        "cpu_seconds": timing.cpu_seconds,
        "images_per_second": timing.images_per_second,
        "peak_memory_mb": timing.peak_memory_mb,
        "device": timing.device,
        "device_name": timing.device_name,
        "precision": timing.precision,
        "threads": timing.threads,
        "accumulation": timing.accumulation,
        "torch": timing.versions.get("torch"),
        "warnings": len(result.warnings),
        "spec_sha256": content.spec_sha256,
    }


def _mirror_averaged_cells(averaged: MirrorAveraged) -> dict[str, float | None]:
    cells = _split_cells("validation", averaged.validation) | _split_cells("test", averaged.test)
    return {f"mirror_averaged_{name}": value for name, value in cells.items()}


def _split_cells(split: SplitName, values: SplitMetrics) -> dict[str, float | None]:
    """Each metric of one split as `{split}_{name}`, followed by the bounds of its interval if it has one."""
    cells: dict[str, float | None] = {}
    for metric in metrics.of_split(split):
        cells[f"{split}_{metric.name}"] = getattr(values, metric.name)
        if split == "test" and metric.interval:
            low, high = getattr(values, metric.interval_name)
            cells |= {f"{split}_{metric.interval_name}_low": low, f"{split}_{metric.interval_name}_high": high}
    return cells
