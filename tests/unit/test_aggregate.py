"""Experiments that differ only in their seed: means, intervals, labels and budgets."""

from types import SimpleNamespace

import pytest
from made_up_results import write_statistics
from report_pages import set_recipe

from deepnets.comparison.aggregate import (
    SeedGroup,
    best_by_model,
    group_name,
    group_seeds,
    interval_caption,
    several_recipes,
    with_statistics,
)
from deepnets.comparison.statistics_file import Statistics
from deepnets.comparison.swept import budget_lines, swept, titles
from deepnets.evaluation.results import read_result
from deepnets.utils.checked_json import read_checked


def test_seeds_of_one_experiment_are_one_group_in_the_order_of_the_study(experiment):
    results = [
        read_result(experiment(model=model, seed=seed)) for seed in (0, 1) for model in ("vgg16", "mobilenet_v2")
    ]
    groups = group_seeds(results)
    assert [(group.model, len(group.results)) for group in groups] == [("vgg16", 2), ("mobilenet_v2", 2)]


def test_other_recipe_values_under_the_same_name_are_another_group(experiment):
    results = [read_result(experiment(seed=0, epochs=2)), read_result(experiment(seed=1, epochs=4))]
    assert len(group_seeds(results)) == 2


def test_one_run_has_the_interval_over_its_test_images(experiment):
    result = read_result(experiment(accuracy=0.95))
    (group,) = group_seeds([result])
    assert (group.accuracy.low, group.accuracy.high) == result.metrics.test.accuracy_ci95
    assert interval_caption([group]) == "360 test images, one run each; 95 % interval of each trained network (Wilson)"


def test_several_seeds_have_the_interval_of_their_statistics_and_none_without(experiment, tmp_path):
    directories = [experiment(seed=seed, accuracy=0.9 + seed / 100) for seed in range(3)]
    (group,) = group_seeds(map(read_result, directories))
    with pytest.raises(ValueError, match="the interval of several seeds is in statistics"):
        _ = group.accuracy
    statistics = read_checked(write_statistics(tmp_path, *directories)["digits"], Statistics)
    (group,) = with_statistics([group], statistics)
    [candidate] = statistics.candidates
    assert (group.accuracy.low, group.accuracy.high) == candidate.ci95
    assert group.accuracy.value == pytest.approx(0.91, abs=0.002)


def test_the_recipe_that_is_best_on_validation_stands_for_its_model(experiment):
    best_on_test = experiment(recipe="lucky", accuracy=0.99, validation_accuracy=0.9)
    best_on_validation = experiment(recipe="chosen", accuracy=0.95, validation_accuracy=0.96)
    other = experiment(model="vgg16", accuracy=0.5)
    chosen = best_by_model(group_seeds(map(read_result, (best_on_test, best_on_validation, other))))
    assert {model: group.recipe for model, group in chosen.items()} == {"resnet50": "chosen", "vgg16": "quick"}


def test_the_mean_of_a_value_is_unknown_if_that_of_one_seed_is():
    losses = {0: 1.0, 1: None, 2: 3.0}
    group = SeedGroup(tuple(SimpleNamespace(seed=seed) for seed in losses))
    assert group.mean(lambda result: losses[result.seed]) is None
    assert group.mean(lambda result: float(result.seed)) == 1.0


def test_a_caption_says_what_is_averaged_and_what_is_not(experiment):
    several = [read_result(experiment(model="vgg16", seed=seed)) for seed in range(3)]
    one = [read_result(experiment(model="resnet50"))]
    assert "mean of 3 seeds; 95 % interval over seeds and images" in interval_caption(group_seeds(several))
    both = interval_caption(group_seeds(several + one))
    assert "mean of up to 3 seeds" in both
    assert "single runs: over the images alone (Wilson)" in both
    two = interval_caption(group_seeds(several[:2]))
    assert two.endswith("the spread over 2 seeds is hardly known")


def test_a_recipe_is_named_only_where_there_are_several(experiment):
    quick, paper = (group_seeds([read_result(experiment(recipe=name))])[0] for name in ("quick", "paper"))
    assert group_name(quick, several_recipes([quick])) == "ResNet50"
    assert group_name(quick, several_recipes([quick, paper])) == "ResNet50 (quick)"


def test_budgets_are_runs_of_one_model_that_differ_only_in_their_epochs(experiment):
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


def sweeps(experiment, *options):
    """The recipes of each swept option, of experiments that are given by arguments and, under "set", recipe values."""
    folders = []
    for each in options:
        folders.append(experiment(**{name: value for name, value in each.items() if name != "set"}))
        set_recipe(folders[-1], **each.get("set", {}))
    found = swept(group_seeds(map(read_result, folders)))
    return {option: [group.recipe for group in groups] for option, groups in found.items()}


def test_recipes_that_differ_in_a_number_alone_are_a_sweep_of_it_by_ascending_values(experiment):
    rates = [{"recipe": f"r{rate}", "lr": rate} for rate in (0.1, 0.01, 0.05)]
    assert sweeps(experiment, *rates, {"model": "vgg16"}) == {"lr": ["r0.01", "r0.05", "r0.1"]}


def test_a_recipe_with_several_values_is_a_sweep_of_each_number_in_it(experiment):
    trials = [
        {"recipe": f"quick,optimizer={optimizer},lr={lr}", "lr": lr, "set": {"optimizer": optimizer, "momentum": 0.9}}
        for lr, optimizer in ((0.3, "sgd"), (0.01, "adamw"))
    ]
    assert sweeps(experiment, *trials) == {"lr": ["quick,optimizer=adamw,lr=0.01", "quick,optimizer=sgd,lr=0.3"]}


def test_a_value_that_a_study_gives_one_recipe_is_in_the_title_of_all_of_its_name(experiment):
    options = [
        {"lr": 0.05},
        {"recipe": "quick,augment.mixup=0.2,lr=0.1", "lr": 0.1, "set": {"augment": {"mixup": 0.2}}},
        {"recipe": "paper", "lr": 0.3},
        {"model": "vgg16"},
        {"recipe": "quick,lr=0.4,sha256=0b5f", "lr": 0.4},
    ]
    folders = [experiment(**{name: value for name, value in each.items() if name != "set"}) for each in options]
    for folder, each in zip(folders, options, strict=True):
        set_recipe(folder, **each.get("set", {}))
    assert titles(group_seeds(map(read_result, folders))) == [
        *("quick, augment.mixup 0, lr 0.05", "quick, augment.mixup 0.2, lr 0.1", "paper", "quick"),
        "quick, lr 0.4, sha256 0b5f",
    ]


def test_recipes_that_differ_in_all_sorts_of_things_are_no_sweep(experiment):
    assert sweeps(experiment, {}, {"recipe": "record", "lr": 0.1, "epochs": 200}) == {}
    words = [{"recipe": f"quick,compile={value}", "set": {"compile": value}} for value in (True, False)]
    assert sweeps(experiment, *words) == {}
