"""The figures of one experiment: what they show, for many and few classes and epochs."""

import math

import numpy as np
import pytest
from drawn import rendered, texts

from deepnets.config.recipe import Recipe
from deepnets.evaluation.history import read_history
from deepnets.evaluation.results import read_metrics
from deepnets.figures import confusion_matrix, learning_curves, style
from deepnets.figures.confusion_matrix import draw_matrix
from deepnets.utils.files import read_json, write_json

NAMES = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": 0}
HOSTILE = ["猫", "$5 $x^2$", "a" * 200, "<script>|x", "line\nbreak", "🐶", "Ελλάδα", "", "_x_", "\\"]


def draw_curves(history, model):
    return learning_curves.draw(history, NAMES | {"model": model}, style.model_style(model, 0))


# -- learning curves --------------------------------------------------------------------------------------------------


def test_learning_curves_show_the_history_in_percent_and_its_last_values(experiment):
    history = read_history(experiment(epochs=8) / "history.csv")
    figure = draw_curves(history, "resnet50")
    accuracy, loss, lr = figure.axes
    curves = {line.get_label(): line for line in accuracy.lines}
    assert curves["validation"].get_ydata() == pytest.approx([100 * value for value in history["val_accuracy"]])
    assert curves["validation"].get_color() == style.model_style("resnet50", 0).color
    assert loss.lines[0].get_ydata() == pytest.approx(history["train_loss"])
    assert lr.lines[0].get_ydata() == pytest.approx(history["lr"])
    assert f"validation\n{100 * history['val_accuracy'][-1]:.2f} %" in texts(accuracy)
    assert [axes.get_ylabel() for axes in figure.axes][0::2] == ["Accuracy (%)", "Learning\nrate"]
    assert figure.get_suptitle() == "ResNet50 on digits, recipe quick, seed 0"


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_the_learning_rate_of_each_step_shows_a_warm_up_within_the_first_epoch(experiment, schedule, epochs):
    history = read_history(experiment(epochs=epochs) / "history.csv")
    options = Recipe(epochs=epochs, lr=0.3, warmup=0.25, schedule=schedule).model_dump(mode="json")
    figure = learning_curves.draw(history, NAMES | {"options": options}, style.model_style("vgg16", 0))
    x, y = figure.axes[2].lines[0].get_data()
    assert (x[0], x[-1], y[-1]) == (0, epochs, pytest.approx(0))
    assert max(y) == pytest.approx(0.3, rel=0.01)
    assert x[int(np.argmax(y))] == pytest.approx(0.25 * epochs, abs=0.01)
    assert y[0] < 0.02


@pytest.mark.parametrize(
    ("epochs", "ticks"),
    [
        (0.1, ["0.00", "0.02", "0.04", "0.06", "0.08", "0.10"]),
        (1.5, ["0.0", "0.5", "1.0", "1.5"]),
        (2, ["0", "1", "2"]),
    ],
)
def test_training_of_less_than_two_epochs_has_ticks_between_them(experiment, epochs, ticks):
    history = read_history(experiment(epochs=1) / "history.csv")
    history["epoch"] = [epochs]
    options = Recipe(epochs=epochs).model_dump(mode="json")
    figure = rendered(learning_curves.draw(history, NAMES | {"options": options}, style.model_style("vgg16", 0)))
    axes = figure.axes[2]
    low, high = axes.get_xlim()
    shown = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert shown == ticks


@pytest.mark.parametrize(("epochs", "marked"), [(1, True), (20, True), (300, False)])
def test_epochs_are_marked_while_they_are_few(experiment, epochs, marked):
    history = read_history(experiment(epochs=epochs) / "history.csv")
    figure = rendered(draw_curves(history, "vgg16"))
    assert (figure.axes[0].lines[1].get_marker() == "s") is marked


def test_a_loss_that_is_not_finite_is_stated_in_words_and_not_drawn(experiment):
    history = read_history(experiment(epochs=3) / "history.csv")
    history["train_loss"] = [1.0, math.nan, math.inf]
    history["val_loss"] = [math.nan] * 3
    figure = rendered(draw_curves(history, "vgg16"))
    assert {"training\nnot finite", "validation\nnot finite"} <= set(texts(figure.axes[1]))


def test_the_last_values_are_written_at_their_height(experiment):
    history = read_history(experiment(epochs=1) / "history.csv")
    history["train_loss"], history["val_loss"] = [1.0], [2.0]
    figure = rendered(draw_curves(history, "vgg16"))
    loss = figure.axes[1]
    to_axes = loss.transData + loss.transAxes.inverted()
    heights = {text.get_text().split("\n")[0]: text.xy[1] for text in loss.texts}
    assert heights["training"] == pytest.approx(to_axes.transform((1, 1.0))[1])
    assert heights["validation"] == pytest.approx(to_axes.transform((1, 2.0))[1])


def test_an_accuracy_axis_does_not_blow_up_tenths_of_a_point(experiment):
    history = read_history(experiment(epochs=1) / "history.csv")
    low, high = draw_curves(history, "vgg16").axes[0].get_ylim()
    assert high - low >= 2


# -- confusion matrix -------------------------------------------------------------------------------------------------


def square_matrix(n_classes, count=1):
    counts = np.full((n_classes, n_classes), count)
    return draw_matrix(counts, counts.sum(axis=1).tolist(), [f"kind {i}" for i in range(n_classes)], "")


def test_a_confusion_matrix_shows_counts_and_the_share_of_the_true_class():
    figure = draw_matrix([[3, 1], [0, 4]], [4, 4], ["cat", "dog"], "title")
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3", "4"]  # no text where nothing was counted
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert figure.axes[1].get_ylabel() == "Share of the true class (%)"


def test_a_class_without_images_is_an_empty_row():
    figure = draw_matrix([[0, 0], [1, 4]], [0, 5], ["none", "some"], "title")
    assert figure.axes[0].images[0].get_array().tolist() == [[0, 0], [0.2, 0.8]]


def test_images_without_a_prediction_count_in_the_share_of_their_class(experiment):
    file = experiment(classes=["cat", "dog", "fox"]) / "metrics.json"
    metrics = read_json(file)
    metrics["test"]["confusion_matrix"] = [[6, 2, 0], [0, 0, 0], [0, 0, 4]]
    for row, images in zip(metrics["test"]["per_class"], (10, 5, 4), strict=True):
        row["n"] = images
    write_json(file, metrics)
    axes = confusion_matrix.draw(read_metrics(file), NAMES, style.model_style("resnet50", 0)).axes[0]
    assert axes.images[0].get_array().tolist() == [[0.6, 0.2, 0], [0, 0, 0], [0, 0, 1]]
    assert sorted(text.get_text() for text in axes.texts) == ["2", "4", "6"]


@pytest.mark.parametrize("n_classes", [2, 10, 25])
def test_counts_are_written_while_they_can_be_read(n_classes):
    figure = rendered(square_matrix(n_classes, 1234))
    assert {text.get_text() for text in figure.axes[0].texts} == {"1,234"}


@pytest.mark.parametrize(("n_classes", "named"), [(100, 100), (1000, 100)])
def test_many_classes_are_colour_only_and_still_named(n_classes, named):
    figure = rendered(square_matrix(n_classes))
    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.get_yticks()) == named
    assert max(figure.get_size_inches()) < 12


@pytest.mark.parametrize("n_classes", [2, 25, 100])
def test_classes_whose_names_start_alike_have_different_names_on_rows_and_columns(n_classes):
    classes = [f"the same twenty letters and more {index}" for index in range(n_classes)]
    axes = draw_matrix(np.eye(n_classes, dtype=int), [1] * n_classes, classes, "").axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert len({label.get_text() for label in labels}) == n_classes


def test_class_names_of_any_kind_are_drawn(tmp_path):
    figure = draw_matrix(np.eye(len(HOSTILE), dtype=int), [1] * len(HOSTILE), HOSTILE, "title")
    style.save(figure, tmp_path / "figure.svg")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[1:5] == ["$5 $x^2$", "a" * 19 + "…", "<script>|x", "line break"]
    assert labels[6] == "Ελλάδα"
