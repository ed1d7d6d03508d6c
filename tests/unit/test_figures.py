"""Figures: what they say and show, for many and few classes, models and epochs."""

import itertools
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import plot_comparison
import plot_confusion_matrix
import plot_learning_curves
from deepnets.comparison.aggregate import group_seeds
from deepnets.evaluation.results import read_history, read_result
from deepnets.figures import comparison, style
from deepnets.figures.comparison import FIGURES, Comparison
from deepnets.figures.confusion_matrix import confusion_matrix
from deepnets.figures.learning_curves import learning_curves
from deepnets.utils.errors import UserError

FOUR = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")
HOSTILE = ["猫", "$5 $x^2$", "a" * 200, "<script>|x", "line\nbreak", "🐶", "Ελλάδα", "", "_x_", "\\"]


def texts(artist):
    return [text.get_text() for text in artist.findobj(lambda each: hasattr(each, "get_text"))]


def rendered(figure):
    figure.draw_without_rendering()
    return figure


# -- one look ---------------------------------------------------------------------------------------------------------


def lightness(color):
    """CIE L* (0 black, 100 white) of an sRGB colour."""
    luminance = np.dot([0.2126, 0.7152, 0.0722], linear(color))
    return 116 * np.cbrt(luminance) - 16


def linear(color):
    rgb = np.asarray(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Linear RGB as seen without one kind of cone: Machado et al. 2009, severity 1.
VISION = {
    "all cones": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", VISION)
def test_the_four_architectures_differ_for_every_kind_of_colour_vision(vision):
    def lab(color):
        x, y, z = np.clip(np.asarray(VISION[vision]) @ linear(color), 0, 1) @ np.transpose(
            [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8726]]
        )
        x, y, z = np.cbrt([x, y, z])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    colors = [style.look(model, 0).color for model in FOUR]
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in itertools.combinations(colors, 2)) > 20


def test_the_four_architectures_differ_in_grey_print():
    levels = sorted(lightness(style.look(model, 0).color) for model in FOUR)
    assert min(np.diff(levels)) > 10


def test_an_architecture_keeps_its_look_whatever_its_index():
    assert style.look("resnet50", 0) == style.look("resnet50", 7)
    assert len({style.look(model, 0).marker for model in FOUR}) == 4


def test_two_hundred_models_of_ones_own_have_looks_of_their_own():
    looks = [style.look("net", index) for index in range(200)]
    assert len({(look.color, look.marker, look.linestyle) for look in looks}) == 200
    fixed = {style.look(model, 0).color for model in FOUR}
    assert not fixed & {look.color for look in looks}


def test_a_name_is_on_one_line_short_and_drawable():
    assert style.legible("two\n lines", 20) == "two lines"
    assert style.legible("a" * 30, 20) == "a" * 19 + "…"
    assert style.legible("dog \U0010ffff", 20) == "dog ?"
    assert style.legible("\U0010ffff", 20, instead="class 3") == "class 3"


def test_labels_that_are_too_close_are_spread_about_their_middle():
    assert style.spread([0.1, 0.5, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.4, 0.6, 0.9])
    assert style.spread([0.1, 0.5, 0.51, 0.6], 0.2) == pytest.approx([0.1, 0.3366666, 0.5366666, 0.7366666])
    assert style.spread([], 0.2) == []


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes_in_every_process(tmp_path, root, experiment, suffix):
    directory = experiment(epochs=2)
    paths = [tmp_path / f"{run}.{suffix}" for run in range(2)]
    code = (
        "import sys; from deepnets.figures import style; from deepnets.figures.learning_curves import learning_curves\n"
        "from deepnets.evaluation.results import read_history\n"
        "style.save(learning_curves(read_history(sys.argv[1]), style.look('vgg16', 0), 'title'), sys.argv[2])"
    )
    for seed, path in enumerate(paths):
        environment = os.environ | {"PYTHONPATH": str(root / "scripts"), "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", code, directory / "history.csv", path], env=environment, check=True)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"Matplotlib v" not in first


# -- learning curves --------------------------------------------------------------------------------------------------


def test_learning_curves_show_the_history_in_percent_and_its_last_values(experiment):
    history = read_history(experiment(epochs=8) / "history.csv")
    figure = learning_curves(history, style.look("resnet50", 0), "ResNet50 on digits")
    accuracy, loss, lr = figure.axes
    curves = {line.get_label(): line for line in accuracy.lines}
    assert curves["validation"].get_ydata() == pytest.approx([100 * value for value in history["val_accuracy"]])
    assert curves["validation"].get_color() == style.look("resnet50", 0).color
    assert loss.lines[0].get_ydata() == pytest.approx(history["train_loss"])
    assert lr.lines[0].get_ydata() == pytest.approx(history["lr"])
    assert f"validation\n{100 * history['val_accuracy'][-1]:.2f} %" in texts(accuracy)
    assert [axes.get_ylabel() for axes in figure.axes][0::2] == ["Accuracy (%)", "Learning\nrate"]
    assert figure.get_suptitle() == "ResNet50 on digits"


@pytest.mark.parametrize(("epochs", "marked"), [(1, True), (20, True), (300, False)])
def test_epochs_are_marked_while_they_are_few(experiment, epochs, marked):
    history = read_history(experiment(epochs=epochs) / "history.csv")
    figure = rendered(learning_curves(history, style.look("vgg16", 0), "title"))
    assert (figure.axes[0].lines[1].get_marker() == "s") is marked


def test_a_loss_that_is_not_finite_is_said_not_drawn(experiment):
    history = read_history(experiment(epochs=3) / "history.csv")
    history["train_loss"] = [1.0, math.nan, math.inf]
    history["val_loss"] = [math.nan] * 3
    figure = rendered(learning_curves(history, style.look("vgg16", 0), "title"))
    assert {"training\nnot finite", "validation\nnot finite"} <= set(texts(figure.axes[1]))


def test_the_last_values_are_written_at_their_height(experiment):
    history = read_history(experiment(epochs=1) / "history.csv")
    history["train_loss"], history["val_loss"] = [1.0], [2.0]
    figure = rendered(learning_curves(history, style.look("vgg16", 0), "title"))
    loss = figure.axes[1]
    to_axes = loss.transData + loss.transAxes.inverted()
    heights = {text.get_text().split("\n")[0]: text.xy[1] for text in loss.texts}
    assert heights["training"] == pytest.approx(to_axes.transform((1, 1.0))[1])
    assert heights["validation"] == pytest.approx(to_axes.transform((1, 2.0))[1])


def test_an_accuracy_axis_does_not_blow_up_tenths_of_a_point(experiment):
    history = read_history(experiment(epochs=1) / "history.csv")
    low, high = learning_curves(history, style.look("vgg16", 0), "title").axes[0].get_ylim()
    assert high - low >= 2


# -- confusion matrix -------------------------------------------------------------------------------------------------


def test_a_confusion_matrix_shows_counts_and_the_share_of_the_true_class():
    figure = confusion_matrix([[3, 1], [0, 4]], ["cat", "dog"], "title")
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3", "4"]  # no text where nothing was counted
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert figure.axes[1].get_ylabel() == "Share of the true class (%)"


def test_a_class_without_images_is_an_empty_row():
    figure = confusion_matrix([[0, 0], [1, 4]], ["none", "some"], "title")
    assert figure.axes[0].images[0].get_array().tolist() == [[0, 0], [0.2, 0.8]]


@pytest.mark.parametrize("n_classes", [2, 10, 25])
def test_counts_are_written_while_they_can_be_read(n_classes):
    figure = rendered(
        confusion_matrix(np.full((n_classes, n_classes), 1234), [f"kind {i}" for i in range(n_classes)], "")
    )
    assert {text.get_text() for text in figure.axes[0].texts} == {"1,234"}


@pytest.mark.parametrize(("n_classes", "named"), [(100, 100), (1000, 100)])
def test_many_classes_are_colour_only_and_still_named(n_classes, named):
    figure = rendered(confusion_matrix(np.eye(n_classes, dtype=int), [f"kind {i}" for i in range(n_classes)], ""))
    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.get_yticks()) == named
    assert max(figure.get_size_inches()) < 12


def test_class_names_of_any_kind_are_drawn(tmp_path):
    figure = confusion_matrix(np.eye(len(HOSTILE), dtype=int), HOSTILE, "title")
    style.save(figure, tmp_path / "figure.svg")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[1:5] == ["$5 $x^2$", "a" * 19 + "…", "<script>|x", "line break"]
    assert labels[6] == "Ελλάδα"


# -- comparison -------------------------------------------------------------------------------------------------------


@pytest.fixture
def compare(experiment):
    """A Comparison of experiments given as keyword arguments."""

    def make(*options, published=None):
        groups = group_seeds(read_result(experiment(**each)) for each in options)
        looks = {group.model: style.look(group.model, index) for index, group in enumerate(groups)}
        return Comparison("digits", groups, looks, published or {})

    return make


TWO = ({"model": "vgg16", "accuracy": 0.8, "wall_seconds": 100}, {"model": "mobilenet_v2", "wall_seconds": 20})


def test_accuracy_is_ranked_with_its_interval_written_out(compare):
    figure = comparison.accuracy(compare(*TWO))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MobileNetV2", "VGG-16"]
    assert axes.get_xlabel() == "Test accuracy (%)"
    assert "80.00  [75.56, 83.81]" in texts(axes)
    assert "one run each; 95 % interval over the test images (Wilson)" in axes.get_title("left")


def test_single_seeds_are_shown_beside_their_mean(compare):
    seeds = [{"model": "vgg16", "seed": seed, "accuracy": 0.9 + seed / 100, "n_test": 1000} for seed in range(3)]
    axes = comparison.accuracy(compare(*seeds)).axes[0]
    ticks = next(line for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3)
    assert ticks.get_xdata() == pytest.approx([90, 91, 92])
    assert "mean of 3 seeds" in axes.get_title("left")


def test_published_accuracies_are_hollow_markers_named_in_the_legend(compare):
    figure = comparison.accuracy(compare(*TWO, published={"vgg16": {"published": 98.93}}))
    hollow = next(line for line in figure.axes[0].lines if line.get_label() == "published")
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([98.93], [1])
    assert hollow.get_markerfacecolor() == "none"
    assert "published" in texts(figure.legends[0])
    assert not comparison.accuracy(compare(*TWO)).legends


def test_cost_is_on_a_log_axis_with_units(compare):
    by_size, by_time = comparison.accuracy_vs_parameters(compare(*TWO)), comparison.accuracy_vs_time(compare(*TWO))
    for figure in (by_size, by_time):
        assert (figure.axes[0].get_xscale(), figure.axes[0].get_ylabel()) == ("log", "Test accuracy (%)")
    assert "1 min" in [label.get_text() for label in by_time.axes[0].get_xticklabels()]
    assert by_time.axes[0].get_xlabel() == "Wall time of training (log scale), Some CPU, 2 threads"


@pytest.mark.parametrize(
    ("models", "ticks"),
    [
        (("resnet50", "vgg16"), ["20 million", "50 million", "100 million"]),
        (("mobilenet_v2", "vgg16"), ["10 million", "100 million"]),
    ],
)
def test_sizes_that_crowd_each_other_on_the_axis_give_way_to_powers_of_ten(compare, models, ticks):
    axes = comparison.accuracy_vs_parameters(compare(*({"model": model} for model in models))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_times_of_different_machines_are_not_passed_off_as_one(compare):
    figure = comparison.accuracy_vs_time(compare(TWO[0], {**TWO[1], "device_name": "Other CPU"}))
    assert figure.axes[0].get_xlabel().endswith("several machines")


def test_times_of_different_numbers_of_threads_say_so(compare):
    figure = comparison.accuracy_vs_time(compare(TWO[0], {**TWO[1], "threads": 1}))
    assert figure.axes[0].get_xlabel().endswith("Some CPU, different numbers of threads")


def test_names_beside_points_do_not_cover_each_other(compare):
    models = [{"model": f"net{i}", "accuracy": 0.97, "wall_seconds": 60 + i} for i in range(5)]
    figure = rendered(comparison.accuracy_vs_time(compare(*models)))
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("net")]
    boxes = [name.get_window_extent() for name in names]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_more_models_than_names_fit_have_a_legend(compare):
    figure = comparison.accuracy_vs_time(compare(*({"model": f"net{i}"} for i in range(13))))
    assert len(figure.legends[0].get_texts()) == 13
    assert not figure.axes[0].texts


def test_a_budget_curve_joins_the_budgets_of_each_model(compare):
    budgets = [
        {
            "model": model,
            "recipe": f"b{epochs}",
            "epochs": epochs,
            "accuracy": 0.9 + epochs / 100,
            "wall_seconds": epochs,
        }
        for epochs in (4, 1, 2)
        for model in ("vgg16", "resnet50")
    ]
    figure = comparison.accuracy_vs_budget(compare(*budgets))
    by_epochs, by_time = figure.axes
    curves = [line for line in by_epochs.lines if len(line.get_xdata()) == 3]
    assert [list(curve.get_xdata()) for curve in curves] == [[1, 2, 4], [1, 2, 4]]
    assert [label.get_text() for label in by_epochs.get_xticklabels()] == ["1", "2", "4"]
    assert {"VGG-16", "ResNet50"} <= set(texts(by_time))


def test_budgets_by_recipes_of_two_kinds_are_two_lines_named_by_recipe(compare):
    kinds = (("low", 0.01, 0.5), ("high", 0.1, 0.9))
    budgets = [
        {"recipe": f"{kind}{epochs}", "lr": lr, "epochs": epochs, "accuracy": accuracy, "n_test": 100}
        for epochs in (2, 1)
        for kind, lr, accuracy in kinds
    ]
    by_epochs, by_time = comparison.accuracy_vs_budget(compare(*budgets)).axes
    lines = [line for line in by_epochs.lines if len(line.get_xdata()) > 1]
    assert [list(line.get_xdata()) for line in lines] == [[1, 2], [1, 2]]
    assert [list(line.get_ydata()) for line in lines] == [[50, 50], [90, 90]]
    assert {"ResNet50 (low2)", "ResNet50 (high2)"} <= set(texts(by_time))


def test_trainings_that_differ_in_more_than_their_epochs_are_named_and_not_joined(compare):
    sweep = [
        {"recipe": f"r{i}", "lr": lr, "epochs": epochs} for i, (lr, epochs) in enumerate([(0.1, 4), (0.2, 4), (0.3, 8)])
    ]
    by_epochs, by_time = comparison.accuracy_vs_budget(compare(*sweep)).axes
    assert max(len(line.get_xdata()) for line in by_epochs.lines) == 1
    assert texts(by_time).count("ResNet50") == 1


def test_the_best_of_very_many_are_shown_and_the_title_says_so(compare):
    groups = compare(*({"recipe": f"r{i}", "accuracy": 0.5 + i / 360} for i in range(100)))
    figure = rendered(comparison.accuracy(groups))
    assert figure.get_suptitle() == "Test accuracy, the best 80 of 100: digits"
    assert len(figure.axes[0].get_yticks()) == 80
    for draw in FIGURES.values():
        rendered(draw(groups))


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "accuracy"])
def test_of_very_many_models_the_best_twelve_are_in_colour_and_named(compare, name):
    models = ({"model": f"net{i}", "accuracy": 0.5 + i / 360, "epochs": 1 + i % 3} for i in range(100))
    figure = rendered(FIGURES[name](compare(*models)))
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(named) == {*(f"net{i}" for i in range(88, 100)), "88 others"}
    assert figure.get_figheight() < 5
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) <= 6 + 1  # all that there are for models of one's own, and the grey of the others


@pytest.mark.parametrize("name", FIGURES)
def test_a_single_experiment_is_compared_without_complaint(compare, name):
    assert isinstance(rendered(FIGURES[name](compare(TWO[0]))), Figure)


# -- scripts ----------------------------------------------------------------------------------------------------------


def job(directory, **spec):
    dataset, model, recipe, seed = directory.parts[-4:]
    names = {"dataset": dataset, "model": model, "recipe": recipe, "seed": int(seed[4:])}
    return json.dumps({"experiment": names, "spec": {"models": {model: 0}, **spec}, "code": {}})


def outputs(folder):
    return ["--png", str(folder / "figure.png"), "--svg", str(folder / "figure.svg")]


def test_plot_scripts_of_one_experiment_write_png_and_svg(experiment, tmp_path):
    directory = experiment()
    plot_learning_curves.main(
        ["--job", job(directory), "--history", str(directory / "history.csv"), *outputs(tmp_path)]
    )
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "figure.png").unlink()
    plot_confusion_matrix.main(
        ["--job", job(directory), "--metrics", str(directory / "metrics.json"), *outputs(tmp_path)]
    )
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figure.svg").read_text()


def test_the_title_of_a_confusion_matrix_gives_accuracy_and_interval(experiment, tmp_path, monkeypatch):
    directory = experiment(accuracy=0.8)
    saved, save = [], plot_confusion_matrix.save
    monkeypatch.setattr(plot_confusion_matrix, "save", lambda figure, path: [saved.append(figure), save(figure, path)])
    plot_confusion_matrix.main(
        ["--job", job(directory), "--metrics", str(directory / "metrics.json"), *outputs(tmp_path)]
    )
    assert saved[0].get_suptitle() == (
        "ResNet50 on digits, recipe quick, seed 0\ntest accuracy 80.00 % (95 % interval 75.56 to 83.81, 360 images)"
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_plot_comparison_writes_each_figure(experiment, tmp_path, root, figure):
    directories = [experiment("cifar10-jpeg", "vgg16"), experiment("cifar10-jpeg", "resnet50")]
    spec = {"dataset": "cifar10-jpeg", "variant_of": "cifar10", "models": {"vgg16": 0, "resnet50": 1}}
    spec["experiments"] = [str(directory) for directory in directories]
    arguments = ["--job", json.dumps({"spec": spec, "code": {}}), "--figure", figure]
    arguments += ["--published", str(root / "workflow/published.csv"), "--png", str(tmp_path / "figure.png")]
    plot_comparison.main(arguments)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_damaged_metrics_is_not_drawn(experiment, tmp_path):
    path = experiment() / "metrics.json"
    path.write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        plot_confusion_matrix.main(["--job", job(path.parent), "--metrics", str(path), *outputs(tmp_path)])
    assert not list(tmp_path.glob("figure*"))


@pytest.mark.parametrize("script", ["plot_learning_curves", "plot_confusion_matrix", "plot_comparison", "report"])
def test_no_plot_or_report_script_loads_torch(root, script):
    code = f"import {script}, sys; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=120).returncode == 0
