"""Which file has the weights that a user names. Without torch, so that a wrong path is reported at once."""

import os
from pathlib import Path

from deepnets.utils import paths
from deepnets.utils.errors import UserError


def find_weights(path: str | os.PathLike) -> Path:
    """Return the weights file of an experiment's folder, or the file itself.

    Raises:
        UserError: it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / paths.MODEL_FILE
    if not path.is_file():
        raise UserError(f"{path}: does not exist; give the folder of a trained experiment, or its {paths.MODEL_FILE}.")
    return path
