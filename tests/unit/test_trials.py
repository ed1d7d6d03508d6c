"""The trials of a search: values that none can have are refused at once, and the best get lines for the recipe."""

import pytest
import yaml
from config_files import load, refused

from deepnets.planning.search import SearchRun

SEARCH = {"dataset": "digits", "model": "resnet50", "recipe": "quick"}


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (
            {"augment": {"cutout": {"low": 0, "high": 28}}},
            ["augment.cutout.high: must be smaller than the images of digits (got 28 pixels); set it below 28"],
        ),
        (
            {"augment": [{}, {"mixup": 1}, {"mixup": 1, "crop_padding": 30}]},
            ["augment[2].crop_padding: must be smaller than the images of digits (got 30 pixels); set it below 28"],
        ),
        ({"batch_size": [16], "accumulation": [1, 3]}, ["accumulation[1]: accumulation 3 does not divide"]),
        (
            {"augment": {"cutout": [4, 28]}, "lr": {"low": 0.01, "high": 0.1}},
            ["augment.cutout[1]: must be smaller than the images of digits (got 28 pixels); set it below 28"],
        ),
        (
            {"class_weights": ["balanced"], "sampler": ["balanced"], "lr": [0.1, 0.2]},
            ["class_weights[0]: class_weights and sampler are both", "sampler[0]: class_weights and sampler are both"],
        ),
    ],
)
def test_a_value_that_no_trial_can_have_is_refused_when_config_yaml_is_read(tmp_path, values, lines):
    found = refused(tmp_path, {"searches": {"rates": {**SEARCH, "values": values}}})
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(f"config.yaml: searches.rates.values.{expected}")


@pytest.mark.parametrize(
    "values",
    [
        {"class_weights": ["none", "balanced"], "sampler": ["shuffled", "balanced"]},
        {"batch_size": [32, 33], "accumulation": [1, 3]},
        {"batch_size": {"low": 32, "high": 256}, "accumulation": [3, 4]},
        {"augment": {"cutout": {"low": 0, "high": 27}}, "progressive_resizing": [None, {"start": 0.5}]},
    ],
)
def test_a_value_that_fits_some_values_of_the_others_is_allowed(tmp_path, values):
    load(tmp_path, {"searches": {"rates": {**SEARCH, "values": values}}})


def test_a_mistake_of_a_study_is_not_reported_for_each_value_of_a_search_again(tmp_path):
    search = {**SEARCH, "values": {"lr": [1, 2]}}
    mistake = {"recipes/quick/augment": {"cutout": 28}, "searches": {"rates": search}}
    assert len(refused(tmp_path, mistake)) == 1
    alone = {"recipes/rare": {"augment": {"cutout": 28}}, "searches": {"rates": {**search, "recipe": "rare"}}}
    [line] = refused(tmp_path, alone)
    assert line.startswith("config.yaml: recipes.rare.augment.cutout: must be smaller than the images of digits")


ON = {"resnet50": {"lr": 0.2}, "digits/resnet50": {"epochs": 1, "lr": 0.3, "augment": {"cutout": 2}}}


@pytest.mark.parametrize(
    ("dataset", "on", "expected"),
    [
        ("digits", {}, {"lr": 0.01, "augment": {"mixup": 0.2}}),
        ("digits", ON, {"epochs": 1, "lr": 0.01, "augment": {"cutout": 2, "mixup": 0.2}}),
        ("photos", {"cifar10/resnet50": {"epochs": 3}}, {"epochs": 3, "lr": 0.01, "augment": {"mixup": 0.2}}),
    ],
)
def test_lines_for_the_best_values_come_before_all_that_the_recipe_has(tmp_path, dataset, on, expected):
    search = {**SEARCH, "dataset": dataset, "values": {"lr": [0.01, 0.1], "augment": {"mixup": [0.1, 0.2]}}}
    config = load(tmp_path, {"searches": {"rates": search}, "recipes/quick/on": on})
    run = SearchRun("rates", config, tmp_path, lambda study, targets: None)
    lines = yaml.safe_load(run.lines_for({"augment.mixup": 0.2, "lr": 0.01}))
    assert lines == {f"{dataset}/resnet50": expected}
    trial = config.experiment(dataset, "resnet50", "quick,augment.mixup=0.2,lr=0.01", 0)
    after = load(tmp_path, {"recipes/quick/on": {**on, **lines}}).experiment(dataset, "resnet50", "quick", 0)
    assert after.spec == trial.spec
