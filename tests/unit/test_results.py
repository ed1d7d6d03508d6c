"""Reading what experiments left behind, and putting seeds together."""

import json

import pytest
from scipy import stats

from deepnets.comparison.aggregate import (
    budget_lines,
    group_seeds,
    interval_caption,
    label,
    mean_over_seeds,
    several_recipes,
)
from deepnets.evaluation.results import read_history, read_metrics, read_result, read_timing
from deepnets.models import display_name
from deepnets.utils.errors import UserError


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_finished_experiment_is_read_whole(experiment):
    result = read_result(experiment(model="vgg16", seed=3, accuracy=0.9, epochs=4))
    assert (result.model, result.seed, result.architecture, result.epochs) == ("vgg16", 3, "vgg16", 4)
    assert result.metrics.test.accuracy == pytest.approx(0.9)
    assert result.history["epoch"] == [1, 2, 3, 4]
    assert result.timing.wall_seconds == 60


@pytest.mark.parametrize("name", ["metrics.json", "timing.json", "history.csv"])
def test_a_missing_file_is_named_with_the_way_out(experiment, name):
    directory = experiment()
    (directory / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: the file is missing; "):
        read_result(directory)


@pytest.mark.parametrize("name", ["metrics.json", "timing.json", "history.csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"test": ', b"epoch,lr\n1,2\n"])
def test_a_damaged_file_is_named_with_the_way_out(experiment, name, content):
    directory = experiment()
    (directory / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s){name}: damaged.*delete it( and run the same command again)?\.$"):
        read_result(directory)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda metrics: metrics.pop("test"), "test: Field required"),
        (lambda metrics: metrics["test"].update(accuracy=1.5), "test.accuracy: .*less than or equal to 1"),
        (lambda metrics: metrics["test"].update(accuracy=None), "test.accuracy: .*valid number"),
        (lambda metrics: metrics["spec"].pop("recipe"), "spec: .*must have .*model.architecture and recipe.epochs"),
        (lambda metrics: metrics.update(schema_version=2), "schema_version"),
        (lambda metrics: metrics["test"]["confusion_matrix"].pop(), "confusion_matrix .* must have 10"),
        (lambda metrics: metrics["test"]["per_class"].pop(), "must have 10 classes"),
        (lambda metrics: metrics["classes"].append("extra"), "must have 11 classes"),
    ],
)
def test_metrics_that_cannot_be_are_refused_by_key(experiment, change, place):
    path = experiment() / "metrics.json"
    edit(path, change)
    with pytest.raises(UserError, match=place):
        read_metrics(path)


def test_batches_split_for_memory_are_a_warning(experiment):
    directory = experiment(warnings=["under-trained"])
    assert read_result(directory).warnings == ["under-trained"]
    edit(directory / "timing.json", lambda timing: timing.update(accumulation=4))
    result = read_result(directory)
    assert result.was_split
    assert "each batch was computed in 4 parts, not 1: batch normalisation saw each part alone" in result.warnings[1]


@pytest.mark.parametrize("parts", [2, 4])
def test_the_recipes_own_parts_and_fewer_of_few_images_are_no_split(experiment, parts):
    directory = experiment()
    edit(directory / "metrics.json", lambda metrics: metrics["spec"]["recipe"].update(accumulation=4))
    edit(directory / "timing.json", lambda timing: timing.update(accumulation=parts))
    assert not read_result(directory).was_split


def test_a_loss_that_was_not_finite_is_read_as_none(experiment):
    path = experiment() / "metrics.json"
    edit(path, lambda metrics: metrics["test"].update(loss=None))
    assert read_metrics(path).test.loss is None


def test_timing_may_say_more_than_is_read(experiment):
    path = experiment() / "timing.json"
    edit(path, lambda timing: timing.update(new_figure=1))
    assert read_timing(path).threads == 2


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda lines: lines[:2] + lines[3:], id="epoch lost"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1][:20]], id="last line cut"),
        pytest.param(lambda lines: lines[:1], id="no epoch"),
        pytest.param(lambda lines: [lines[0].replace("val_loss", "loss"), *lines[1:]], id="column lost"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1].replace(",", ",x", 1)], id="not a number"),
    ],
)
def test_a_damaged_history_is_refused(experiment, damage):
    path = experiment() / "history.csv"
    path.write_text("\n".join(damage(path.read_text().splitlines())))
    with pytest.raises(UserError, match=r"history\.csv: damaged"):
        read_history(path)


def test_metrics_of_another_experiment_are_refused(experiment):
    one, other = experiment(seed=0), experiment(seed=1)
    (one / "metrics.json").write_bytes((other / "metrics.json").read_bytes())
    with pytest.raises(UserError, match=r"seed0/metrics\.json: belongs to another experiment \(digits/.*/seed1\)"):
        read_result(one)


def test_architectures_have_the_names_of_their_papers():
    assert [display_name(name) for name in ("mobilenet_v2", "my_net")] == ["MobileNetV2", "my_net"]


def test_seeds_of_one_experiment_are_one_group_in_the_order_of_the_study(experiment):
    results = [
        read_result(experiment(model=model, seed=seed)) for seed in (0, 1) for model in ("vgg16", "mobilenet_v2")
    ]
    groups = group_seeds(results)
    assert [(group.model, len(group.results)) for group in groups] == [("vgg16", 2), ("mobilenet_v2", 2)]


def test_other_recipe_values_under_the_same_name_are_another_group(experiment):
    results = [read_result(experiment(seed=0, epochs=2)), read_result(experiment(seed=1, epochs=4))]
    assert len(group_seeds(results)) == 2


def test_one_run_has_the_interval_of_its_test_part(experiment):
    result = read_result(experiment(accuracy=0.95))
    (group,) = group_seeds([result])
    assert (group.accuracy.low, group.accuracy.high) == result.metrics.test.accuracy_ci95
    assert interval_caption([group]) == "360 test images, one run each; 95 % interval of the test part (Wilson)"


def test_several_seeds_have_students_interval_of_their_mean():
    accuracies = [0.90, 0.92, 0.91, 0.93]
    estimate = mean_over_seeds(accuracies)
    low, high = stats.t.interval(0.95, 3, loc=0.915, scale=stats.sem(accuracies))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.915, low, high))


def test_an_interval_over_seeds_ends_where_accuracies_do():
    estimate = mean_over_seeds([0.99, 1.0])
    assert (estimate.high, estimate.low > 0.9) == (1.0, True)


def test_a_caption_says_what_is_averaged_and_what_is_not(experiment):
    several = [read_result(experiment(model="vgg16", seed=seed)) for seed in range(3)]
    one = [read_result(experiment(model="resnet50"))]
    assert "mean of 3 seeds; 95 % interval over the seeds" in interval_caption(group_seeds(several))
    both = interval_caption(group_seeds(several + one))
    assert "mean of up to 3 seeds" in both
    assert "single runs: interval of the test part" in both


def test_a_recipe_is_named_only_where_there_are_several(experiment):
    quick, paper = (group_seeds([read_result(experiment(recipe=name))])[0] for name in ("quick", "paper"))
    assert label(quick, several_recipes([quick])) == "ResNet50"
    assert label(quick, several_recipes([quick, paper])) == "ResNet50 (quick)"


def test_budgets_are_trainings_of_one_model_that_differ_in_their_epochs_alone(experiment):
    options = [
        {"recipe": "b4", "epochs": 4},
        {"recipe": "b1", "epochs": 1},
        {"recipe": "other_lr", "epochs": 2, "lr": 0.1},
        {"recipe": "other_model", "epochs": 2, "model": "vgg16"},
    ]
    groups = group_seeds(read_result(experiment(**each)) for each in options)
    assert [[group.first.recipe for group in line] for line in budget_lines(groups)] == [["b1", "b4"]]


def test_seeds_and_names_of_one_recipe_are_no_budgets(experiment):
    options = [{"seed": 1}, {"seed": 2}, {"recipe": "same"}]
    assert budget_lines(group_seeds(read_result(experiment(**each)) for each in options)) == []
