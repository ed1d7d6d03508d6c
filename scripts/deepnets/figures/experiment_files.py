"""From the files that an experiment left to those of its figures."""

from pathlib import Path

from deepnets.figures import EXPERIMENT_FIGURES, load
from deepnets.figures.style import model_style, save
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.specs import settings_sha256


def write_experiment_figures(job: dict, experiment: Path) -> None:
    """Draw all figures of one experiment as PNG and SVG, into figures/ in its folder.

    Args:
        job: {"experiment": its names, "spec": {"models": {model: index that chooses its colour}, "recipe": the options
            of its recipe, "architecture": of a model that is named after another network}}.
        experiment: its folder.

    Raises:
        UserError: a file of the experiment is missing or damaged.
    """
    names, spec = job["experiment"], job["spec"]
    architecture = spec.get("architecture")
    style = model_style(names["model"], spec["models"][names["model"]], architecture)
    described = {**names, "options": spec["recipe"], "architecture": architecture}
    for name, row in EXPERIMENT_FIGURES.items():
        module, png = load(name), experiment / paths.FIGURE_FILE.format(figure=name)
        figure = module.draw(module.read(experiment / row.reads), described, style)
        files = [png, png.with_suffix(".svg")]
        with record_checksums(name, *files):
            for path in files:
                save(figure, path, settings_sha256(job))
                figure.set_layout_engine("none")  # both files have the layout of the first
