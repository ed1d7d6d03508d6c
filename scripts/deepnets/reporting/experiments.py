"""All about each experiment: in the report of a small study, on a page for each of a large one."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from deepnets.config.experiment import recipe_title
from deepnets.evaluation.results import Result
from deepnets.figures import EXPERIMENT_FIGURES
from deepnets.reporting import behaviour
from deepnets.reporting.markdown import Markdown, escape, image, link, table
from deepnets.reporting.page import render_page
from deepnets.reporting.study import Study
from deepnets.reporting.tables import ROWS
from deepnets.reporting.templates import render_markdown
from deepnets.utils import paths
from deepnets.utils.durations import format_duration
from deepnets.utils.files import write_text

# Up to this many experiments are shown with figures. If there are more, each is one line with a link to its page, so
# that the report stays readable and below the 512 KB that code hosts show.
_IN_FULL = 40
_ROWS = 20  # of the table of each dataset at least, for any number of datasets
_KINDS = ("md", "html")  # of a page


def in_full(study: Study) -> bool:
    """Return whether the report itself has all about each experiment."""
    return len(study.results) <= _IN_FULL


def named(result: Result, seeds: str = "") -> str:
    """Return an experiment's name for readers; `seeds`: what stands for its seed, for several experiments."""
    run = seeds or f"seed {result.seed}"
    return f"{result.display_name} on {result.dataset}, recipe {recipe_title(result.recipe)}, {run}"


def of_dataset(study: Study, dataset: str) -> dict[str, Any]:
    """Return what the template shows of the experiments on a dataset."""
    results = by_dataset(study.results)[dataset]
    most = _most(study)
    shown = results
    if len(results) > most:
        shown = sorted(results, key=lambda result: result.metrics.validation.accuracy, reverse=True)[:most]
    return {
        "dataset": dataset,
        "count": len(results),
        "left_out": len(results) - len(shown),
        "blocks": [_block(study, result) for result in results] if in_full(study) else [],
        "table": None if in_full(study) else _table(study, shown),
        "index": link("the list of all experiments", study.link(paths.REPORT_INDEX)),
    }


def write_pages(study: Study) -> None:
    """Write a page for each experiment if the report has no room for it, and remove the pages of an earlier report.

    If the report does not link them all, a page next to them does. As the report, each page is Markdown and HTML, and
    leads back to the report of its kind.

    Raises:
        UserError: a template is missing.
    """
    folder = study.folder / study.link(paths.REPORT_PAGES)
    for earlier in [page for name in ("seed*", "index") for kind in _KINDS for page in folder.rglob(f"{name}.{kind}")]:
        earlier.unlink()
    if in_full(study):
        return
    for result in study.results:
        page = study.folder / _page(study, result)
        _write_page(study, page, named(result), _body(study, result, page.parent))
    if any(len(results) > _most(study) for results in by_dataset(study.results).values()):
        _write_page(study, study.folder / study.link(paths.REPORT_INDEX), *_index(study))


def by_dataset(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the experiments of each dataset, in their order."""
    of_datasets: dict[str, list[Result]] = {}
    for result in results:
        of_datasets.setdefault(result.dataset, []).append(result)
    return of_datasets


def _most(study: Study) -> int:
    """Return the most rows that the report's table of the experiments on a dataset has."""
    return max(_ROWS, ROWS // len(by_dataset(study.results)))


def _write_page(study: Study, page: Path, title: str, body: str) -> None:
    report = link("The report", _relative(study.folder / study.link(paths.REPORT), page.parent))
    text = "\n\n".join([f"# {escape(title)}", report, body])
    write_text(page, text)
    write_text(page.with_suffix(".html"), render_page(text, page.parent))


def _page(study: Study, result: Result) -> PurePosixPath:
    """Return the path of an experiment's page as Markdown, relative to the report."""
    *names, seed = result.directory.parts[-4:]
    return study.link(paths.REPORT_PAGES).joinpath(*names, f"{seed}.md")


def _relative(path: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(Path(os.path.relpath(path, folder)).as_posix())


def _block(study: Study, result: Result) -> dict[str, Any]:
    accuracy = f"{100 * result.metrics.test.accuracy:.2f}"
    return {"title": f"{named(result)}: {accuracy} %", "body": _body(study, result, study.folder)}


def _body(study: Study, result: Result, folder: Path) -> Markdown:
    """Return all about an experiment, for a document in a folder."""
    context = _context(study, result, _relative(result.directory, folder))
    return Markdown(render_markdown(paths.REPOSITORY / paths.EXPERIMENT_TEMPLATE, {"experiment": context}))


def _context(study: Study, result: Result, folder: PurePosixPath) -> dict[str, Any]:
    test, timing = result.metrics.test, result.timing
    return {
        "accuracy": f"{100 * test.accuracy:.2f}",
        "fold": result.metrics.fold,
        "interval": "{:.2f} to {:.2f}".format(*(100 * bound for bound in test.accuracy_ci95)),
        "validation": f"{100 * result.metrics.validation.accuracy:.2f}",
        "mirror_averaged": result.metrics.mirror_averaged,
        "f1": f"{100 * test.f1_macro:.2f}",
        "ece": f"{100 * test.ece:.2f}",
        "epochs": "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs",
        "time": format_duration(timing.wall_seconds),
        "warnings": result.warnings,
        **behaviour.of_experiment(
            result, study.statistics[result.dataset].network(result.model, result.recipe, result.seed)
        ),
        "figures": [
            image(f"{figure.title} of {named(result)}", folder / paths.FIGURE_FILE.format(figure=name), figure.width)
            for name, figure in EXPERIMENT_FIGURES.items()
        ]
        + [behaviour.saliency(result, folder)] * (result.directory in study.saliency),
        "files": [link(file, folder / file) for file in (paths.METRICS_FILE, paths.HISTORY_FILE, paths.TIMING_FILE)],
    }


def _table(study: Study, results: list[Result]) -> Markdown:
    shown = EXPERIMENT_FIGURES.values()
    lines = []
    for result in results:
        folder = _relative(result.directory, study.folder)
        files = [
            link("page", _page(study, result)),
            *(link(figure.title.lower(), folder / paths.FIGURE_FILE.format(figure=figure.name)) for figure in shown),
            link("metrics", folder / paths.METRICS_FILE),
        ]
        names = [result.display_name, recipe_title(result.recipe), Markdown(", ".join(files))]
        accuracy = f"{100 * result.metrics.test.accuracy:.2f}"
        lines.append([*names, "; ".join(result.warnings), result.seed, accuracy])
    return table(["Model", "Recipe", "Files", "Warnings", "Seed", "Test acc. (%)"], lines, numbers_from=4)


def _index(study: Study) -> tuple[str, str]:
    """Return the title and the text of the page that links the pages of all experiments, dataset by dataset."""
    folder = study.link(paths.REPORT_INDEX).parent
    sections = []
    for dataset, results in by_dataset(study.results).items():
        lines = [
            [
                *(result.display_name, recipe_title(result.recipe)),
                link(f"seed {result.seed}", _page(study, result).relative_to(folder)),
                *(f"{100 * split.accuracy:.2f}" for split in (result.metrics.validation, result.metrics.test)),
            ]
            for result in results
        ]
        header = ["Model", "Recipe", "Page", "Validation acc. (%)", "Test acc. (%)"]
        sections += [f"## {escape(dataset)}", table(header, lines, numbers_from=3)]
    return f"All {len(study.results)} experiments of the study {study.name}", "\n\n".join(sections)
