"""The project's own config.yaml and its studies."""

import subprocess
import sys

import pytest
from config_files import ROOT, load

from deepnets.comparison.budgets import budget_lines
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.config.yaml_reader import merge
from deepnets.planning.jobs import Jobs

BUDGETS = (1, 2, 4, 8, 16)


def test_the_projects_configuration_is_valid_and_has_its_studies():
    config = load_config(ROOT / "config.yaml")
    assert {"demo", "paper", "record", "budget"} <= set(config.studies)
    for study in config.studies:
        assert config.experiments(study)


def test_the_paper_study_is_the_published_six_pairs():
    experiments = load_config(ROOT / "config.yaml").experiments("paper")
    assert {(e.dataset, e.spec["model"]["architecture"]) for e in experiments} == {
        ("mnist", "vgg16"),
        ("mnist", "inception_v3"),
        ("mnist", "resnet50"),
        ("mnist", "mobilenet_v2"),
        ("cifar10", "resnet50"),
        ("cifar10", "mobilenet_v2"),
    }
    [mobilenet] = [e.spec["model"] for e in experiments if (e.dataset, e.model) == ("cifar10", "mobilenet_v2")]
    assert mobilenet["strides"] == [1, 1, 1, 2, 2]  # the variant behind the published parameter count and size


def test_the_demo_study_trains_all_four_architectures_without_a_download():
    experiments = load_config(ROOT / "config.yaml").experiments("demo")
    assert {e.spec["model"]["architecture"] for e in experiments} >= {
        "vgg16",
        "inception_v3",
        "resnet50",
        "mobilenet_v2",
    }
    assert {e.spec["dataset"]["source"] for e in experiments} == {"sklearn_digits"}


def test_the_budget_study_is_a_line_of_five_budgets_for_each_architecture():
    lines = budget_lines(load_config(ROOT / "config.yaml").experiments("budget"))
    architectures = sorted(line[0].spec["model"]["architecture"] for line in lines)
    assert architectures == ["inception_v3", "mobilenet_v2", "resnet50", "vgg16"]
    assert all([e.spec["recipe"]["epochs"] for e in line] == [1, 2, 4, 8, 16] for line in lines)


@pytest.mark.parametrize(
    ("recipe", "drawn"),
    [
        pytest.param({"epochs": 4, "lr": 0.05}, True, id="two budgets"),
        pytest.param({"epochs": 2, "lr": 0.1}, False, id="two learning rates"),
        pytest.param({"epochs": 4, "lr": 0.1}, False, id="another recipe"),
        pytest.param({"epochs": 2, "lr": 0.05}, False, id="another name"),
    ],
)
def test_budgets_are_drawn_where_recipes_differ_in_their_epochs_alone(tmp_path, recipe, drawn):
    second = {"datasets": ["digits"], "models": ["resnet50"], "recipe": "long", "seeds": [0]}
    config = load(tmp_path, {"recipes/long": recipe, "studies/demo/1": second})
    assert (("digits", "accuracy_vs_budget") in Jobs(config, ROOT).comparisons()) is drawn


# What the studies set before recipes had `on:`: study, datasets, models, recipe, values. No value of these changed.
SET = [
    ("demo", "digits", "vgg16", "quick", {"epochs": 3}),
    ("demo", "digits", "inception_v3", "quick", {"epochs": 3, "batch_size": 16, "lr": 0.006}),
    ("demo", "digits", "resnet50", "quick", {"epochs": 5, "lr": 0.04}),
    ("demo", "digits", "mobilenet_v2", "quick", {"epochs": 8, "lr": 0.05}),
    ("paper", "mnist", "mobilenet_v2", "paper", {}),
    ("paper", "mnist", "vgg16", "paper", {"epochs": 1, "lr": 0.02}),
    ("paper", "mnist", "inception_v3", "paper", {"lr": 0.04}),
    ("paper", "mnist", "resnet50", "paper", {"epochs": 1}),
    *(
        row
        for study, cifar in (("paper", "cifar10"), ("paper_jpeg", "cifar10-jpeg"))
        for row in (
            (
                *(study, cifar, "resnet50", "paper"),
                {
                    "epochs": 4,
                    "augment": {"crop_padding": 0},
                    "progressive_resizing": {"start": 0.75, "until": 0.6},
                },
            ),
            (
                *(study, cifar, "mobilenet_v2", "paper"),
                {
                    "batch_size": 64,
                    "lr": 0.08,
                    "weight_decay": 3e-4,
                    "augment": {"crop_padding": 0},
                    "progressive_resizing": {"start": 0.5, "until": 0.7},
                },
            ),
        )
    ),
    ("record", "cifar10", "resnet50_full", "record", {}),
    ("record", "cifar10", "mobilenet_v2_full", "record", {"weight_decay": 4e-5}),
    ("record", "cifar10", "vgg16", "record", {"lr": 0.02}),
    ("record", "cifar10", "inception_v3", "record", {"lr": 0.02}),
    ("record", "mnist", "resnet50", "record_digits", {}),
    ("record", "mnist", "mobilenet_v2_full", "record_digits", {}),
    ("record", "mnist", "vgg16", "record_digits", {"lr": 0.02}),
    ("record", "mnist", "inception_v3", "record_digits", {"lr": 0.02}),
    *(("budget", "mnist", model, f"budget{n}", {}) for model in ("mobilenet_v2", "resnet50") for n in BUDGETS),
    *(("budget", "mnist", model, f"budget{n}", {"lr": 0.02}) for model in ("vgg16", "inception_v3") for n in BUDGETS),
]


def test_the_recipes_have_the_values_that_the_studies_had_set():
    config = load_config(ROOT / "config.yaml")
    expected = {}
    for study, dataset, model, recipe, values in SET:
        written = config.recipes[recipe].model_dump(exclude={"on"})
        mirrors = config.datasets[dataset].flips
        expected[study, dataset, model, recipe] = Recipe(**merge(written, values)).spec(mirrors)
    found = {(s, e.dataset, e.model, e.recipe): e.spec["recipe"] for s in config.studies for e in config.experiments(s)}
    assert {key: found.get(key) for key in expected} == expected
    assert {key[1:] for key in found if key[0] != "sweep"} == {key[1:] for key in expected}


def test_a_study_of_the_user_on_a_shipped_recipe_collides_with_no_shipped_study():
    entry = {"datasets": ["digits"], "models": ["vgg16", "mobilenet_v2"], "recipe": "quick"}
    own = {"studies": {"mine": [entry, entry | {"set": {"epochs": 1}}]}, "study": "mine"}
    epochs = [(e.recipe, e.spec["recipe"]["epochs"]) for e in load_config(ROOT / "config.yaml", own).experiments()]
    assert epochs == [("quick", 3), ("quick", 8), ("quick,epochs=1", 1), ("quick,epochs=1", 1)]


def test_no_study_trains_vgg16_at_a_learning_rate_at_which_it_diverges():
    config = load_config(ROOT / "config.yaml")
    experiments = [experiment for study in config.studies for experiment in config.experiments(study)]
    rates = {e.spec["recipe"]["lr"] for e in experiments if e.spec["model"]["architecture"] == "vgg16"}
    assert max(rates) <= 0.02  # at 0.05 its loss on MNIST was not finite


def test_checking_a_configuration_imports_neither_torch_nor_image_libraries():
    code = (
        "import sys; from deepnets.config.loader import load_config; load_config(sys.argv[1]);"
        "print(*{'torch', 'torchvision', 'sklearn', 'PIL', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "config.yaml")],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
