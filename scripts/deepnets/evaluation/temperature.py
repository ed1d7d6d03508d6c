"""The temperature of a trained experiment: its logits are divided by it before they become probabilities. No torch."""

from pathlib import Path

from deepnets.evaluation.confidence import fit_temperature
from deepnets.evaluation.predictions import read_validation
from deepnets.utils import paths
from deepnets.utils.logging import LOG


def own_temperature(folder: Path, spec_sha256: str) -> float:
    """Return the temperature fitted on the validation images of an experiment; 1 where that cannot be done.

    A line reports it.

    Args:
        folder: the experiment's, with its predictions. A weights file alone has none, nor any other file below it.
        spec_sha256: of the experiment's spec, which the predictions must have, too.

    Raises:
        UserError: the predictions are damaged or of other settings.
    """
    file = folder / paths.PREDICTIONS_FILE
    if not file.exists():
        LOG.info("%s: temperature 1, as there is no %s to fit one", folder, paths.PREDICTIONS_FILE)
        return 1.0
    logits, labels = read_validation(file, spec_sha256)
    temperature = fit_temperature(logits, labels)
    if temperature == 1:
        LOG.info("%s: temperature 1, as its validation images do not show that another one is better", folder)
    else:
        LOG.info("%s: temperature %.3g, fitted on its validation images", folder, temperature)
    return temperature
