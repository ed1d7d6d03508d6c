"""Reading the files that a finished experiment left."""

import json

import pytest

from deepnets.evaluation.history import read_history
from deepnets.evaluation.results import read_metrics, read_result, read_timing
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
def test_a_missing_file_is_named_with_the_remedy(experiment, name):
    directory = experiment()
    (directory / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: the file is missing; "):
        read_result(directory)


@pytest.mark.parametrize("name", ["metrics.json", "timing.json", "history.csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"test": ', b"epoch,lr\n1,2\n"])
def test_a_damaged_file_is_named_with_the_remedy(experiment, name, content):
    directory = experiment()
    (directory / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s){name}: damaged.*delete it\.$"):
        read_result(directory)


@pytest.mark.parametrize(
    ("change", "problem"),
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
def test_metrics_that_cannot_be_are_refused_by_key(experiment, change, problem):
    path = experiment() / "metrics.json"
    edit(path, change)
    with pytest.raises(UserError, match=problem):
        read_metrics(path)


def test_batches_that_were_split_for_memory_give_a_warning(experiment):
    directory = experiment(warnings=["under-trained"])
    assert read_result(directory).warnings == ["under-trained"]
    edit(directory / "timing.json", lambda timing: timing.update(accumulation=4))
    result = read_result(directory)
    assert result.was_split
    assert "each batch was computed in 4 micro-batches instead of 1: batch normalisation saw each" in result.warnings[1]


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_the_recipes_own_micro_batches_are_not_a_split(experiment, micro_batches):
    directory = experiment()
    edit(directory / "metrics.json", lambda metrics: metrics["spec"]["recipe"].update(accumulation=4))
    edit(directory / "timing.json", lambda timing: timing.update(accumulation=micro_batches))
    assert not read_result(directory).was_split


def test_a_loss_that_was_not_finite_is_read_as_none(experiment):
    path = experiment() / "metrics.json"
    edit(path, lambda metrics: metrics["test"].update(loss=None))
    assert read_metrics(path).test.loss is None


def test_timing_may_have_more_keys_than_are_read(experiment):
    path = experiment() / "timing.json"
    edit(path, lambda timing: timing.update(new_value=1))
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
