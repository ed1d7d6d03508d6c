"""Estimates of memory and time are what the runs of docs/runs were measured to take, with room."""

import csv

import pytest

from deepnets.config.loader import load_config
from deepnets.models import architecture, available
from deepnets.planning.estimates import (
    EVALUATION_BATCH,
    core_seconds,
    evaluation_memory_mb,
    speed_up,
    training_memory_mb,
)
from deepnets.training import inference

RUNS = {"docs/runs/demo": "demo", "docs/runs/reference": "paper_jpeg"}
# Peak memory of the evaluations in the same runs, in MiB: max_rss of logs/*/evaluate.benchmark.tsv; in bfloat16.
EVALUATIONS = {
    ("digits", "vgg16"): 1346,
    ("digits", "inception_v3"): 1137,
    ("digits", "resnet50"): 833,
    ("digits", "mobilenet_v2"): 684,
    ("mnist", "vgg16"): 1325,
    ("mnist", "inception_v3"): 1051,
    ("mnist", "resnet50"): 989,
    ("mnist", "mobilenet_v2"): 728,
    ("cifar10-jpeg", "resnet50"): 1141,
    ("cifar10-jpeg", "mobilenet_v2"): 1622,
}


@pytest.fixture(scope="module")
def config(root):
    return load_config(root / "config.yaml")


@pytest.fixture(scope="module")
def trained(config, root):
    """What was measured of each training run, as in metrics.csv, with its spec and its dataset's (C, H, W)."""
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
        share = training_memory_mb(spec, shape) / float(row["peak_memory_mb"])
        assert 1 <= share < 3, (row["dataset"], row["model"], share)


def test_memory_asked_for_an_evaluation_is_enough_in_float32_too_and_not_far_too_much(trained):
    """float32 takes up to twice the activations, which are at most half of what bfloat16 took."""
    for row, spec, shape in trained:
        share = evaluation_memory_mb(spec, shape) / (1.048576 * EVALUATIONS[row["dataset"], row["model"]])
        assert 1.1 < share < 2, (row["dataset"], row["model"], share)


def test_evaluations_are_estimated_with_the_batches_that_they_have():
    assert EVALUATION_BATCH == inference.EVALUATION_BATCH


def test_estimated_time_is_a_third_to_two_and_a_half_times_that_which_the_training_took(trained):
    for row, spec, shape in trained:
        images = {"digits": 1293, "mnist": 54_000}.get(row["dataset"], 45_000)
        share = core_seconds(spec, shape, images) / float(row["wall_seconds"])
        assert 1 / 3 < share < 2.5, (row["dataset"], row["model"], share)


@pytest.fixture
def asked(config):
    """Memory of the study paper's MobileNetV2 on cifar10, with changes to the spec."""
    spec = {e.model: e.spec for e in config.experiments("paper") if e.dataset == "cifar10"}["mobilenet_v2"]

    def ask(model=None, side=32, **recipe):
        changed_model = spec["model"] | (model or {})
        if (name := changed_model["architecture"]) in available():
            changed_model = architecture(name).Options().model_dump() | changed_model
        changed = spec | {"recipe": spec["recipe"] | {"optimizer": "sgd"} | recipe, "model": changed_model}
        return training_memory_mb(changed, (3, side, side))

    return ask


def test_memory_grows_with_batch_and_area_and_shrinks_with_accumulation(asked):
    base = asked(batch_size=1)
    assert asked(batch_size=65) - base == pytest.approx(4 * (asked(batch_size=17) - base), rel=0.01)
    assert asked(side=64, batch_size=16) == asked(side=32, batch_size=64)
    assert asked(batch_size=64, accumulation=4) == asked(batch_size=16)


def test_on_a_gpu_the_batch_takes_no_memory_of_the_host(config):
    spec = config.experiments("paper")[0].spec
    large = spec | {"recipe": spec["recipe"] | {"batch_size": 1000}}
    assert training_memory_mb(large, (1, 28, 28), on_gpu=True) == training_memory_mb(spec, (1, 28, 28), on_gpu=True)
    assert training_memory_mb(spec, (1, 28, 28), on_gpu=True) < training_memory_mb(spec, (1, 28, 28))


@pytest.mark.parametrize(
    ("recipe", "copies"),
    [
        ({"weight_averaging": "ema"}, 1),
        ({"weight_averaging": "swa"}, 1),
        ({"optimizer": "adamw"}, 1),
        ({"optimizer": "adamw", "weight_averaging": "ema"}, 2),
    ],
)
def test_averaged_weights_and_second_moments_ask_for_a_copy_of_the_weights_each(asked, recipe, copies):
    vgg = {"architecture": "vgg16"}
    assert asked(vgg, **recipe) - asked(vgg) == pytest.approx(copies * 4 * 134.3, abs=2)


def test_vgg16_with_averaged_weights_gets_what_it_was_measured_to_need(asked):
    """3,586 MB without them, in float32 on batches of 128 images of 32 px; its weights are 537 MB."""
    assert asked({"architecture": "vgg16"}, batch_size=128, weight_averaging="ema") > 3586 + 537


@pytest.mark.parametrize("side", [16, 32, 64, 224])
def test_architecture_that_nobody_measured_asks_for_what_the_largest_takes(asked, side):
    """MobileNetV2 takes most memory for a pixel, but halves the resolution at once, so the others take more."""
    models = [{"architecture": name, **architecture(name).Options().model_dump()} for name in available()]
    own = {"architecture": "own"}

    def a_batch(model):
        return asked(model, side, batch_size=33) - asked(model, side, batch_size=1)

    assert all(asked(model, side) <= asked(own, side) for model in models)
    assert a_batch(own) == pytest.approx(max(map(a_batch, models)), abs=2)


def test_full_resolution_asks_for_more(asked):
    assert asked({"strides": [1, 1, 1, 2, 2]}) > asked({"strides": [2, 2, 2, 2, 2]})
    resnet = {"architecture": "resnet50", "strides": [1, 1, 1]}
    assert asked(resnet | {"stem_pool": False}) > asked(resnet | {"stem_pool": True})
    inception = {"architecture": "inception_v3", "strides": [1, 1, 1]}
    assert asked(inception | {"min_image_size": 75}) > asked(inception | {"min_image_size": 37})


def test_each_optimizer_step_takes_time_by_the_number_of_parameters(config):
    def seconds(model, batch_size, optimizer):
        spec = {e.model: e.spec for e in config.experiments("demo")}[model]
        recipe = {**spec["recipe"], "batch_size": batch_size, "epochs": 1, "optimizer": optimizer}
        return core_seconds({**spec, "recipe": recipe}, (1, 8, 8), 1000)

    def a_step(model, optimizer="sgd"):
        return (seconds(model, 10, optimizer) - seconds(model, 20, optimizer)) / 50

    assert a_step("vgg16") / a_step("mobilenet_v2") == pytest.approx(134.3 / 1.8)
    # Muon's orthogonal steps took a third of a second for ResNet50, and not of all of VGG-16's parameters.
    assert 0.2 < a_step("resnet50", "muon") - a_step("resnet50") < 0.4
    assert 0.2 < a_step("vgg16", "muon") - a_step("vgg16") < 0.4


def test_two_threads_do_the_work_of_1_7_runs_side_by_side():
    assert speed_up(1) == 1
    assert speed_up(2) == pytest.approx(1.695, abs=0.001)


def test_smaller_images_at_first_take_less_time(config):
    spec = {e.model: e.spec for e in config.experiments("paper") if e.dataset == "cifar10"}["mobilenet_v2"]
    full = {**spec, "recipe": {**spec["recipe"], "progressive_resizing": None}}
    assert 0.6 < core_seconds(spec, (3, 32, 32), 45_000) / core_seconds(full, (3, 32, 32), 45_000) < 0.8


SUMMARY = {"parameters": 11_000_000, "mult_adds": 140_000_000, "size_mb": 54.0, "weights_mb": 44.0}


def test_network_that_nobody_measured_is_estimated_by_its_summary(config):
    own = config.experiments("paper")[0].spec | {"model": {"architecture": "timm/resnet18"}}
    small = {**own, "recipe": {**own["recipe"], "batch_size": 32, "epochs": 1}}
    large = {**small, "recipe": {**small["recipe"], "batch_size": 64}}
    shape = (3, 32, 32)
    twice = training_memory_mb(large, shape, summary=SUMMARY) - training_memory_mb(small, shape, summary=SUMMARY)
    assert twice == pytest.approx(32 * 2 * 10, abs=1)
    assert training_memory_mb(small, shape, summary=SUMMARY) < training_memory_mb(small, shape)
    assert evaluation_memory_mb(small, shape, SUMMARY) < evaluation_memory_mb(small, shape)
    seconds = [core_seconds(small, shape, 1000, SUMMARY | {"mult_adds": n * 140_000_000}) for n in (1, 2)]
    assert seconds[1] - seconds[0] == pytest.approx(1000 * 0.14e9 * 100e-12)


def test_memory_asked_for_by_a_summary_is_enough_and_not_far_too_much(config, root):
    """Of torchvision's, timm's and the user's networks in the study of ten networks, as their peaks were measured."""
    experiments = {each.model: each for each in config.experiments("networks")}
    with open(root / "docs/runs/networks/metrics.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["architecture"] not in available()]
    assert len(rows) == 6
    for row in rows:
        experiment = experiments[row["model"]]
        counted = {key: float(row[key]) for key in ("parameters", "mult_adds", "size_mb")}
        counted["weights_mb"] = 4e-6 * counted["parameters"]
        shape = config.datasets[row["dataset"]].input_shape
        share = training_memory_mb(experiment.spec, shape, summary=counted) / float(row["peak_memory_mb"])
        assert 1 <= share < 3, (row["model"], share)


def test_summaries_of_the_measured_networks_would_have_asked_for_enough_memory_of_all_but_one(trained, root):
    """MobileNetV2's depthwise convolutions take three times as much in training; a retry asks for twice as much."""
    for row, spec, shape in trained:
        counted = {key: float(row[key]) for key in ("mult_adds", "size_mb")}
        counted |= {
            "parameters": float(row["trainable_parameters"]),
            "weights_mb": 4e-6 * float(row["trainable_parameters"]),
        }
        unmeasured = spec | {"model": {"architecture": "timm/unmeasured"}}
        share = training_memory_mb(unmeasured, shape, summary=counted) / float(row["peak_memory_mb"])
        assert 0.75 < share < 4, (row["dataset"], row["model"], share)
        measured = 1.048576 * EVALUATIONS[row["dataset"], row["model"]]
        share = evaluation_memory_mb(unmeasured, shape, counted) / measured
        assert 1.1 < share < 4, (row["dataset"], row["model"], share)
        seconds = core_seconds(
            unmeasured, shape, {"digits": 1293, "mnist": 54_000}.get(row["dataset"], 45_000), counted
        )
        assert 1 / 3 < seconds / float(row["wall_seconds"]) < 6, (row["dataset"], row["model"])


def test_measured_networks_are_not_estimated_by_a_summary(config):
    spec = config.experiments("paper")[0].spec
    assert training_memory_mb(spec, (1, 28, 28), summary=SUMMARY) == training_memory_mb(spec, (1, 28, 28))
