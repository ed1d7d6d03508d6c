"""The Pareto fronts of accuracy against each cost, in the words of the report."""

from types import SimpleNamespace as Fake

import pytest

from deepnets.comparison.aggregate import group_seeds
from deepnets.evaluation.results import read_result
from deepnets.reporting import fronts
from deepnets.utils.files import read_json, write_json


@pytest.fixture
def result(experiment):
    """Write and read a run: `result("vgg16", accuracy, parameters, wall_seconds)`, with more of `experiment`."""

    def make(model, accuracy, parameters, wall_seconds, **options):
        folder = experiment("mnist", model, accuracy=accuracy, **options)
        metrics, timing = read_json(folder / "metrics.json"), read_json(folder / "timing.json")
        counts = {"parameters": parameters, "mult_adds": 10 * parameters}
        write_json(
            folder / "metrics.json", metrics | {"model": metrics["model"] | counts, "weights_bytes": 4 * parameters}
        )
        write_json(folder / "timing.json", timing | {"wall_seconds": wall_seconds, "cpu_seconds": wall_seconds})
        return read_result(folder)

    return make


def described(runs, latencies=None):
    return fronts.describe({"mnist": group_seeds(runs)}, latencies or {})


def latency(seconds, images_per_second):
    return Fake(latency=Fake(median_seconds=seconds), throughput=Fake(images_per_second=images_per_second))


def test_each_cost_has_its_front_and_costs_with_one_front_are_named_together(result):
    runs = [result("vgg16", 0.9, 100, 60), result("resnet50", 0.8, 50, 90), result("mobilenet_v2", 0.7, 70, 30)]
    latencies = {
        ("mnist", "vgg16"): latency(0.003, 500),
        ("mnist", "resnet50"): latency(0.002, 900),
        ("mnist", "mobilenet_v2"): latency(0.001, 1000),
    }
    lines = described(runs, latencies)
    mobilenet, resnet, vgg = "MobileNetV2 (70.00 %)", "ResNet50 (80.00 %)", "VGG-16 (90.00 %)"
    sizes = "parameters, multiply-adds and the size of the weights file"
    assert lines[0] == f"**mnist**, {sizes}: {resnet} and {vgg}."
    assert f"**mnist**, wall time of training and CPU time of training: {mobilenet} and {vgg}." in lines
    assert f"**mnist**, latency and time of an image in a batch of 128: {mobilenet}, {resnet} and {vgg}." in lines
    assert any("epochs" in line for line in lines)
    assert all(vgg in line for line in lines), "the most accurate is on each"


def test_a_cost_that_is_unknown_of_a_network_is_left_out(result):
    runs = [result("vgg16", 0.9, 100, 60), result("resnet50", 0.8, 50, 90)]
    lines = " ".join(described(runs, {("mnist", "vgg16"): latency(0.003, 500)}))
    assert "latency" not in lines
    assert "batch" not in lines
    assert "parameters" in lines


def test_a_network_stands_there_with_the_recipe_that_validation_chose_and_a_single_one_has_no_front(result):
    short = result("vgg16", 0.99, 100, 10, recipe="quick", validation_accuracy=0.8)
    long = result("vgg16", 0.9, 100, 60, recipe="long", validation_accuracy=0.9)
    other = result("resnet50", 0.95, 50, 30)
    assert described([short, long]) == []
    lines = " ".join(described([short, long, other]))
    assert "wall time of training" in lines
    assert "VGG-16" not in lines, "ResNet50 is better than the chosen recipe, and cheaper"


def test_the_report_has_the_fronts_below_the_table_of_costs(experiment, write_report):
    assert "is on the Pareto front of a cost if" not in write_report(experiment("mnist", "vgg16"))
    text = write_report(experiment("mnist", "vgg16"), experiment("mnist", "resnet50"))
    assert (
        text.index("## Cost")
        < text.index("is on the Pareto front of a cost if")
        < text.index("- **mnist**, parameters")
    )
