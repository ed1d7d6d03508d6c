"""From a file that an experiment left to the files of a figure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepnets.evaluation.results import read_history, read_metrics
from deepnets.figures import EXPERIMENT_FIGURES, load
from deepnets.figures.style import model_style, save
from deepnets.utils.checksums import record_checksums

_READERS: dict[str, Callable[[Path], Any]] = {"history.csv": read_history, "metrics.json": read_metrics}


def write_experiment_figure(name: str, job: dict, experiment: Path, output: Path) -> None:
    """Draw a figure of one experiment as PNG and SVG.

    Args:
        name: of the figure, in EXPERIMENT_FIGURES.
        job: {"experiment": its names, "spec": {"models": {model: index that chooses its colour}}}.
        experiment: its folder.
        output: path of the files without suffix.

    Raises:
        UserError: the experiment's file is missing or damaged.
    """
    names = job["experiment"]
    style = model_style(names["model"], job["spec"]["models"][names["model"]])
    file = EXPERIMENT_FIGURES[name].reads
    figure = load(name).draw(_READERS[file](experiment / file), names, style)
    files = [output.with_name(f"{output.name}.{kind}") for kind in ("png", "svg")]
    with record_checksums(name, *files):
        for path in files:
            save(figure, path)
