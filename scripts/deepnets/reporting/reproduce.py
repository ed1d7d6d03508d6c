"""Describe where a study's numbers come from and how to reproduce them."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from shlex import quote

from deepnets.comparison.aggregate import SeedGroup
from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import Conditions
from deepnets.reporting.markdown import Markdown, block, code, escape, table
from deepnets.reporting.study import Study
from deepnets.utils import paths
from deepnets.utils.files import canonical_json, sha256_text

_DATASETS_NAMED = 3


def provenance(study: Study) -> Markdown:
    """Return the table of commit, settings, machines and versions."""
    made_on = study.environment
    trained = list(dict.fromkeys(_trained_on(run) for result in study.results for run in result.timing.conditions))
    commit = code(made_on["git_commit"]) if made_on["git_commit"] else "unknown: this is not a git checkout"
    if made_on["git_modified"]:
        commit = Markdown(f"{commit}, with changes that are not committed")
    memory = [f"{made_on['memory_gb']:g} GB"] if made_on["memory_gb"] else []
    rows = [
        ["Report made by commit", commit],
        ["Settings", Markdown(f"{code(_settings_hash(study))} (SHA-256 of all experiments' specs)")],
        ["Trained on", Markdown("<br>".join(escape(line) for line in trained))],
        ["Report made on", ", ".join([made_on["cpu"], f"{made_on['cores']} cores", *memory, *made_on["gpus"]])],
        ["System", made_on["platform"]],
        ["Python", made_on["python"]],
        ["Packages", ", ".join(f"{name} {version}" for name, version in made_on["packages"].items())],
    ]
    return table(["", ""], rows, numbers_from=2)


def _trained_on(run: Conditions) -> str:
    return ", ".join(filter(None, [run.name, run.thread_count, run.precision, run.versions_in_words]))


def _settings_hash(study: Study) -> str:
    return sha256_text(canonical_json(sorted(result.metrics.spec_sha256 for result in study.results)))


def is_deterministic(study: Study) -> bool:
    """Return whether all training runs gave the same numbers to the last digit every time."""
    return all(run.deterministic for result in study.results for run in result.timing.conditions)


def commands(study: Study) -> Markdown:
    """Return the block of commands that reproduces the study."""
    commit = study.environment["git_commit"]
    return block(
        [
            *([f"git checkout {commit}"] if commit else []),
            "make setup && source .venv/bin/activate",
            *_snakemake_commands(study),
            *_on_demand_commands(study),
        ]
    )


def _on_demand_commands(study: Study) -> Iterator[str]:
    """Yield the commands of what the report shows though no study makes it: exported files, and maps."""
    files = list[str]()
    for result in study.results:
        names = [exported.file for exported in study.exports[result.directory]]
        names += [paths.SALIENCY_FILE] if result.directory in study.saliency else []
        if names:
            files.append(" ".join(quote("/".join([*result.directory.parts[-5:], name])) for name in names))
    if files:
        *_, of_report = _snakemake_commands(study)
        cores, lines = study.environment["cores"], " \\\n  ".join(files)
        yield f"snakemake --cores {cores} --config study={quote(study.name)} -- \\\n  {lines}"
        yield of_report  # the report shows what is there when it is made


def _snakemake_commands(study: Study) -> Iterator[str]:
    """Yield commands that give each training run the threads and processes that it had.

    There is one command for each combination; the most frequent comes last, because it builds everything that the
    others do not name.
    """
    alike: dict[tuple[int, int], list[Result]] = {}
    for result in study.results:
        alike.setdefault((result.timing.threads, result.timing.processes), []).append(result)
    on_gpu = any(result.timing.device == "cuda" for result in study.results)
    variable = "DEEPNETS_DETERMINISTIC=1 " if on_gpu and is_deterministic(study) else ""
    *others, commonest = sorted(alike, key=lambda numbers: len(alike[numbers]))
    targets = {
        numbers: " ".join(paths.METRICS.format(**dict(each.metrics.experiment)) for each in alike[numbers])
        for numbers in others
    }
    for (threads, processes), files in {**targets, commonest: paths.REPORT.format(suffix="")}.items():
        cores = max(threads * processes, study.environment["cores"])  # for several training runs at once
        several = f" --set-resources train:{'gpu' if on_gpu else 'processes'}={processes}" if processes > 1 else ""
        yield (
            f"{variable}snakemake --cores {cores} {files} --config study={quote(study.name)}"
            f" --set-threads train={threads * processes} evaluate={threads}{several}"
        )


def use(best: Iterable[SeedGroup]) -> Markdown:
    """Return the block of commands that use the first seed of the best network of each dataset."""
    lines = []
    for group in [*best][:_DATASETS_NAMED]:
        folder = quote("/".join(group.first.directory.parts[-5:]))
        lines += [
            f"# {group.display_name} on {group.first.dataset}",
            f"python scripts/predict.py {folder} photo.png folder/",
            f"snakemake --cores 2 {folder}/model.onnx {folder}/MODEL_CARD.md",
        ]
    return block(lines)


def files_needed(dataset: str, own_files: str) -> Markdown:
    """Return the sentence about where to put the images of a dataset that cannot be downloaded."""
    if own_files.startswith(("/", "~", "../")):  # a page for others must not show the folders of this machine
        name, where = PurePosixPath(own_files).name, f"at the path in {code(f'datasets.{dataset}.path')} of config.yaml"
    else:
        variable = code("DEEPNETS_MIRROR=folder")
        name, where = own_files, f"in the clone, or in a folder that you name with {variable} before the command"
    return Markdown(f"{escape(dataset)} cannot be downloaded: put {code(name)} {where}.")
