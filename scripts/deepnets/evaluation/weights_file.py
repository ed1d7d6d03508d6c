"""Which file has the weights that a user names. Without torch, so that a wrong path is reported at once."""

import os
from pathlib import Path

from deepnets.utils import paths
from deepnets.utils.checksums import verify
from deepnets.utils.errors import UserError
from deepnets.utils.specs import read_head

_GIVE_ANOTHER = f"give the folder of a trained experiment, or its {paths.MODEL_FILE}"


def find_weights(path: str | os.PathLike) -> Path:
    """Return the weights file of an experiment's folder, or the file itself.

    Raises:
        UserError: it is not there, or the start of the file is not that of a weights file of this program.
    """
    path = Path(path)
    if path.is_dir():
        path = path / paths.MODEL_FILE
    if not path.is_file():
        raise UserError(f"{path}: does not exist; {_GIVE_ANOTHER}.")
    if path.suffix != Path(paths.MODEL_FILE).suffix or not read_head(path, "spec"):
        verify(path)  # what this program wrote may be damaged
        raise UserError(f"{path}: is no weights file of this program, or a damaged one; {_GIVE_ANOTHER}.")
    return path
