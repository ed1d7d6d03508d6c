"""Which files are there that experiments have on request alone, and that the report shows."""

from collections.abc import Iterable
from pathlib import Path

from deepnets.config.experiment import Experiment
from deepnets.utils import paths
from deepnets.utils.files import sha256_file


def made_exports(experiments: Iterable[Experiment], root: Path) -> dict[str, str]:
    """Return the hash of each figure of saliency, and of each JSON file about an exported file, that is there.

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
        if (figure := root / each.directory / paths.SALIENCY_FILE).is_file():
            found[f"{each.directory}/{paths.SALIENCY_FILE}"] = sha256_file(figure)
    return found
