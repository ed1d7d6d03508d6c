"""What a training asks of a machine is what the trainings of docs/ were measured to take, with room."""

import csv

import pytest

from deepnets.config import load_config
from deepnets.demand import COSTS, core_seconds, memory_mb

RUNS = {"docs/demo": "demo", "docs/reference": "paper_jpeg"}


@pytest.fixture(scope="module")
def config(root):
    return load_config(root / "config.yaml")


@pytest.fixture(scope="module")
def trained(config, root):
    """What was measured of each training, as in metrics.csv, with its spec and its dataset's (C, H, W)."""
    found = []
    for folder, study in RUNS.items():
        specs = {(e.dataset, e.model): e.spec for e in config.experiments(study)}
        with open(root / folder / "metrics.csv", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                dataset = row["dataset"]
                found.append((row, specs[dataset, row["model"]], config.datasets[dataset].input_shape))
    assert len(found) == 10
    return found


def test_memory_asked_for_is_enough_and_not_far_too_much(trained):
    for row, spec, shape in trained:
        share = memory_mb(spec, shape) / float(row["peak_memory_mb"])
        assert 1 <= share < 3, (row["dataset"], row["model"], share)


def test_estimated_time_is_third_to_twice_that_which_the_training_took(trained):
    for row, spec, shape in trained:
        images = {"digits": 1293, "mnist": 54_000}.get(row["dataset"], 45_000)
        share = core_seconds(spec, shape, images) / float(row["wall_seconds"])
        assert 1 / 3 < share < 2, (row["dataset"], row["model"], share)


@pytest.fixture
def asked(config):
    """Memory of the study paper's MobileNetV2 on cifar10, with changes to the spec."""
    spec = {e.model: e.spec for e in config.experiments("paper") if e.dataset == "cifar10"}["mobilenet_v2"]

    def ask(model=None, side=32, **recipe):
        changed = spec | {"recipe": spec["recipe"] | recipe, "model": spec["model"] | (model or {})}
        return memory_mb(changed, (3, side, side))

    return ask


def test_memory_grows_with_batch_and_area_and_shrinks_with_accumulation(asked):
    base = asked(batch_size=1)
    assert asked(batch_size=65) - base == pytest.approx(4 * (asked(batch_size=17) - base), rel=0.01)
    assert asked(side=64, batch_size=16) == asked(side=32, batch_size=64)
    assert asked(batch_size=64, accumulation=4) == asked(batch_size=16)


def test_on_a_gpu_the_batch_takes_no_memory_of_the_host(config):
    spec = config.experiments("paper")[0].spec
    large = spec | {"recipe": spec["recipe"] | {"batch_size": 1000}}
    assert memory_mb(large, (1, 28, 28), on_gpu=True) == memory_mb(spec, (1, 28, 28), on_gpu=True)
    assert memory_mb(spec, (1, 28, 28), on_gpu=True) < memory_mb(spec, (1, 28, 28))


def test_architecture_that_nobody_measured_asks_for_the_most(asked):
    own = {"architecture": "own"}
    assert all(asked({"architecture": name}) <= asked(own) for name in COSTS)


def test_full_resolution_asks_for_more(asked):
    assert asked({"strides": [1, 1, 1, 2, 2]}) > asked({"strides": [2, 2, 2, 2, 2]})
    resnet = {"architecture": "resnet50", "strides": [1, 1, 1]}
    assert asked(resnet | {"stem_pool": False}) > asked(resnet | {"stem_pool": True})
    inception = {"architecture": "inception_v3", "strides": [1, 1, 1]}
    assert asked(inception | {"min_side": 75}) > asked(inception | {"min_side": 37})
