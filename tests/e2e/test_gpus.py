"""Training runs share the GPUs of one machine that nvidia-smi lists; one training run uses two processes."""

import itertools
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build

EXPERIMENTS = [f"results/shapes/small/brief/seed{seed}" for seed in range(1, 4)]


@pytest.fixture
def train(root, study, snakemake, fake_gpus, tmp_path):
    """Train two or three experiments on a machine with `gpus` GPUs: `train(experiments=3, gpus=2) -> UUIDs, notes`.

    There is a note of each training run, written by tests/study/trace.
    """

    def run(experiments: int, gpus: int) -> tuple[list[str], list[dict]]:
        environment, uuids = fake_gpus(tmp_path, gpus)
        (study / "loaded.jsonl").unlink()
        trace = {"PYTHONPATH": str(root / "tests/study/trace")}
        threads = ("--set-threads", "train=1")
        targets = [f"{folder}/history.csv" for folder in EXPERIMENTS[:experiments]]
        done = snakemake(study, *targets, *threads, cores=4, **environment, **trace)
        assert done.returncode == 0, done.stdout
        notes = [json.loads(line) for line in (study / "loaded.jsonl").read_text().splitlines()]
        return uuids, [note for note in notes if Path(note["arguments"][0]).name == "train.py"]

    return run


def at_once(one: dict, other: dict) -> bool:
    return one["started"] < other["ended"] and other["started"] < one["ended"]


def test_two_gpus_train_two_experiments_at_once_and_share_none(train):
    uuids, notes = train(experiments=3, gpus=2)
    assert len(notes) == 3
    assert {note["gpus"] for note in notes} == set(uuids)
    side_by_side = [(one, other) for one, other in itertools.combinations(notes, 2) if at_once(one, other)]
    assert side_by_side
    assert all(one["gpus"] != other["gpus"] for one, other in side_by_side)


@pytest.mark.full
def test_one_gpu_trains_one_experiment_after_the_other(train):
    (uuid,), notes = train(experiments=2, gpus=1)
    assert [note["gpus"] for note in notes] == [uuid] * 2
    assert not any(at_once(one, other) for one, other in itertools.combinations(notes, 2))


@pytest.mark.full
def test_without_gpus_training_runs_share_the_cores(train):
    _none, notes = train(experiments=2, gpus=0)
    assert [note["gpus"] for note in notes] == [None] * 2
    assert any(at_once(one, other) for one, other in itertools.combinations(notes, 2))


@pytest.mark.full
def test_one_experiment_trains_in_two_processes_where_the_rule_asks_for_them(study, snakemake):
    together = ("--set-threads", "train=2", "--set-resources", "train:processes=2", "--resources", "gpu=0")
    done = snakemake(study, f"{EXPERIMENTS[0]}/metrics.json", *together, cores=2)
    assert done.returncode == 0, done.stdout
    timing = json.loads((study / EXPERIMENTS[0] / "timing.json").read_text())
    assert (timing["processes"], timing["threads"]) == (2, 1)
    log = (study / EXPERIMENTS[0].replace("results", "logs") / "train.log").read_text()
    assert log.count("1 thread in each of 2 processes") == 1
