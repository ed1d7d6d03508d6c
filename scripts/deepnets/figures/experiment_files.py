"""From a file that an experiment left to the files of a figure."""

from pathlib import Path

from deepnets.figures import EXPERIMENT_FIGURES, load
from deepnets.figures.style import model_style, save
from deepnets.utils.checksums import record_checksums
from deepnets.utils.specs import settings_sha256


def write_experiment_figure(name: str, job: dict, experiment: Path, output: Path) -> None:
    """Draw a figure of one experiment as PNG and SVG.

    Args:
        name: of the figure, in EXPERIMENT_FIGURES.
        job: {"experiment": its names, "spec": {"models": {model: index that chooses its colour}, "recipe": the options
            of its recipe}}.
        experiment: its folder.
        output: path of the files without suffix.

    Raises:
        UserError: the experiment's file is missing or damaged.
    """
    names = job["experiment"]
    style = model_style(names["model"], job["spec"]["models"][names["model"]])
    module = load(name)
    described = {**names, "options": job["spec"]["recipe"]}
    figure = module.draw(module.read(experiment / EXPERIMENT_FIGURES[name].reads), described, style)
    files = [output.with_name(f"{output.name}.{kind}") for kind in ("png", "svg")]
    with record_checksums(name, *files):
        for path in files:
            save(figure, path, settings_sha256(job))
