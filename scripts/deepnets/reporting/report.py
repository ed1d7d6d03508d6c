"""results/report.md: gathers what a study found, puts every number into words and tables, and renders the template."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shlex import quote

from jinja2 import Environment, StrictUndefined

from deepnets.comparison.aggregate import budget_lines, group_seeds, interval_caption
from deepnets.comparison.published import Published, find
from deepnets.evaluation.results import Result, SplitMetrics
from deepnets.models import display_name
from deepnets.reporting import headline as findings
from deepnets.reporting import tables
from deepnets.reporting.headline import Row
from deepnets.reporting.job_times import JobTime, by_stage, from_first_to_last
from deepnets.reporting.markdown import Markdown, block, bold, code, enumerate_words, escape, image, link, table
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text

_WARNINGS_SHOWN = 20
# Up to so many experiments are shown with their figures; of more, a line each keeps the page readable and under the
# 512 KB that code hosts render.
_EXPERIMENTS_IN_FULL = 40
_EXPERIMENT_ROWS = 20  # of each dataset, at least, however many datasets there are
_CONFUSIONS_SHOWN = 3


@dataclass(frozen=True)
class Study:
    """All that a report is made of.

    results: experiments in the order of the study.
    datasets: by name, {"variant_of": name of the published dataset it stands for or None, "note": sentence or None,
        "own_files": folder or archive of the user's own that it is made from or None}.
    jobs: what the study's jobs took; empty where nothing was measured.
    environment: as deepnets.reporting.environment.describe gives it.
    folder: where report.md will be; links start there.
    """

    name: str
    results: list[Result]
    datasets: dict[str, dict]
    published: list[Published]
    jobs: list[JobTime]
    environment: dict
    folder: Path


def render(study: Study, template: str | Path) -> str:
    """The report as Markdown for a code host.

    Raises:
        UserError: the template is missing.
    """
    try:
        source = Path(template).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{template}: the file is missing; restore it with: git checkout {template}") from None
    environment = Environment(
        undefined=StrictUndefined, finalize=escape, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source).render(_context(study))


def _context(study: Study) -> dict:
    results = study.results
    rows = _rows(study)
    recipe_line, recipe_table, recipes_left_out = tables.recipes(results)
    return {
        "study": study.name,
        "title": _title(rows),
        "sentences": [findings.asked(study.name, rows), findings.found(rows), findings.against_published(rows)],
        "warnings": _warnings(study),
        "datasets": [_dataset(study, name, rows[name]) for name in rows],
        "experiments": [_experiments(study, name, max(_EXPERIMENT_ROWS, tables.ROWS // len(rows))) for name in rows],
        "in_full": len(results) <= _EXPERIMENTS_IN_FULL,
        "recipe_line": recipe_line,
        "recipe_table": recipe_table,
        "recipes_left_out": recipes_left_out,
        "cost_table": tables.cost_table(results),
        "cost_of_each": len(results) <= tables.ROWS,
        "cost": _cost(study) if study.jobs else None,
        "provenance": _provenance(study),
        "modified": study.environment["git_modified"],
        "commands": _commands(study),
        "own_files": [
            _at_hand(name, about["own_files"]) for name, about in study.datasets.items() if about["own_files"]
        ],
        "deterministic": _is_deterministic(study),
        "split": any(result.was_split for result in results),
    }


def _rows(study: Study) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for group in group_seeds(study.results):
        dataset = group.first.dataset
        origin = study.datasets[dataset]["variant_of"] or dataset
        published = find(study.published, "study", origin, group.first.architecture)
        rows.setdefault(dataset, []).append(Row(group, published))
    return rows


def _title(rows: dict[str, list[Row]]) -> str:
    models = list(dict.fromkeys(display_name(row.group.model) for part in rows.values() for row in part))
    datasets = list(rows) if len(rows) <= 3 else [f"{len(rows)} datasets"]
    networks = models[0] if len(models) == 1 else f"{len(models)} networks"
    return f"{networks} on {enumerate_words(datasets)}"


def _named(result: Result) -> str:
    return f"{display_name(result.model)} on {result.dataset}, recipe {result.recipe}, seed {result.seed}"


def _warnings(study: Study) -> list[Markdown]:
    lines = [
        Markdown(f"{bold(_named(result))}: {escape(warning)}.")
        for result in study.results
        for warning in result.warnings
    ]
    versions = sorted({result.timing.versions.get("torch", "unknown") for result in study.results})
    if len(versions) > 1:
        lines.append(
            escape(f"The experiments were trained with different versions of torch: {enumerate_words(versions)}.")
        )
    left = len(lines) - _WARNINGS_SHOWN
    more = [escape(f"And {left} more; each experiment's metrics.json has its own.")] if left > 0 else []
    return lines[:_WARNINGS_SHOWN] + more


# -- one dataset ------------------------------------------------------------------------------------------------------


def _dataset(study: Study, name: str, rows: list[Row]) -> dict:
    groups = [row.group for row in rows]
    metrics = groups[0].first.metrics
    about = study.datasets[name]
    origin = about["variant_of"] or name
    architectures = dict.fromkeys(group.first.architecture for group in groups)
    best = [find(study.published, "best", origin, architecture) for architecture in architectures]
    names = ["accuracy", "accuracy_vs_parameters", "accuracy_vs_time"]
    if budget_lines(groups):
        names.append("accuracy_vs_budget")
    return {
        "name": name,
        "classes": len(metrics.classes),
        "pixels": " x ".join(map(str, metrics.model.input_size[1:])),
        "parts": [_part_size(part) for part in (metrics.train, metrics.validation, metrics.test)],
        "variant_of": about["variant_of"],
        "note": about["note"],
        "table": tables.comparison_table(rows),
        "left_out": max(0, len(rows) - tables.RUNS),
        "intervals": interval_caption(groups),
        "sources": sorted({row.published.source for row in rows if row.published}),
        "best": [_best_published(row) for row in best if row],
        "figures": [_comparison_figure(name, figure) for figure in names],
    }


def _best_published(row: Published) -> str:
    epochs = f"{row.epochs} epochs, " if row.epochs else ""
    return f"{display_name(row.model)} {row.test_accuracy:.2f} % ({epochs}{row.source})"


_FIGURES = {
    "accuracy": ("Test accuracy by model", "75%"),
    "accuracy_vs_parameters": ("Test accuracy against the number of parameters", "49%"),
    "accuracy_vs_time": ("Test accuracy against training time", "49%"),
    "accuracy_vs_budget": ("Test accuracy against the budget in epochs and in time", "100%"),
}


def _comparison_figure(dataset: str, figure: str) -> Markdown:
    title, width = _FIGURES[figure]
    return image(f"{title} on {dataset}", PurePosixPath(dataset, "comparison", f"{figure}.png"), width)


# -- one experiment ---------------------------------------------------------------------------------------------------


def _experiments(study: Study, dataset: str, most: int) -> dict:
    results = [result for result in study.results if result.dataset == dataset]
    in_full = len(study.results) <= _EXPERIMENTS_IN_FULL
    shown = results
    if len(results) > most:
        shown = sorted(results, key=lambda result: result.metrics.test.accuracy, reverse=True)[:most]
    return {
        "dataset": dataset,
        "count": len(results),
        "left_out": len(results) - len(shown),
        "blocks": [_experiment(study, result) for result in results] if in_full else [],
        "table": None if in_full else _experiment_table(study, shown),
    }


def _folder(study: Study, result: Result) -> PurePosixPath:
    return PurePosixPath(Path(os.path.relpath(result.directory, study.folder)).as_posix())


def _experiment(study: Study, result: Result) -> dict:
    folder, test, timing = _folder(study, result), result.metrics.test, result.timing
    seconds = result.history["seconds"]
    return {
        "name": _named(result),
        "accuracy": f"{100 * test.accuracy:.2f}",
        "interval": "{:.2f} to {:.2f}".format(*(100 * bound for bound in test.accuracy_ci95)),
        "validation": f"{100 * result.metrics.validation.accuracy:.2f}",
        "f1": f"{test.f1_macro:.3f}",
        "ece": f"{test.ece:.3f}",
        "epochs": "1 epoch" if len(seconds) == 1 else f"{len(seconds)} epochs",
        "time": tables.duration(timing.wall_seconds),
        "warnings": result.warnings,
        "confusions": _confusions(result),
        "figures": [
            image(f"Learning curves of {_named(result)}", folder / "figures/learning_curves.png", "49%"),
            image(f"Confusion matrix of {_named(result)}", folder / "figures/confusion_matrix.png", "49%"),
        ],
        "files": [link(file, folder / file) for file in ("metrics.json", "history.csv", "timing.json")],
    }


def _confusions(result: Result) -> list[str]:
    """The most frequent confusions, as "8 for 3 (5 of 35)": true class first."""
    matrix, classes = result.metrics.test.confusion_matrix, result.metrics.classes
    found = [
        (count, true, predicted)
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    found.sort(key=lambda confusion: (-confusion[0], *confusion[1:]))
    return [
        f"{classes[true]} for {classes[predicted]} ({count} of {sum(matrix[true])})"
        for count, true, predicted in found[:_CONFUSIONS_SHOWN]
    ]


def _experiment_table(study: Study, results: list[Result]) -> Markdown:
    lines = []
    for result in results:
        folder = _folder(study, result)
        files = [
            link("curves", folder / "figures/learning_curves.png"),
            link("confusions", folder / "figures/confusion_matrix.png"),
            link("metrics", folder / "metrics.json"),
        ]
        names = [display_name(result.model), result.recipe, Markdown(", ".join(files))]
        accuracy = f"{100 * result.metrics.test.accuracy:.2f}"
        lines.append([*names, "; ".join(result.warnings), result.seed, accuracy])
    return table(["Model", "Recipe", "Files", "Warnings", "Seed", "Test acc. (%)"], lines, numbers_from=4)


# -- what it took -----------------------------------------------------------------------------------------------------


def _cost(study: Study) -> dict:
    passed, idle = from_first_to_last(study.jobs)
    return {
        "passed": tables.duration(passed),
        "idle": tables.duration(idle) if idle >= 1 else None,
        "shares": _shares(study),
        "table": tables.stage_table(by_stage(study.jobs)),
    }


def _shares(study: Study) -> dict | None:
    """Where the jobs' time went, in percent: steps of training, validation and saves between them, all around training.

    Not known where a training was measured by halves: its benchmark file is gone, or tells of its last run alone.
    """
    measured = sum(job.stage == "train" for job in study.jobs)
    if measured < len(study.results) or any(result.timing.resumed_from_epochs for result in study.results):
        return None
    total = sum(job.seconds for job in study.jobs)
    steps = sum(result.timing.train_seconds for result in study.results)
    trainings = sum(result.timing.wall_seconds for result in study.results)
    seconds = {"steps": steps, "between": trainings - steps, "around": total - trainings}
    return {name: f"{100 * part / total:.1f}" for name, part in seconds.items()}


# -- where it comes from ----------------------------------------------------------------------------------------------


def _provenance(study: Study) -> Markdown:
    about = study.environment
    trained = list(dict.fromkeys(_trained_on(result) for result in study.results))
    commit = code(about["git_commit"]) if about["git_commit"] else "not known: not a git checkout"
    if about["git_modified"]:
        commit = Markdown(f"{commit}, with changes that are not committed")
    memory = [f"{about['memory_gb']:g} GB"] if about["memory_gb"] else []
    rows = [
        ["Commit", commit],
        ["StrictModel", Markdown(f"{code(_settings_hash(study))} (SHA-256 of all experiments' specs)")],
        ["Trained on", Markdown("<br>".join(escape(line) for line in trained))],
        ["Report made on", ", ".join([about["cpu"], f"{about['cores']} cores", *memory, *about["gpus"]])],
        ["System", about["platform"]],
        ["Python", about["python"]],
        ["Packages", ", ".join(f"{name} {version}" for name, version in about["packages"].items())],
    ]
    return table(["", ""], rows, numbers_from=2)


def _trained_on(result: Result) -> str:
    timing = result.timing
    versions = [f"{name} {version}" for name, version in sorted(timing.versions.items())]
    return ", ".join([timing.name, timing.thread_count, timing.precision, *versions])


def _settings_hash(study: Study) -> str:
    return sha256_text(canonical_json(sorted(result.metrics.spec_sha256 for result in study.results)))


def _part_size(part: SplitMetrics) -> str:
    sampled = part.of is not None and part.of > part.n
    return f"{part.n:,} (a fixed random sample of {part.of:,})" if sampled else f"{part.n:,}"


def _is_deterministic(study: Study) -> bool:
    return all(result.timing.deterministic for result in study.results)


def _commands(study: Study) -> Markdown:
    commit = study.environment["git_commit"]
    return block(
        [
            *([f"git checkout {commit}"] if commit else []),
            "make setup && source .venv/bin/activate",
            *_snakemake_commands(study),
        ]
    )


def _snakemake_commands(study: Study) -> Iterator[str]:
    """Commands that give each training the threads and processes that it had.

    One for each number of them, the commonest last: it makes all that the others do not name.
    """
    alike: dict[tuple[int, int], list[Result]] = {}
    for result in study.results:
        alike.setdefault((result.timing.threads, result.timing.processes), []).append(result)
    on_gpu = any(result.timing.device == "cuda" for result in study.results)
    variable = "DEEPNETS_DETERMINISTIC=1 " if on_gpu and _is_deterministic(study) else ""
    *others, commonest = sorted(alike, key=lambda numbers: len(alike[numbers]))
    targets = {
        numbers: " ".join(f"results/{'/'.join(each.directory.parts[-4:])}/metrics.json" for each in alike[numbers])
        for numbers in others
    }
    for (threads, processes), files in {**targets, commonest: "results/report.md"}.items():
        cores = max(threads * processes, study.environment["cores"])  # trainings side by side, each as it was
        several = f" --set-resources train:{'gpu' if on_gpu else 'processes'}={processes}" if processes > 1 else ""
        yield (
            f"{variable}snakemake --cores {cores} {files} --config study={quote(study.name)}"
            f" --set-threads train={threads * processes} evaluate={threads}{several}"
        )


def _at_hand(dataset: str, own_files: str) -> Markdown:
    """Where the images of a dataset have to be that nobody can download."""
    if own_files.startswith(("/", "~")):  # the folders of this machine are no part of a page that others read
        name, place = PurePosixPath(own_files).name, f"where {code(f'datasets.{dataset}.path')} of config.yaml says"
    else:
        variable = code("DEEPNETS_MIRROR=folder")
        name, place = own_files, f"in the clone or in a folder that {variable} before the command names"
    return Markdown(f"{escape(dataset)} is not downloaded: {code(name)} has to be at hand, {place}.")
