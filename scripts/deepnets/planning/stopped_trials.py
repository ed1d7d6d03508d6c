"""Which experiments of a study are trials that a search stopped early."""

from pathlib import Path

from pydantic import BaseModel

from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked


class _Trial(BaseModel):
    state: str
    experiments: list[str]


class _Search(BaseModel):
    """What is read of the file that keeps a search."""

    trials: list[_Trial]


def stopped_trials(study: str, root: Path) -> list[str]:
    """Return the folders of the experiments in which the search of a study's name stopped a trial early.

    Args:
        study: its name; no search may have written it.
        root: the folder that holds results/.

    Raises:
        UserError: the file of the search is damaged.
    """
    file = root / paths.SEARCH.format(search=study)
    trials = read_checked(file, _Search).trials if file.is_file() else []
    stopped, done = (
        {folder for trial in trials if trial.state == state for folder in trial.experiments}
        for state in ("stopped", "done")
    )
    return sorted(stopped - done)
