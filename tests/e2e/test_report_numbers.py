"""Every number of the tables of a real study's report, recomputed from its predictions and times by other code."""

import pytest
from recomputed import Run
from report_numbers import Checker
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build

EXPERIMENTS = [f"shapes/{name}/seed0" for name in ("mobilenet_v2/brief", "small/brief", "small/gentle")]
_OF_BATCH_NORM = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def folders(finished_study):
    return [finished_study / "results" / name for name in EXPERIMENTS]


def test_every_number_of_every_table_is_that_of_the_files_of_the_experiments(root, finished_study, folders):
    checker = Checker(finished_study, folders, root / "workflow/published.csv")
    compared = checker.check((finished_study / "results/report.md").read_text(encoding="utf-8"))
    # The study has no folds, no optional stage, no exported file and few runs, all finished.
    without = {"Images", "Corrupted", "Largest difference", "Training runs", "Files", "Page", "State"}
    assert set(compared) == {*checker.kinds} - without
    assert min(compared.values()) > 0


def test_the_history_ends_with_the_network_that_was_evaluated_and_the_network_has_as_many_parameters(folders):
    for run in map(Run, folders):
        weights = load_file(run.folder / "model.safetensors")
        trained = [tensor.size for name, tensor in weights.items() if not name.endswith(_OF_BATCH_NORM)]
        assert sum(trained) == run.metrics["model"]["trainable_parameters"]
        assert run.right("validation").mean() == pytest.approx(run.history["val_accuracy"].iloc[-1])
        assert run.history["seconds"].sum() <= run.timing["wall_seconds"]
