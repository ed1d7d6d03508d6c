"""The experiments of a valid configuration and their specs."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from config_files import ROOT, VALID, changed, load, write

from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json


def test_experiments_come_in_the_order_of_the_file(tmp_path):
    config = load(tmp_path)
    assert [experiment.directory for experiment in config.experiments()] == [
        "results/digits/resnet50/quick/seed0",
        "results/digits/resnet50/quick/seed1",
        "results/digits/mobilenet_v2/quick/seed0",
        "results/digits/mobilenet_v2/quick/seed1",
    ]
    assert [experiment.model for experiment in config.experiments("paper")] == ["resnet50", "mobilenet_v2"]


def test_experiments_of_an_unknown_study_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"unknown study \(got 'dmo'\); did you mean 'demo'\?"):
        load(tmp_path).experiments("dmo")


def test_a_search_named_as_a_study_is_answered_with_its_command(tmp_path):
    search = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "values": {"lr": [0.1, 0.2]}}
    said = r"unknown study \(got 'rates'\); it is a search: make search STUDY=rates$"
    with pytest.raises(UserError, match=said):
        load(tmp_path, {"searches": {"rates": search}}).experiments("rates")
    with pytest.raises(UserError, match=rf"^--config: study: {said}"):
        load(tmp_path, {"searches": {"rates": search}}, {"study": "rates"})


def test_an_experiment_that_no_study_lists_has_its_recipe_as_it_stands(tmp_path):
    config = load(tmp_path)
    experiment = config.experiment("mnist", "mobilenet_v2", "long", 7)
    assert experiment.directory == "results/mnist/mobilenet_v2/long/seed7"
    assert experiment.spec["recipe"]["epochs"] == 20
    assert config.experiment("mnist", "resnet50", "quick", 0) == config.experiments("paper")[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mnst", "resnet50", "quick", 0), r"unknown dataset \(got 'mnst'\); did you mean 'mnist'"),
        (("mnist", "resnet", "quick", 0), "unknown model"),
        (("mnist", "resnet50", "quik", 0), "unknown recipe"),
        (("mnist", "resnet50", "quick", 2**32), "seed must be from 0 to 4294967295"),
    ],
)
def test_an_experiment_of_unknown_names_is_refused(tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path).experiment(*names)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"datasets/photos/size": 4}, "datasets.photos.size: images too small for resnet50 (got 4x4 pixels)"),
        (
            {"datasets/photos/size": 20, "recipes/long/progressive_resizing": {"start": 0.3}},
            "recipes.long.progressive_resizing.start: images under 8 pixels at the start for resnet50 on photos",
        ),
        (
            {"datasets/photos/size": 20, "recipes/long/augment/cutout": 24},
            "recipes.long.augment.cutout: must be smaller than the images of photos (got 24 pixels)",
        ),
    ],
)
def test_an_experiment_that_no_study_lists_is_checked_like_those_that_one_lists(tmp_path, changes, line):
    config = load(tmp_path, changes)
    with pytest.raises(UserError, match=rf"^config\.yaml: {re.escape(line)}[^\n]*$"):
        config.experiment("photos", "resnet50", "long", 0)


def test_a_spec_has_every_default_resolved(tmp_path):
    spec = load(tmp_path).experiments("paper")[0].spec
    assert spec["dataset"] == {
        "source": "torchvision",
        "name": "MNIST",
        "size": 28,
        "channels": 1,
        "horizontal_flip": False,
    }
    assert spec["model"]["architecture"] == "resnet50"
    assert spec["model"]["stem_pool"] is True
    assert "on" not in spec["model"]
    assert spec["recipe"] == Recipe(epochs=2, lr=0.05).model_dump(mode="json")
    assert spec["seed"] == 0


FLIPS = {"datasets/mnist/horizontal_flip": True}


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, {"ema_decay": 0.5, "averaging_start": 0.5}),
        ({"weight_averaging": "ema"}, {"averaging_start": 0.5}),
        ({"weight_averaging": "swa"}, {"ema_decay": 0.5}),
        ({"optimizer": "adamw"}, {"momentum": 0.5}),
        ({}, {"augment": {"horizontal_flip": False}}),  # digits are not mirrored
        ({}, {"progressive_resizing": {"start": 1, "until": 0.5}}),  # full size from the start
    ],
)
def test_an_option_without_effect_does_not_change_the_spec(tmp_path, changes, idle):
    recipe = {"epochs": 2, "lr": 0.05, **changes}
    without, with_idle = (load(tmp_path, {"recipes/quick": values}) for values in (recipe, recipe | idle))
    assert with_idle.recipes["quick"] != without.recipes["quick"]
    assert with_idle.experiments("paper")[0].spec == without.experiments("paper")[0].spec


@pytest.mark.parametrize(
    ("changes", "active"),
    [
        ({"weight_averaging": "ema"}, {"ema_decay": 0.5}),
        ({"weight_averaging": "swa"}, {"averaging_start": 0.5}),
        ({}, {"momentum": 0.5}),
        ({}, {"augment": {"horizontal_flip": False}}),
        ({}, {"progressive_resizing": {"start": 0.9}}),
    ],
)
def test_an_option_with_an_effect_changes_the_spec(tmp_path, changes, active):
    recipe = {"epochs": 2, "lr": 0.05, **changes}
    without, with_active = (load(tmp_path, {**FLIPS, "recipes/quick": values}) for values in (recipe, recipe | active))
    assert with_active.experiments("paper")[0].spec != without.experiments("paper")[0].spec


def test_that_a_dataset_may_be_mirrored_counts_only_where_the_recipe_mirrors(tmp_path):
    still = {"recipes/quick": {"epochs": 2, "augment": {"horizontal_flip": False}}}
    specs = [load(tmp_path, changes).experiments("paper")[0].spec for changes in (still, still | FLIPS, FLIPS)]
    assert specs[0] == specs[1] != specs[2]


def test_set_changes_the_recipe_of_its_entry_only(tmp_path):
    config = load(tmp_path, {"studies/paper/1/set": {"epochs": 4, "augment": {"rotation": 5}}})
    recipe = config.experiments("paper")[1].spec["recipe"]
    assert (recipe["epochs"], recipe["augment"]["rotation"], recipe["augment"]["cutout"]) == (4, 5.0, 4)
    assert config.recipes["long"].epochs == 20


def test_set_may_fill_and_empty_an_optional_table(tmp_path):
    changes = {
        "recipes/quick/progressive_resizing": {"start": 0.4},
        "studies/paper/0/set": {"progressive_resizing": None},
        "studies/paper/1/set": {"progressive_resizing": {"until": 0.5}},
    }
    first, second = load(tmp_path, changes).experiments("paper")
    assert first.spec["recipe"]["progressive_resizing"] is None
    assert second.spec["recipe"]["progressive_resizing"] == {"start": 0.5, "until": 0.5}


def test_accumulation_of_an_entry_is_checked_against_its_own_batch_size(tmp_path):
    changes = {"recipes/long/batch_size": 96, "studies/paper/1/set": {"accumulation": 3}}
    assert load(tmp_path, changes).experiments("paper")[1].spec["recipe"]["accumulation"] == 3


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3", "1e-03", "'1e-3'"])
def test_a_number_may_be_written_with_an_exponent(tmp_path, text):
    """YAML 1.1 reads 1e-3 as text."""
    path = write(tmp_path, yaml.safe_dump(VALID).replace("lr: 0.05", f"lr: {text}"))
    assert load_config(path).recipes["quick"].lr == 0.001


@pytest.mark.parametrize("text", ["1", "1.0", "1e0", "1.0e+0"])
def test_however_a_number_is_written_the_spec_has_the_same_bytes(tmp_path, text):
    path = write(tmp_path, yaml.safe_dump(VALID).replace("lr: 0.05", f"lr: {text}"))
    assert '"lr":1.0,' in canonical_json(load_config(path).experiments()[0].spec)


def test_on_counts_for_the_variant_of_the_dataset_too(tmp_path):
    config = load(tmp_path)
    model = config.models["mobilenet_v2"]
    assert model.spec("photos", config.datasets["photos"])["strides"] == [1, 1, 1, 2, 2]
    assert model.spec("mnist", config.datasets["mnist"])["strides"] == [2, 2, 2, 2, 2]


def test_on_for_the_dataset_itself_goes_before_on_for_what_it_is_a_variant_of(tmp_path):
    config = load(tmp_path, {"models/mobilenet_v2/on/photos": {"dropout": 0.5}})
    spec = config.models["mobilenet_v2"].spec("photos", config.datasets["photos"])
    assert (spec["strides"], spec["dropout"]) == ([2, 2, 2, 2, 2], 0.5)


def test_on_keeps_the_options_that_it_does_not_name(tmp_path):
    config = load(tmp_path, {"models/mobilenet_v2/dropout": 0.3})
    spec = config.models["mobilenet_v2"].spec("photos", config.datasets["photos"])
    assert (spec["strides"], spec["dropout"]) == ([1, 1, 1, 2, 2], 0.3)


def test_variant_of_may_name_a_dataset_that_is_only_published(tmp_path):
    assert load(tmp_path, {"datasets/photos/variant_of": "imagenet", "models/mobilenet_v2/on": {}})


@pytest.mark.parametrize(
    ("path", "source"),
    [("my_pictures", "folder"), ("birds.zip", "folder"), ("labels.CSV", "csv"), ("a.tsv", "csv"), ("a.parquet", "csv")],
)
def test_a_path_alone_says_its_source(tmp_path, path, source):
    entry = {"datasets": ["birds"], "models": ["resnet50"], "recipe": "quick"}
    config = load(tmp_path, {"datasets/birds": {"path": path}, "studies/birds": [entry], "study": "birds"})
    assert config == load(
        tmp_path, {"datasets/birds": {"source": source, "path": path}, "studies/birds": [entry], "study": "birds"}
    )
    assert config.datasets["birds"].source == source
    assert [each.spec["dataset"]["source"] for each in config.experiments()] == [source]


def test_two_studies_may_share_an_experiment(tmp_path):
    config = load(tmp_path, {"studies/again": VALID["studies"]["paper"]})
    assert config.experiments("again") == config.experiments("paper")


def test_names_of_64_characters_are_accepted(tmp_path):
    assert load(tmp_path, {f"recipes/{'a' * 64}": {}})


def test_an_architecture_is_valid_as_soon_as_its_module_exists(tmp_path, monkeypatch):
    (tmp_path / "tiny_net.py").write_text(
        "from pydantic import Field\n"
        "from deepnets.utils.option_types import PositiveInt, StrictModel\n"
        "MIN_IMAGE_SIZE = 1\n"
        "class Options(StrictModel):\n"
        "    width: PositiveInt = Field(8, description='Channels.')\n"
        "def build(num_classes, in_channels, options): ...\n"
    )
    path = write(tmp_path, changed({"models/tiny": {"architecture": "tiny_net", "on": {"mnist": {"width": 4}}}}))
    code = (  # in a process of its own: the schema is made when it is imported
        "import sys; from deepnets import models; models.__path__.append(sys.argv[1])\n"
        "from deepnets.config.loader import load_config; from deepnets.config.schema import json_schema\n"
        "config = load_config(sys.argv[2]); assert 'tiny_net_model' in json_schema()['$defs']\n"
        "print(config.models['tiny'].spec('mnist', config.datasets['mnist']))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, "-c", code, tmp_path, path], env=environ, capture_output=True, text=True)
    assert done.stdout.strip() == str({"architecture": "tiny_net", "width": 4}), done.stderr
