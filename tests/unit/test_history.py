"""history.csv is read whole, or refused in a line that names it."""

import pytest

from deepnets.evaluation.history import HISTORY_COLUMNS, read_history
from deepnets.utils.errors import UserError


def written(tmp_path, epochs):
    path = tmp_path / "history.csv"
    rows = [",".join([str(epoch), *["1"] * (len(HISTORY_COLUMNS) - 1)]) for epoch in epochs]
    path.write_text("\n".join([",".join(HISTORY_COLUMNS), *rows]) + "\n")
    return path


@pytest.mark.parametrize("epochs", [[1], [1, 2, 3], [0.5], [1, 1.001], [1, 2, 2.5]])
def test_only_the_last_epoch_may_be_shorter(tmp_path, epochs):
    assert read_history(written(tmp_path, epochs))["epoch"] == epochs


@pytest.mark.parametrize("epochs", [[], [0], [2], [0.5, 1.5], [1, 1], [1, 3], [1, 2.5], ["nan"], ["inf"], [1, "nan"]])
def test_epochs_with_a_gap_are_refused(tmp_path, epochs):
    with pytest.raises(UserError, match=r"history\.csv: damaged, its epochs must count 1, 2, 3"):
        read_history(written(tmp_path, epochs))
