"""Edits of the study of tests/study, and the jobs that they make stale, by their messages."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Edit = Callable[[Path], None]


class Named(NamedTuple):
    """An experiment, with the name that messages give it."""

    model: str
    recipe: str = "brief"
    dataset: str = "shapes"
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, recipe {self.recipe}, seed {self.seed}"


MOBILENET, SMALL, GENTLE = Named("mobilenet_v2"), Named("small"), Named("small", "gentle")
ALL = (MOBILENET, SMALL, GENTLE)
FIGURES = (
    "accuracy",
    "ranking",
    "accuracy_vs_parameters",
    "accuracy_vs_mult_adds",
    "accuracy_vs_time",
    "accuracy_vs_memory",
    "accuracy_at_equal_time",
    "reliability",
    "risk_coverage",
    "examples",
    "missed_by_all",
)

# -- the jobs that an edit makes stale, with all jobs that depend on them ----------------------------------------------

NOTHING = frozenset()
REPORT = frozenset({"Write the report of the study"})


def plotted(dataset: str, *figures: str) -> frozenset[str]:
    return frozenset(f"Plot {figure} of the models on {dataset}" for figure in figures)


# A single experiment has none of these, two recipes of a network have the first two.
OF_NETWORKS = ("accuracy_vs_parameters", "accuracy_vs_mult_adds", "missed_by_all")
OF_SEVERAL = ("ranking", "accuracy_at_equal_time", *OF_NETWORKS)


def compared(*datasets: str) -> frozenset[str]:
    return REPORT.union(*(plotted(dataset, *FIGURES) for dataset in datasets))


def compared_again(*datasets: str) -> frozenset[str]:
    """The statistics of the datasets, too, which the figures read."""
    return compared(*datasets) | {f"Compare the models on {dataset}" for dataset in datasets}


def drawn(*experiments: Named) -> frozenset[str]:
    return REPORT | {f"Plot the figures of {experiment}" for experiment in experiments}


def evaluated(*experiments: Named) -> frozenset[str]:
    datasets = {experiment.dataset for experiment in experiments}
    return drawn(*experiments) | compared_again(*datasets) | {f"Evaluate {experiment}" for experiment in experiments}


def trained(*experiments: Named) -> frozenset[str]:
    return evaluated(*experiments) | {f"Train {experiment}" for experiment in experiments}


def corrupted(*experiments: Named) -> frozenset[str]:
    return (
        REPORT
        | plotted("shapes", "corruptions")
        | {f"Corrupt the test images for {experiment}" for experiment in experiments}
    )


def timed(*models: str) -> frozenset[str]:
    jobs = {f"Measure the latency of {model} for shapes" for model in models}
    return REPORT | plotted("shapes", "accuracy_vs_latency", "accuracy_vs_throughput") | jobs


def summarized(model: str, dataset: str = "shapes") -> frozenset[str]:
    return frozenset({f"Summarize {model} for {dataset}"})


def audited(dataset: str) -> frozenset[str]:
    return REPORT | {f"Look at the images of {dataset}"}


def prepared(dataset: str) -> frozenset[str]:
    return audited(dataset) | {f"Prepare the arrays of {dataset}"}


def downloaded(dataset: str) -> frozenset[str]:
    return prepared(dataset) | {f"Download {dataset}"}


# -- edits -------------------------------------------------------------------------------------------------------------


def replace(name: str, old: str, new: str) -> Edit:
    """Replace a text that occurs once in a file."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} should have this once: {old}"
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def config(old: str, new: str) -> Edit:
    return replace("config.yaml", old, new)


def module(name: str, old: str, new: str) -> Edit:
    return replace(f"scripts/deepnets/{name}.py", old, new)


def append(name: str, text: str) -> Edit:
    def edit(folder: Path) -> None:
        with open(folder / name, "a", encoding="utf-8") as file:
            file.write(text)

    return edit


def changed_module(name: str) -> Edit:
    """Add a statement to a module."""
    return append(f"scripts/deepnets/{name}.py", "\nNEW = True\n")


def delete(*names: str) -> Edit:
    def edit(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return edit


def truncate(name: str) -> Edit:
    return lambda folder: os.truncate(folder / name, 100)


def touch(pattern: str) -> Edit:
    def edit(folder: Path) -> None:
        files = [path for path in folder.glob(pattern) if path.is_file() and ".snakemake" not in path.parts]
        assert files
        for path in files:
            os.utime(path)

    return edit


def shift_clock(pattern: str, days: int) -> Edit:
    """Move the times of files, as a clock that jumped while they were written would have."""

    def edit(folder: Path) -> None:
        for path in folder.glob(pattern):
            time = path.stat().st_mtime + days * 24 * 3600
            os.utime(path, (time, time))

    return edit


def rename(name: str, new: str) -> Edit:
    return lambda folder: (folder / name).rename(folder / new)


def move_away(name: str) -> Edit:
    return lambda folder: (folder / name).rename(folder / "elsewhere")


def both(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def comment_everywhere(folder: Path) -> None:
    """A comment at the end of every code file, and another docstring at its start."""
    for path in [*folder.glob("scripts/**/*.py"), *folder.glob("workflow/rules/*.smk"), folder / "Snakefile"]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py" and text.startswith('"""'):
            text = text.replace('"""', '"""Better said. ', 1)
        path.write_text(text + "\n# An afterthought.\n", encoding="utf-8")


def clone_again(folder: Path) -> None:
    """Replace the code by a fresh copy of it, as a new clone has it: new files with new times, no compiled ones."""
    for name in ("scripts", "workflow", "profiles"):
        (folder / name).rename(folder / "old")
        shutil.copytree(folder / "old", folder / name, copy_function=shutil.copyfile)
        shutil.rmtree(folder / "old")


def absolute_path(folder: Path) -> None:
    config("path: shapes", f"path: {folder / 'shapes'}")(folder)


def lose_records(folder: Path) -> None:
    shutil.rmtree(folder / ".snakemake")


def rewrite_json(name: str, change: Callable[[dict], object]) -> Edit:
    """Change the content of a JSON file, as if its job had written it so: its time stays, and it is not damaged."""

    def edit(folder: Path) -> None:
        path, content = folder / name, json.loads((folder / name).read_text(encoding="utf-8"))
        change(content)
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_text(json.dumps(content), encoding="utf-8")
        os.utime(path, ns=times)
        for checksums in path.parent.glob(".*.sha256"):
            checksums.unlink()

    return edit


def copy_image(folder: Path) -> None:
    shutil.copy(folder / "shapes/train/a|b/0.png", folder / "shapes/train/a|b/more.png")
