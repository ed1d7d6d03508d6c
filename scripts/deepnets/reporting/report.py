"""Write results/report.md and report.html: put the results of a study into words and tables, fill the templates."""

import html
import re
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from deepnets.comparison.aggregate import SeedGroup, group_seeds, interval_caption, several_recipes, with_statistics
from deepnets.comparison.per_class import class_counts
from deepnets.comparison.published import Published, find, read_published
from deepnets.comparison.statistics_file import statistics_of_study
from deepnets.comparison.training_time import training_time
from deepnets.evaluation.measurements import has_saliency, read_exports, read_latency, read_robustness
from deepnets.evaluation.metrics import IMBALANCE
from deepnets.evaluation.results import Result, check_specs, read_result
from deepnets.evaluation.schemas import SplitMetrics
from deepnets.figures import ComparisonFigure, comparison_figures
from deepnets.models import display_name
from deepnets.reporting import (
    behaviour,
    captions,
    cost,
    duplicates,
    experiments,
    fronts,
    headline,
    image_audit,
    methods,
    pairs,
    settings,
    story,
    study_warnings,
    tables,
    verdicts,
)
from deepnets.reporting.audit import Audit, read_audit
from deepnets.reporting.environment import describe
from deepnets.reporting.headline import Row
from deepnets.reporting.job_times import JobTime, job_times, starts_of
from deepnets.reporting.markdown import Markdown, image, link
from deepnets.reporting.missing import make_missing, missing_table
from deepnets.reporting.page import render_page
from deepnets.reporting.reproduce import commands, files_needed, is_deterministic, provenance, use
from deepnets.reporting.started_from import starts, weights_needed
from deepnets.reporting.study import Missing, Study
from deepnets.reporting.templates import render_markdown
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.files import write_json, write_text

_OF_IMAGE_FILES = ("folder", "csv")  # sources whose images may not be square
_NON_SQUARE = {
    "crop": "cropped to their largest centred square",
    "pad": "made square with black at two sides",
    "squash": "made square by changing their proportions",
}


def render(study: Study, template: Path) -> str:
    """Return the report as Markdown for a code host.

    Raises:
        UserError: the template is missing.
    """
    return render_markdown(template, _context(study))


def first_sentence(markdown: str) -> str:
    """Return the first sentence after the title of a report, as plain text on one line."""
    paragraph = next((block for block in markdown.split("\n\n") if block.strip() and not block.startswith("#")), "")
    without_links = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    text = html.unescape(re.sub(r"<[^>]*>|\*\*|`", "", without_links))
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def write_report(
    spec: dict[str, Any],
    root: Path,
    suffix: str = "",
    *,
    missing: Sequence[Missing] = (),
    published: Path = paths.REPOSITORY / paths.PUBLISHED,
    template: Path = paths.REPOSITORY / paths.TEMPLATE,
) -> None:
    """Read a study's results and write its report as Markdown and as a page, metrics.csv and environment.json.

    Args:
        spec: the study's name, the folders of its experiments from `root` in the order of the report, the hashes of
            their specs, its optional stages, and its datasets as in `Study`.
        root: the folder that holds results/, and Snakemake's benchmark files in logs/.
        suffix: of the study's paths, as in `utils.paths`.
        missing: experiments of the study that are not in `spec`; the report lists them.
        published: table of published results.
        template: of the report.

    Raises:
        UserError: a file is missing, damaged or of another spec; then nothing is written.
    """
    study = _read_study(spec, root, suffix, missing, published)
    report = render(study, template)
    page = render_page(report, study.folder)
    experiments.write_pages(study)
    report_file, page_file, metrics_file, environment = (
        root / path.format(suffix=suffix) for path in paths.OUTPUTS["report"]
    )
    with record_checksums(f"report{suffix}", environment, metrics_file, report_file, page_file):
        write_json(environment, {"spec": spec, **study.environment})
        write_text(metrics_file, tables.metrics_csv(study.results))
        write_text(report_file, report)
        write_text(page_file, page)


def _read_study(spec: dict[str, Any], root: Path, suffix: str, missing: Sequence[Missing], published: Path) -> Study:
    """Read all that the report is made from; arguments and errors as of `write_report`."""
    results = [read_result(root / folder) for folder in spec["experiments"]]
    check_specs(results, spec.get("specs"))
    optional = spec.get("optional", [])
    return Study(
        name=spec["study"],
        results=results,
        datasets=spec["datasets"],
        published=read_published(published),
        statistics=statistics_of_study(spec, root, suffix),
        audits={name: read_audit(root / paths.AUDIT.format(dataset=name)) for name in spec["datasets"]},
        optional=optional,
        latencies={(each.dataset, each.model): read_latency(each) for each in results if "latency" in optional},
        robustness={each.directory: read_robustness(each) for each in results if "robustness" in optional},
        exports={each.directory: read_exports(each) for each in results},
        saliency={each.directory for each in results if has_saliency(each)},
        stopped={root / folder for folder in spec.get("stopped", [])},
        jobs=_jobs(root, results, suffix, optional),
        environment=describe(paths.REPOSITORY),
        folder=(root / paths.REPORT).parent,
        suffix=suffix,
        missing=missing,
    )


def _jobs(root: Path, results: list[Result], suffix: str, optional: list[str]) -> list[JobTime]:
    return job_times(
        root / paths.LOGS,
        [result.directory.parts[-4:] for result in results],
        suffix,
        starts_of((result.metrics.spec for result in results), root),
        optional=optional,
        figures=[
            (name, figure.name)
            for name, of_dataset in experiments.by_dataset(results).items()
            for figure in comparison_figures(of_dataset, optional)
        ],
    )


def _context(study: Study) -> dict[str, Any]:
    results = study.results
    rows = _rows(study)
    return {
        "study": study.name,
        "metrics_csv": _file_link(study, paths.METRICS_CSV),
        "environment_json": _file_link(study, paths.ENVIRONMENT),
        "title": headline.title(rows),
        "is_compared": any(row.published for runs in rows.values() for row in runs),
        "answer": [
            headline.result(rows, study.statistics),
            headline.not_learned(rows, study.statistics),
            settings.conditions(rows),
            story.cheapest(study, rows),
            story.runner_up(study, rows),
            headline.against_published(rows, _published_datasets(study)),
        ],
        "next_steps": story.next_steps(study, rows),
        "question": headline.question(study.name, rows, settings.whose_recipe(rows)),
        "warnings": study_warnings.describe(study, rows),
        "missing": missing_table(study),
        "missing_left_out": max(0, len(study.missing) - tables.ROWS),
        "all_missing": make_missing(study),
        **_datasets(study, rows),
        "experiments": [experiments.of_dataset(study, name) for name in rows],
        "in_full": experiments.in_full(study),
        "pages": _file_link(study, paths.REPORT_PAGES),
        "starts": starts(results),
        **settings.describe(results),
        **cost.describe(study),
        "fronts": fronts.describe({name: [row.group for row in runs] for name, runs in rows.items()}, study.latencies),
        **methods.describe(study, rows),
        "provenance": provenance(study),
        "modified": study.environment["git_modified"],
        "commands": commands(study),
        "use": use(
            verdicts.standing([row.group for row in runs], study.statistics[name]).leader for name, runs in rows.items()
        ),
        "own_files": [
            files_needed(name, metadata["own_files"])
            for name, metadata in study.datasets.items()
            if metadata["own_files"]
        ]
        + weights_needed(results),
        "deterministic": is_deterministic(study),
        "changed": any(
            result.was_split or result.differences or result.differences_of_evaluation for result in results
        ),
    }


def _rows(study: Study) -> dict[str, list[Row]]:
    return {name: _rows_of(study, name, results) for name, results in experiments.by_dataset(study.results).items()}


def _published_datasets(study: Study) -> set[str]:
    """Return the datasets that are, or stand for, one of the published study."""
    published = {row.dataset for row in study.published if row.kind == "study"}
    return {name for name, about in study.datasets.items() if (about["variant_of"] or name) in published}


def _rows_of(study: Study, dataset: str, results: list[Result]) -> list[Row]:
    rows = []
    for group in with_statistics(group_seeds(results), study.statistics[dataset]):
        published_as = study.datasets[dataset]["variant_of"] or dataset
        published = None  # the published networks were trained from scratch
        if not group.first.is_pretrained:
            published = find(study.published, "study", published_as, group.first.architecture)
        rows.append(Row(group, published))
    return rows


def _file_link(study: Study, path: str, dataset: str = "") -> Markdown:
    target = study.link(path, dataset)
    return link(target.name, target)


# -- one dataset ------------------------------------------------------------------------------------------------------


def _datasets(study: Study, rows: dict[str, list[Row]]) -> dict[str, Any]:
    shown = {name: _shown_figures(study, name, runs) for name, runs in rows.items()}
    return {
        "datasets": [_dataset(study, name, rows[name], shown[name]) for name in rows],
        "how_to_read": captions.of_datasets(shown),
        "how_to_read_experiments": captions.of_experiments(),
    }


def _shown_figures(study: Study, name: str, rows: list[Row]) -> list[ComparisonFigure]:
    results = [run for row in rows for run in row.group.results]
    drawn = comparison_figures(results, study.optional)
    groups, statistics = [row.group for row in rows], study.statistics[name]
    seconds = [*map(training_time(groups).of, groups)]
    return [figure for figure in drawn if figure.shown is None or figure.shown(statistics, groups, seconds)]


def _dataset(study: Study, name: str, rows: list[Row], figures: list[ComparisonFigure]) -> dict[str, Any]:
    groups, statistics = [row.group for row in rows], study.statistics[name]
    metrics = groups[0].first.metrics
    metadata = study.datasets[name]
    published_as = metadata["variant_of"] or name
    architectures = dict.fromkeys(group.first.architecture for group in groups if not group.first.is_pretrained)
    best = [find(study.published, "best", published_as, architecture) for architecture in architectures]
    return {
        "name": name,
        "classes": len(metrics.classes),
        "pixels": " x ".join(map(str, metrics.model.input_size[1:])),
        "sizes": [_split_size(split) for split in (metrics.train, metrics.validation, metrics.test)],
        "folds": statistics.folds and {"number": statistics.folds.number, "seed": groups[0].first.seed},
        "unlike_folds": verdicts.unlike_folds(statistics),
        "own_validation": metrics.validation.from_dataset,
        "imbalance": _imbalance(groups[0]),
        "non_square": _non_square(metrics.spec["dataset"], study.audits[name]),
        "variant_of": metadata["variant_of"],
        "note": metadata["note"],
        "mirrored": _mirrored(groups),
        "duplicates": duplicates.counted(name, study.audits[name]),
        "images": image_audit.describe(name, study.audits[name]),
        "table": tables.comparison_table(rows, statistics.committee, study.stopped),
        "several_recipes": several_recipes(groups),
        "committee": statistics.committee is not None,
        "spread": any(group.candidate and group.candidate.std is not None for group in groups),
        "pairs": pairs.describe(groups, statistics),
        "compared": verdicts.what_was_compared(groups, statistics),
        "tried": story.gain_of_trials(groups, statistics),
        "open": verdicts.open_questions(groups, statistics),
        "statistics": _file_link(study, paths.STATISTICS, name),
        "left_out": max(0, len(rows) - tables.RUNS),
        "intervals": interval_caption(groups),
        "directions": tables.directions(),
        "mirror_averaged": any(run.metrics.mirror_averaged for group in groups for run in group.results),
        "sources": sorted({row.published.source for row in rows if row.published}),
        "best": [_best_published(row) for row in best if row],
        "figures": [_comparison_figure(study, name, figure) for figure in figures if not figure.of_behaviour],
        "behaviour": behaviour.behaviour(groups, statistics, study),
        "behaviour_figures": [_comparison_figure(study, name, figure) for figure in figures if figure.of_behaviour],
    }


def _imbalance(group: SeedGroup) -> str:
    """How many images the smallest and the largest class have; "" where classes are not imbalanced."""
    if not tables.imbalanced(group.results):
        return ""
    counts = class_counts(group.results)
    fewest, most = (choose(zip(counts.images, counts.names, strict=True), key=itemgetter(0)) for choose in (min, max))
    where = "the test split has" if group.first.fold is None else "the folds together have"
    return (
        f"The classes are imbalanced: {where} {fewest[0]:,} images of {fewest[1]} and {most[0]:,} of {most[1]}."
        " Balanced accuracy is the mean of the classes' accuracies; it is shown where the largest class has at least"
        f" {IMBALANCE} times as many test images as the smallest."
    )


def _non_square(dataset_spec: dict[str, Any], audit: Audit | None) -> str:
    """What became of images that are not square; "" where a source has none, or the audit found none."""
    if dataset_spec["source"] not in _OF_IMAGE_FILES or (audit and audit.all_square):
        return ""
    return f"Images that are not square were {_NON_SQUARE[dataset_spec.get('non_square', 'crop')]}."


def _mirrored(groups: Sequence[SeedGroup]) -> str:
    """Whether training mirrored images: the dataset must allow it, and the recipe do it."""
    answers = {group.first.metrics.spec["dataset"]["horizontal_flip"] for group in groups}
    if answers == {False}:
        return "No image was mirrored in training."
    some = " in some training runs" if len(answers) > 1 else " in training"
    return f"Half of the images were mirrored left to right{some}."


def _split_size(split: SplitMetrics) -> str:
    sampled = split.of is not None and split.of > split.n
    return f"{split.n:,} (a fixed random sample of {split.of:,})" if sampled else f"{split.n:,}"


def _best_published(row: Published) -> str:
    epochs = f"{row.epochs} epochs, " if row.epochs else ""
    return f"{display_name(row.model)} {row.test_accuracy:.2f} % ({epochs}{row.source})"


def _comparison_figure(study: Study, dataset: str, figure: ComparisonFigure) -> Markdown:
    path = study.link(paths.COMPARISON_FIGURE, dataset, figure.name)
    return image(f"{figure.title} on {dataset}", path, figure.width)
