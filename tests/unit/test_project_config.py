"""The project's own config.yaml and its studies."""

import subprocess
import sys

import pytest
import yaml
from config_files import ROOT, load

from deepnets.comparison.sweeps import budget_lines
from deepnets.config.loader import load_config
from deepnets.planning.jobs import Jobs


def test_the_projects_configuration_is_valid_and_has_its_studies():
    config = load_config(ROOT / "config.yaml")
    assert {"demo", "demo_seeds", "paper", "record", "budget"} <= set(config.studies)
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


def test_the_budget_study_is_a_line_of_four_budgets_for_each_architecture():
    lines = budget_lines(load_config(ROOT / "config.yaml").experiments("budget"))
    architectures = sorted(line[0].spec["model"]["architecture"] for line in lines)
    assert architectures == ["inception_v3", "mobilenet_v2", "resnet50", "vgg16"]
    assert all([e.spec["recipe"]["epochs"] for e in line] == [0.125, 0.25, 0.5, 1] for line in lines)


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
    assert ("accuracy_vs_budget" in {names["figure"] for names in Jobs(config, ROOT).comparisons()}) is drawn


@pytest.mark.parametrize(
    ("entry", "drawn"),
    [
        pytest.param({"recipe": "quick", "set": {"lr": 0.1}}, True, id="two learning rates"),
        pytest.param({"recipe": "quick", "grid": {"lr": [0.1], "optimizer": ["adamw"]}}, True, id="values of a recipe"),
        pytest.param({"recipe": "quick", "set": {"epochs": 3}}, True, id="two budgets"),
        pytest.param({"recipe": "quick", "set": {"schedule": "linear"}}, False, id="an option in words"),
        pytest.param({"recipe": "quick", "seeds": [77]}, False, id="two seeds"),
        pytest.param({"recipe": "long"}, False, id="another recipe"),
    ],
)
def test_values_are_drawn_where_recipes_differ_in_a_number(tmp_path, entry, drawn):
    second = {"datasets": ["digits"], "models": ["resnet50"], "seeds": [0], **entry}
    config = load(tmp_path, {"recipes/long": {"epochs": 4, "lr": 0.1}, "studies/demo/1": second})
    assert ("accuracy_vs_value" in {names["figure"] for names in Jobs(config, ROOT).comparisons()}) is drawn


def test_cifar10_as_jpegs_is_trained_as_cifar10_is():
    config = load_config(ROOT / "config.yaml")
    found = [
        {(e.dataset.removesuffix("-jpeg"), e.model): {**e.spec, "dataset": None} for e in config.experiments(study)}
        for study in ("paper", "paper_jpeg")
    ]
    assert found[0] == found[1]


def test_a_study_of_the_user_on_a_shipped_recipe_collides_with_no_shipped_study():
    entry = {"datasets": ["digits"], "models": ["vgg16", "mobilenet_v2"], "recipe": "quick"}
    own = {"studies": {"mine": [entry, entry | {"set": {"epochs": 1}}]}, "study": "mine"}
    epochs = [(e.recipe, e.spec["recipe"]["epochs"]) for e in load_config(ROOT / "config.yaml", own).experiments()]
    assert epochs == [("quick", 2), ("quick", 5), ("quick,epochs=1", 1), ("quick,epochs=1", 1)]


def test_no_shipped_study_changes_a_recipe_for_itself():
    studies = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["studies"]
    entries = [entry for study in studies.values() for entry in study]
    assert len(entries) > 10
    assert not any("set" in entry for entry in entries)


def test_no_study_trains_vgg16_at_a_learning_rate_at_which_it_diverges():
    config = load_config(ROOT / "config.yaml")
    experiments = [experiment for study in config.studies for experiment in config.experiments(study)]
    recipes = [(e.dataset, e.spec["recipe"]) for e in experiments if e.spec["model"]["architecture"] == "vgg16"]
    assert {recipe["optimizer"] for _, recipe in recipes} == {"muon"}  # with SGD it did on MNIST from lr 0.05 on
    with_muon = [(dataset, recipe["classifier_lr"]) for dataset, recipe in recipes]
    # At 0.02 one of two runs on MNIST hardly learned in its first quarter; at 0.05 both of two on the digits.
    assert all(rate <= (0.02 if dataset == "digits" else 0.01) for dataset, rate in with_muon)


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
