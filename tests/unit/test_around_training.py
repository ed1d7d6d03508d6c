"""The core-seconds of a finished study: in training steps, between them, and around training."""

from pathlib import Path

import pytest

from around_training import core_seconds, main
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json

FOLDER = "results/digits/resnet50/quick/seed0"
TIMING = {"threads": 2, "processes": 1, "train_seconds": 60.0, "wall_seconds": 64.5, "resumed_from_epochs": []}
SECONDS = {
    "digits/resnet50/quick/seed0/train": 70,
    "digits/resnet50/quick/seed0/evaluate": 5,
    "digits/prepare": 3,
    "digits/resnet50/quick/seed0/robustness": 4,
    "digits/resnet50/latency": 100,
    "digits/comparison/accuracy/plot_comparison": 2,
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write what a study of one training run with two threads leaves about its times."""
    write_json(
        tmp_path / "results/environment.json",
        {"spec": {"experiments": [FOLDER], "optional": ["latency", "robustness"]}},
    )
    write_json(tmp_path / FOLDER / "timing.json", TIMING)
    for name, seconds in SECONDS.items():
        file = tmp_path / f"logs/{name}.benchmark.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}.0\t0:00:00\n")
    return tmp_path


def test_a_job_counts_with_its_threads_and_a_training_run_in_three_parts(study, capsys):
    assert core_seconds(study) == {
        "steps": 120,
        "between": 9,
        "train": 11,
        "evaluate": 10,
        "robustness": 8,
        "prepare": 3,
        "plot_comparison": 2,
    }
    main([str(study)])
    inside, between, around, *_ = capsys.readouterr().out.splitlines()
    assert inside.split() == ["training", "steps", "120.0", "core-seconds", "73.6", "%"]
    assert between.split() == ["between", "them", "9.0", "core-seconds", "5.5", "%"]
    assert around.split() == ["around", "training", "34.0", "core-seconds", "20.9", "%"]


def test_times_that_do_not_cover_the_study_are_refused(study):
    write_json(study / FOLDER / "timing.json", TIMING | {"resumed_from_epochs": [1.5]})
    with pytest.raises(UserError, match="trained in several runs"):
        core_seconds(study)
    write_json(study / FOLDER / "timing.json", TIMING)
    (study / "logs/digits/resnet50/quick/seed0/train.benchmark.tsv").unlink()
    with pytest.raises(UserError, match="not every training run has a benchmark file"):
        core_seconds(study)
