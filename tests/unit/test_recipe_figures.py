"""Figures of several recipes of a network: sweeps, budgets, and which recipe validation chose."""

from functools import partial

import pytest
from drawn import comparison_of, comparison_of_finished, rendered, texts
from made_up_results import write_experiment

from deepnets.figures import (
    accuracy,
    accuracy_at_equal_time,
    accuracy_vs_budget,
    accuracy_vs_time,
    accuracy_vs_value,
    ranking,
)
from deepnets.figures.comparison import PALE


@pytest.fixture
def compare(tmp_path):
    """A Comparison of experiments given as keyword arguments."""
    return partial(comparison_of, tmp_path)


def test_equal_time_of_one_network_shows_its_recipes_each_with_its_own_look_and_name(compare):
    runs = [{"recipe": f"e{n}", "epochs": n, "validation_accuracy": n / 50, "wall_seconds": 10 * n} for n in (2, 4)]
    axes = accuracy_at_equal_time.draw(compare(*runs)).axes[0]
    assert {text.get_text().rpartition("  ")[0] for text in axes.texts} == {"ResNet50 (e2)", "ResNet50 (e4)"}
    assert len({(line.get_color(), str(line.get_linestyle())) for line in axes.lines[:2]}) == 2


def test_equal_time_of_one_network_with_many_recipes_shows_the_best_on_validation(compare):
    runs = ({"recipe": f"r{n}", "validation_accuracy": n / 50} for n in range(14))
    axes = accuracy_at_equal_time.draw(compare(*runs)).axes[0]
    assert {text.get_text().split("  ")[0] for text in axes.texts} == {f"ResNet50 (r{n})" for n in range(2, 14)}
    assert axes.get_title("left").endswith("\nthe best 12 of 14 recipes on validation")


def points(axes):
    """The markers of ResNet50 and VGG-16, without the rings of the Pareto front."""
    return [line for line in axes.lines if line.get_marker() in ("o", "s") and line.get_drawstyle() == "default"]


def test_of_few_recipes_each_point_has_its_name(compare):
    runs = [
        {"recipe": f"quick,lr={rate}", "accuracy": rate, "n_test": 10_000, "wall_seconds": 10 * 4**place}
        for place, rate in enumerate((0.5, 0.7, 0.9))
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*runs, {"model": "vgg16", "wall_seconds": 30, "n_test": 10_000})))
    names = [f"ResNet50 (quick, lr {rate})" for rate in (0.5, 0.7, 0.9)]
    assert [text.get_text() for text in figure.axes[0].texts] == [*names, "VGG-16"]
    strength = [line.get_alpha() for line in points(figure.axes[0])]
    assert strength == [PALE, PALE, 1, 1]
    assert figure.axes[0].get_title("left").endswith("\npale: 2 recipes that validation did not choose")


@pytest.mark.parametrize("recipes", [pytest.param(4, id="no room"), pytest.param(5, id="more than 8 points")])
def test_recipes_that_validation_did_not_choose_are_pale_where_they_have_no_names(compare, recipes):
    runs = [
        {"model": model, "recipe": f"r{n}", "accuracy": 0.9, "validation_accuracy": n / 100}
        for model in ("resnet50", "vgg16")
        for n in range(recipes)
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*runs)))
    [axes] = figure.axes
    assert f"pale: {len(runs) - 2} recipes that validation did not choose" in axes.get_title("left")
    named = {text for text in texts(figure) if "(r" in text}
    assert named == {f"ResNet50 (r{recipes - 1})", f"VGG-16 (r{recipes - 1})"}
    assert sorted(line.get_markersize() for line in points(axes)) == [3] * (len(runs) - 2) + [5, 5]


def test_where_validation_chose_the_best_on_validation_is_first_and_rows_that_it_did_not_choose_are_pale(compare):
    runs = [{"recipe": "a", "accuracy": 0.9, "validation_accuracy": 0.5}, {"recipe": "b", "accuracy": 0.8}]
    axes = accuracy.draw(compare(*runs, {"model": "vgg16", "accuracy": 0.7})).axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["ResNet50 (b)", "VGG-16 (quick)", "ResNet50 (a)"]
    strength = {line.get_ydata()[0]: line.get_alpha() for line in axes.lines if line.get_marker() != "|"}
    assert strength[0] == strength[1] == 1 > strength[2]
    assert "best on validation first, pale: not chosen by it" in axes.get_title("left")


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
    figure = accuracy_vs_budget.draw(compare(*budgets))
    by_epochs, by_time = figure.axes
    curves = [line for line in by_epochs.lines if len(line.get_xdata()) == 3]
    assert [list(curve.get_xdata()) for curve in curves] == [[1, 2, 4], [1, 2, 4]]
    assert [label.get_text() for label in by_epochs.get_xticklabels()] == ["1", "2", "4"]
    assert {"VGG-16", "ResNet50"} <= set(texts(by_time))


def test_budgets_that_validation_did_not_choose_are_pale(compare):
    budgets = [
        {"recipe": f"b{epochs}", "epochs": epochs, "accuracy": 0.9, "validation_accuracy": validation}
        for epochs, validation in ((1, 0.5), (2, 0.8), (4, 0.7))
    ]
    by_epochs, by_time = accuracy_vs_budget.draw(compare(*budgets)).axes
    for axes in (by_epochs, by_time):
        points = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() == "o"]
        assert [line.get_alpha() for line in points] == [PALE, 1, PALE]
        assert len({line.get_markersize() for line in points}) == 1, "those on a line are not small"
    assert by_epochs.get_title("left").endswith("\npale: 2 recipes that validation did not choose")


def test_budgets_by_recipes_of_two_kinds_are_two_lines_named_by_recipe(compare):
    kinds = (("low", 0.01, 0.5), ("high", 0.1, 0.9))
    budgets = [
        {"recipe": f"{kind}{epochs}", "lr": lr, "epochs": epochs, "accuracy": accuracy, "n_test": 100}
        for epochs in (2, 1)
        for kind, lr, accuracy in kinds
    ]
    by_epochs, by_time = accuracy_vs_budget.draw(compare(*budgets)).axes
    lines = [line for line in by_epochs.lines if len(line.get_xdata()) > 1]
    assert [list(line.get_xdata()) for line in lines] == [[1, 2], [1, 2]]
    assert [list(line.get_ydata()) for line in lines] == [[50, 50], [90, 90]]
    assert {"ResNet50 (low2)", "ResNet50 (high2)"} <= set(texts(by_time))


def test_runs_that_differ_in_more_than_their_epochs_are_named_and_not_joined(compare):
    sweep = [
        {"recipe": f"r{i}", "lr": lr, "epochs": epochs} for i, (lr, epochs) in enumerate([(0.1, 4), (0.2, 4), (0.3, 8)])
    ]
    by_epochs, by_time = accuracy_vs_budget.draw(compare(*sweep)).axes
    assert max(len(line.get_xdata()) for line in by_epochs.lines) == 1
    assert texts(by_time).count("ResNet50") == 1


def markers(axes):
    """The position of each large marker, and whether it is hollow; not rings."""
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_markersize() == 5]
    return [(line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor() == "none") for line in drawn]


def rings(axes):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_markersize() == 11]


def test_a_sweep_has_validation_accuracy_by_value_with_its_seeds_and_the_chosen_recipe_in_a_ring(compare):
    runs = [
        {"recipe": f"quick,lr={lr}", "lr": lr, "seed": seed, "accuracy": 0.5, "validation_accuracy": lr + seed / 10}
        for lr in (0.3, 0.01, 0.1)
        for seed in (0, 1)
    ]
    axes = rendered(accuracy_vs_value.draw(compare(*runs))).axes[0]
    means = [(0.01, pytest.approx(6), False), (0.1, pytest.approx(15), False), (0.3, pytest.approx(35), False)]
    assert markers(axes) == means
    assert rings(axes) == [(0.3, pytest.approx(35))]
    [line] = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert list(line.get_xdata()) == [0.01, 0.1, 0.3]
    seeds = [float(line.get_ydata()[0]) for line in axes.lines if line.get_markersize() == 3]
    assert sorted(seeds)[:2] == pytest.approx([1, 10])
    assert (axes.get_xlabel(), axes.get_xscale()) == ("lr (log scale)", "log")
    assert axes.get_ylabel() == "Validation accuracy (%)"
    assert axes.get_title("left") == "144 validation images: one image is 0.69 points"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "0.3"]


def test_seeds_of_equal_accuracy_are_side_by_side_not_on_each_other(compare):
    runs = [
        {"recipe": f"quick,lr={lr}", "lr": lr, "seed": seed, "accuracy": 0.5, "validation_accuracy": found}
        for lr in (0.3, 0.1)
        for seed, found in enumerate((0.75, 0.75, 0.5))
    ]
    comparison = compare(*runs)
    axes = rendered(accuracy_vs_value.draw(comparison)).axes[0]
    dots = [line for line in axes.lines if line.get_markersize() == 3]
    assert all(axes.viewLim.contains(*line.get_xydata()[0]) for line in dots)
    seen = {tuple(line.get_transform().transform(line.get_xydata()[0]).round()) for line in dots}
    assert len(seen) == len(dots) == 6
    rows = rendered(accuracy.draw(comparison)).axes[0]
    ticks = [line for line in rows.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3]
    assert [len(set(line.get_ydata())) for line in ticks] == [3, 3]


def test_a_sweep_over_epochs_has_validation_accuracy_by_epochs_without_hollow_markers(compare):
    runs = [{"recipe": f"e{n}", "epochs": n, "accuracy": 0.9, "validation_accuracy": n / 10} for n in (4, 1, 2)]
    figure = rendered(accuracy_vs_value.draw(compare(*runs)))
    [axes] = figure.axes
    assert markers(axes) == [(n, pytest.approx(10 * n), False) for n in (1, 2, 4)]
    assert rings(axes) == [(4, pytest.approx(40))]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epochs", "Validation accuracy (%)")
    assert "hollow: stopped early" not in texts(figure.legends[0])


def test_lines_of_a_network_in_a_grid_are_named_by_what_differs_between_them(compare):
    runs = [
        {"recipe": f"quick,epochs={epochs},lr={lr}", "lr": lr, "epochs": epochs, "accuracy": 0.5 + lr + epochs / 100}
        for lr in (0.01, 0.02)
        for epochs in (4, 8)
    ]
    figure = rendered(accuracy_vs_value.draw(compare(*runs, {"model": "vgg16"})))
    by_epochs, by_rate = figure.axes
    assert [text.get_text() for text in by_epochs.texts] == ["lr 0.01", "lr 0.02"]
    assert [text.get_text() for text in by_rate.texts] == ["epochs 4", "epochs 8"]
    assert by_rate.get_xscale() == "linear"
    assert not any(hollow for axes in (by_epochs, by_rate) for *_, hollow in markers(axes)), "no search stopped them"
    assert "hollow: stopped early" not in texts(figure.legends[0])
    assert "VGG-16" not in texts(figure.legends[0])


GRID = [
    {
        **{"model": model, "recipe": f"quick,epochs={epochs},lr={lr}", "epochs": epochs, "lr": lr},
        **{"accuracy": 0.8 + epochs / 100 + lr / 10, "wall_seconds": 20 * epochs},
    }
    for model in ("vgg16", "resnet50", "mobilenet_v2", "inception_v3")
    for epochs in (2, 4)
    for lr in (0.01, 0.05, 0.2)
]


def test_in_a_grid_of_two_networks_lines_have_their_values_as_names_in_the_colour_of_their_network(compare):
    by_epochs, by_rate = rendered(accuracy_vs_value.draw(compare(*GRID[:12]))).axes
    for axes, values in ((by_epochs, ["lr 0.01", "lr 0.05", "lr 0.2"]), (by_rate, ["epochs 2", "epochs 4"])):
        of_colour: dict = {}
        for text in axes.texts:
            of_colour.setdefault(text.get_color(), []).append(text.get_text())
        assert list(map(sorted, of_colour.values())) == [values, values]


def test_names_of_chosen_recipes_leave_out_what_all_recipes_share_and_have_their_values_in_full(compare):
    figure = rendered(accuracy_vs_time.draw(compare(*GRID)))
    names = [f"{model} (epochs 4, lr 0.2)" for model in ("VGG-16", "ResNet50", "MobileNetV2", "Inception V3")]
    assert set(names) <= set(texts(figure))
    rows = texts(ranking.draw(compare(*GRID)).axes[0].yaxis)
    assert set(names) <= {row.partition("  ")[0] for row in rows}


def test_names_that_would_be_cut_next_to_their_points_are_in_full_in_a_legend(compare):
    mixed = [{**run, "recipe": run["recipe"].replace("quick", f"a_recipe_of_{run['model']}")} for run in GRID[:12]]
    figure = rendered(accuracy_vs_time.draw(compare(*mixed)))
    of_model = {"vgg16": "VGG-16", "resnet50": "ResNet50"}
    names = [f"{name} (a_recipe_of_{model}, epochs 4, lr 0.2)" for model, name in of_model.items()]
    assert [text.get_text() for text in figure.legends[0].get_texts()][:-1] == names
    assert not figure.axes[0].texts


def test_trials_that_their_search_stopped_early_are_hollow_and_other_short_ones_are_not(tmp_path):
    short, long, stopped = (
        write_experiment(tmp_path / "results", recipe=f"quick,epochs={epochs},lr={lr}", epochs=epochs, lr=lr)
        for epochs, lr in ((2, 0.1), (8, 0.2), (2, 0.3))
    )
    figure = rendered(accuracy_vs_value.draw(comparison_of_finished(tmp_path, short, long, stopped, stopped=[stopped])))
    by_epochs, by_rate = figure.axes
    assert [hollow for *_, hollow in markers(by_rate)] == [False, False, True]
    assert [(epochs, hollow) for epochs, _, hollow in markers(by_epochs)] == [(2, False), (2, True), (8, False)]
    assert "hollow: stopped early" in texts(figure.legends[0])


def test_trials_of_a_search_are_points_in_a_panel_per_option_without_lines(compare):
    trials = [{"recipe": f"quick,lr={n / 100},epochs={n}", "lr": n / 100, "epochs": n} for n in range(1, 9)]
    figure = rendered(accuracy_vs_value.draw(compare(*trials)))
    assert [axes.get_xlabel().split()[0] for axes in figure.axes] == ["epochs", "lr"]
    assert max(len(line.get_xdata()) for axes in figure.axes for line in axes.lines) == 1
    assert "pale: other options differ, too" in texts(figure.legends[0])
