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
            of its recipe, "architecture": of a model that is named after another network}}.
        experiment: its folder.
        output: path of the files without suffix.

    Raises:
        UserError: the experiment's file is missing or damaged.
    """
    names, spec = job["experiment"], job["spec"]
    architecture = spec.get("architecture")
    style = model_style(names["model"], spec["models"][names["model"]], architecture)
    module = load(name)
    described = {**names, "options": spec["recipe"], "architecture": architecture}
    figure = module.draw(module.read(experiment / EXPERIMENT_FIGURES[name].reads), described, style)
    files = [output.with_name(f"{output.name}.{kind}") for kind in ("png", "svg")]
    with record_checksums(name, *files):
        for path in files:
            save(figure, path, settings_sha256(job))
            figure.set_layout_engine("none")  # both files have the layout of the first
