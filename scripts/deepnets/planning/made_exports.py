"""Which files are there that a report or a model card shows, and that it would make if they were its inputs."""

from collections.abc import Iterable
from pathlib import Path

from deepnets.config.experiment import Experiment
from deepnets.utils import paths
from deepnets.utils.files import sha256_file


def made_exports(experiments: Iterable[Experiment], root: Path) -> dict[str, str]:
    """Return the hash of each JSON file about an exported file that is there: the report shows what they say.

    The report does not have them as inputs, because then it would make them.

    Args:
        experiments: of a study.
        root: the folder that holds results/.
    """
    found = {}
    for each in experiments:
        for names in paths.EXPORTS.values():
            file, record = (root / each.directory / name for name in names)
            if file.is_file() and record.is_file():
                found[f"{each.directory}/{record.name}"] = sha256_file(record)
    return found


def made_saliency(experiments: Iterable[Experiment], root: Path) -> dict[str, str]:
    """Return the hash of each figures/saliency.png that is there; arguments as of `made_exports`."""
    files = (f"{each.directory}/{paths.SALIENCY_FILE}" for each in experiments)
    return {file: sha256_file(root / file) for file in files if (root / file).is_file()}


def made_for_card(experiment: Experiment, root: Path) -> dict[str, str]:
    """Return the hash of each file that is there and that the model card shows: of exports, robustness and audit.

    It leaves out model.onnx, of which the card says the same with and without it.

    Args:
        experiment: of the card.
        root: the folder that holds data/ and results/.
    """
    found = made_exports([experiment], root)
    found.pop(f"{experiment.directory}/{paths.EXPORTS['export'][1]}", None)
    measured = [path.format(**experiment.names) for path in (paths.ROBUSTNESS, paths.AUDIT)]
    return found | {path: sha256_file(root / path) for path in measured if (root / path).is_file()}
