"""config.yaml: what is accepted, what it becomes, and the words for everything that is refused."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deepnets.comparison.aggregate import budget_lines
from deepnets.config.loader import load_config
from deepnets.config.messages import shown
from deepnets.config.recipe import Recipe
from deepnets.config.yaml_reader import read
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json

ROOT = Path(__file__).parents[2]

VALID = {
    "study": "demo",
    "datasets": {
        "digits": {"source": "sklearn_digits", "size": 28},
        "mnist": {"source": "torchvision", "name": "MNIST"},
        "photos": {"source": "folder", "path": "photos.zip", "classes": 5, "size": 32, "variant_of": "cifar10"},
    },
    "models": {
        "resnet50": {"architecture": "resnet50"},
        "mobilenet_v2": {"architecture": "mobilenet_v2", "on": {"cifar10": {"strides": [1, 1, 1, 2, 2]}}},
    },
    "recipes": {"quick": {"epochs": 2, "lr": 0.05}, "long": {"epochs": 20, "augment": {"rotation": 10, "cutout": 4}}},
    "studies": {
        "demo": [{"datasets": ["digits"], "models": ["resnet50", "mobilenet_v2"], "recipe": "quick", "seeds": [0, 1]}],
        "paper": [
            {"datasets": ["mnist"], "models": ["resnet50"], "recipe": "quick", "seeds": [0]},
            {"datasets": ["mnist"], "models": ["mobilenet_v2"], "recipe": "long", "seeds": [0], "set": {"epochs": 4}},
        ],
    },
}
DELETE = object()


def changed(changes: dict) -> dict:
    """VALID with values at dotted paths replaced, added or deleted."""
    document = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        place = document
        for key in parents:
            place = place[key]
        if value is DELETE:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return document


def write(tmp_path, document) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return path


def load(tmp_path, changes=None, overrides=None):
    return load_config(write(tmp_path, changed(changes or {})), overrides)


def refused(tmp_path, changes, overrides=None) -> list[str]:
    """The lines of the refusal, without the folder of the test."""
    with pytest.raises(UserError) as refusal:
        load(tmp_path, changes, overrides)
    text = str(refusal.value)
    for jargon in ("Input should", "pydantic", "https://errors", "Traceback", "validation error"):
        assert jargon not in text
    return text.replace(f"{tmp_path}/", "").splitlines()


# --- what is refused: a change of VALID, and what its one line must say ---

ENTRY = {"datasets": ["mnist"], "models": ["resnet50"], "recipe": "long", "seeds": [3]}

REFUSALS = {
    # unknown keys, at every level
    "unknown section": ({"modles": {}}, ["config.yaml: modles: unknown key (got {}); did you mean 'models'?"]),
    "unknown recipe key": (
        {"recipes/quick/epohs": 3},
        ["config.yaml: recipes.quick.epohs: unknown key (got 3); did you mean 'epochs'?"],
    ),
    "unknown augment key": (
        {"recipes/long/augment/rotate": 5},
        ["recipes.long.augment.rotate: unknown key (got 5); did you mean 'rotation'?"],
    ),
    "unknown model key": (
        {"models/resnet50/steam_pool": True},
        ["models.resnet50.steam_pool: unknown key (got true); did you mean 'stem_pool'?"],
    ),
    "another model's key": ({"models/resnet50/strides": [1]}, ["models.resnet50.strides: unknown key", "stem_pool"]),
    "unknown key of on": (
        {"models/mobilenet_v2/on/cifar10/stride": 1},
        ["models.mobilenet_v2.on.cifar10.stride: unknown key (got 1); did you mean 'strides'?"],
    ),
    "unknown dataset key": (
        {"datasets/mnist/chanels": 1},
        ["datasets.mnist.chanels: unknown key (got 1); did you mean 'channels'?"],
    ),
    "unknown entry key": (
        {"studies/paper/0/seed": 1},
        ["studies.paper[0].seed: unknown key (got 1); did you mean 'seeds'?"],
    ),
    "unknown key of set": (
        {"studies/paper/1/set/momentun": 0.5},
        ["studies.paper[1].set.momentun: unknown key (got 0.5); did you mean 'momentum'?"],
    ),
    "nothing resembles the key": ({"recipes/quick/xyz": 1}, ["unknown key (got 1); valid: epochs, batch_size,"]),
    # unknown names
    "unknown model": (
        {"studies/paper/0/models": ["resnet5"]},
        ["studies.paper[0].models[0]: unknown model (got 'resnet5'); did you mean 'resnet50'?"],
    ),
    "unknown dataset": (
        {"studies/paper/0/datasets": ["Mnist"]},
        ["studies.paper[0].datasets[0]: unknown dataset (got 'Mnist'); did you mean 'mnist'?"],
    ),
    "unknown recipe": (
        {"studies/paper/0/recipe": "slow"},
        ["studies.paper[0].recipe: unknown recipe (got 'slow'); valid: quick, long"],
    ),
    "unknown study": ({"study": "papr"}, ["config.yaml: study: unknown study (got 'papr'); did you mean 'paper'?"]),
    "unknown architecture": (
        {"models/resnet50/architecture": "resnet5"},
        ["models.resnet50.architecture: unknown architecture (got 'resnet5'); did you mean 'resnet50'?"],
    ),
    "architecture is no text": ({"models/resnet50/architecture": 50}, ["unknown architecture (got 50)"]),
    "no architecture": (
        {"models/resnet50": {"stem_pool": True}},
        ["models.resnet50.architecture: missing", "mobilenet_v2, resnet50"],
    ),
    "unknown source": (
        {"datasets/mnist/source": "torchvison"},
        ["datasets.mnist.source: unknown source (got 'torchvison'); did you mean 'torchvision'?"],
    ),
    "unknown torchvision name": (
        {"datasets/mnist/name": "EMNIST"},
        ["datasets.mnist.name: must be 'MNIST' or 'FashionMNIST'", "(got 'EMNIST')"],
    ),
    "unknown dataset in on": (
        {"models/mobilenet_v2/on/minst": {}},
        ["models.mobilenet_v2.on.minst: unknown dataset (got 'minst'); did you mean 'mnist'?"],
    ),
    # missing
    "missing study": ({"study": DELETE}, ["study: missing; add it: Name of the study"]),
    "missing section": ({"recipes": DELETE}, ["config.yaml: recipes: missing; add it: "]),
    "missing key of a dataset": (
        {"datasets/photos/classes": DELETE},
        ["datasets.photos.classes: missing", "Number of"],
    ),
    "missing recipe": ({"studies/paper/0/recipe": DELETE}, ["studies.paper[0].recipe: missing"]),
    "section without content": ({"datasets": None}, ["datasets: must have keys and values", "(got nothing)"]),
    "empty section": ({"recipes": {}}, ["recipes: must have 1 or more entries (got {}); add one"]),
    "empty study": ({"studies/paper": []}, ["studies.paper: must have 1 or more entries (got []); add one"]),
    "study without content": ({"studies/paper": None}, ["studies.paper: must be a list", "(got nothing)"]),
    "no models": ({"studies/paper/0/models": []}, ["studies.paper[0].models: must have 1 or more entries (got [])"]),
    "no seeds": ({"studies/paper/0/seeds": []}, ["studies.paper[0].seeds: must have 1 or more entries (got [])"]),
    # wrong types
    "text for a whole number": ({"recipes/quick/epochs": "ten"}, ["must be a whole number (got 'ten')"]),
    "quoted number": ({"recipes/quick/epochs": "10"}, ["must be a whole number (got '10'); write it without quotes"]),
    "fraction for a whole number": ({"recipes/quick/epochs": 2.5}, ["epochs: must be a whole number (got 2.5)"]),
    "true for a number": ({"recipes/quick/lr": True}, ["recipes.quick.lr: must be a number (got true)"]),
    "text for a number": ({"recipes/quick/lr": "fast"}, ["recipes.quick.lr: must be a number (got 'fast')"]),
    "nothing for a number": ({"recipes/quick/lr": None}, ["recipes.quick.lr: must be a number (got nothing)"]),
    "number for a flag": ({"recipes/quick/compile": 1}, ["recipes.quick.compile: must be true or false (got 1)"]),
    "number for text": ({"study": 3}, ["study: must be text (got 3); put it in quotes"]),
    "text for a list": ({"studies/paper/0/models": "resnet50"}, ["models: must be a list", "(got 'resnet50')"]),
    "text for a study": ({"studies/paper": "mnist"}, ["studies.paper: must be a list, like [a, b] (got 'mnist')"]),
    "text for an entry": ({"studies/paper/0": "mnist"}, ["studies.paper[0]: must have keys and values"]),
    "text for a recipe": ({"recipes/long": "fast"}, ["recipes.long: must have keys and values", "(got 'fast')"]),
    "text for a dataset": ({"datasets/mnist": "MNIST"}, ["datasets.mnist: must have keys and values"]),
    "nothing for augment": ({"recipes/quick/augment": None}, ["recipes.quick.augment: must have keys and values"]),
    "text for set": ({"studies/paper/1/set": "fast"}, ["studies.paper[1].set: must have keys and values"]),
    "text for a seed": ({"studies/paper/0/seeds": ["a"]}, ["studies.paper[0].seeds[0]: must be a whole number"]),
    "long value": ({"recipes/quick/epochs": "x" * 500}, ["(got 'xxx", "...)"]),
    # out of range
    "zero epochs": ({"recipes/quick/epochs": 0}, ["config.yaml: recipes.quick.epochs: must be above 0 (got 0)"]),
    "negative lr": ({"recipes/quick/lr": -0.1}, ["recipes.quick.lr: must be above 0 (got -0.1)"]),
    "infinite lr": ({"recipes/quick/lr": float("inf")}, ["recipes.quick.lr: must be a finite number (got inf)"]),
    "momentum of one": ({"recipes/quick/momentum": 1}, ["recipes.quick.momentum: must be below 1 (got 1)"]),
    "probability above one": (
        {"recipes/long/augment/random_erasing": 1.5},
        ["recipes.long.augment.random_erasing: must be at most 1 (got 1.5)"],
    ),
    "old name of a key": (
        {"recipes/quick/averaging": "ema"},
        ["recipes.quick.averaging: is now called 'weight_averaging' (got 'ema'); rename the key"],
    ),
    "no validation": (
        {"recipes/quick/validation_fraction": 0},
        ["recipes.quick.validation_fraction: must be above 0 (got 0)"],
    ),
    "all validation": (
        {"recipes/quick/validation_fraction": 0.6},
        ["validation_fraction: must be at most 0.5 (got 0.6)"],
    ),
    "negative seed": ({"studies/paper/0/seeds": [-1]}, ["studies.paper[0].seeds[0]: must be at least 0 (got -1)"]),
    "unknown word": ({"recipes/quick/optimizer": "adam"}, ["optimizer: must be 'sgd' or 'adamw' (got 'adam')"]),
    "two channels": ({"datasets/mnist/channels": 2}, ["datasets.mnist.channels: must be 1 or 3 (got 2)"]),
    "four strides": (
        {"models/mobilenet_v2/on/cifar10/strides": [1, 1, 2, 2]},
        ["models.mobilenet_v2.on.cifar10.strides: must have 5 or more entries (got [1, 1, 2, 2])"],
    ),
    "out of range in set": (
        {"studies/paper/1/set/epochs": -4},
        ["config.yaml: studies.paper[1].set.epochs: must be above 0 (got -4)"],
    ),
    "bad hash": ({"datasets/photos/sha256": "abc"}, ["datasets.photos.sha256: does not fit (got 'abc')", "SHA-256"]),
    # values that do not go together
    "accumulation": (
        {"recipes/quick/accumulation": 3},
        ["recipes.quick: accumulation 3 does not divide batch_size 128; choose a divisor"],
    ),
    "accumulation of an entry": (
        {"recipes/long/batch_size": 100, "studies/paper/1/set": {"accumulation": 3}},
        ["studies.paper[1].set: accumulation 3 does not divide batch_size 100"],
    ),
    "images too small": (
        {"datasets/mnist/size": 4},
        ["datasets.mnist.size: images too small for resnet50, mobilenet_v2 (got 4x4 pixels); set size to 8 or more"],
    ),
    "images too small at the start of progressive resizing": (
        {"recipes/quick/progressive_resizing": {"start": 0.1}},
        ["recipes.quick.progressive_resizing.start: images under 8 pixels at the start for ", "(got 0.1)"],
    ),
    "images too small at the start that an entry sets": (
        {"studies/paper/1/set": {"progressive_resizing": {"start": 0.1}}},
        [
            "config.yaml: studies.paper[1].set.progressive_resizing.start: images under 8 pixels",
            "mobilenet_v2 on mnist",
        ],
    ),
    "images too small at the start, which an entry leaves to the default": (
        {"datasets/mnist/size": 12, "studies/paper/1/set": {"progressive_resizing": {"until": 0.9}}},
        ["config.yaml: studies.paper[1].set.progressive_resizing.start: images under 8 pixels", "(got 0.5)"],
    ),
    "images too small at the start of a recipe from which an entry differs elsewhere": (
        {
            "recipes/long/progressive_resizing": {"start": 0.1},
            "studies/paper/1/set": {"progressive_resizing": {"until": 0.9}},
        },
        ["config.yaml: recipes.long.progressive_resizing.start: images under 8 pixels"],
    ),
    "a frame that reaches across the images": (
        {"recipes/quick/augment": {"crop_padding": 500}},
        [
            "recipes.quick.augment.crop_padding: must be smaller than the images of digits, mnist (got 500 pixels)",
            "; set it below 28",
        ],
    ),
    "an entry's cutout as large as its images": (
        {"studies/paper/1/set": {"augment": {"cutout": 28}}},
        ["studies.paper[1].set.augment.cutout: must be smaller than the images of mnist", "; set it below 28"],
    ),
    "absurd image size": (
        {"datasets/photos/size": 100_000},
        ["datasets.photos.size: must be at most 4096 (got 100000)"],
    ),
    # repeats
    "duplicate seeds": ({"studies/demo/0/seeds": [5, 7, 5]}, ["studies.demo[0].seeds: 5 is there 2 times"]),
    "duplicate models": ({"studies/paper/0/models": ["resnet50"] * 3}, ["models: 'resnet50' is there 3 times"]),
    "duplicate experiments": (
        {"studies/demo/1": {"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "seeds": [1, 2]}},
        ["studies.demo[1]: results/digits/resnet50/quick/seed1 also belongs to studies.demo[0]; list each"],
    ),
    "one folder, two specs, one study": (
        {"studies/paper/2": {**ENTRY, "models": ["mobilenet_v2"], "seeds": [0]}},
        [
            "studies.paper[2]: results/mnist/mobilenet_v2/long/seed0 also belongs to studies.paper[1]",
            "epochs 4 there, 20 here",
        ],
    ),
    "one folder, two specs, two studies": (
        {"studies/other": [ENTRY | {"models": ["mobilenet_v2"], "seeds": [0, 1], "set": {"augment": {"cutout": 9}}}]},
        [
            "studies.other[0]: results/mnist/mobilenet_v2/long/seed0 also belongs to studies.paper[1]",
            "epochs 4 there, 20 here; augment.cutout 4 there, 9 here",
            "recipe of its own",
        ],
    ),
    # names
    "slash": (
        {"recipes/fast": {}, "recipes/a": {}, "datasets": {**VALID["datasets"], "a/b": VALID["datasets"]["mnist"]}},
        ["datasets['a/b']: not a valid name (got 'a/b'); names have letters, digits, _ and -"],
    ),
    "space": ({"recipes/very fast": {}}, ["recipes['very fast']: not a valid name (got 'very fast')"]),
    "two dots": ({"studies/..": [ENTRY]}, ["studies['..']: not a valid name (got '..')"]),
    "one dot": ({"models/.": {"architecture": "resnet50"}}, ["models['.']: not a valid name (got '.')"]),
    "leading dash": ({"recipes/-fast": {}}, ["recipes.-fast: not a valid name (got '-fast')"]),
    "not ASCII": ({"recipes/schön": {}}, ["recipes['schön']: not a valid name"]),
    "line break": ({"recipes/a\nb": {}}, [r"recipes['a\nb']: not a valid name (got 'a\nb')"]),
    "empty name": ({"recipes/": {}}, ["recipes['']: not a valid name"]),
    "long name": ({f"recipes/{'a' * 65}": {}}, ["not a valid name", "64 characters"]),
    "variant of no name": (
        {"datasets/photos/variant_of": "a b", "models/mobilenet_v2/on": {}},
        ["datasets.photos.variant_of: not a valid name (got 'a b')"],
    ),
    "reserved": (
        {"models/Comparison": {"architecture": "resnet50"}},
        ["models.Comparison: not a free name", "results/<dataset>"],
    ),
    "capitals only": (
        {"datasets/MNIST": VALID["datasets"]["mnist"]},
        ["datasets.MNIST: differs from 'mnist' in capitals"],
    ),
}


@pytest.mark.parametrize(("changes", "fragments"), REFUSALS.values(), ids=REFUSALS)
def test_a_mistake_is_refused_in_one_line(tmp_path, changes, fragments):
    lines = refused(tmp_path, changes)
    assert len(lines) == 1, lines
    for fragment in fragments:
        assert fragment in lines[0]


def test_all_problems_are_reported_at_once(tmp_path):
    lines = refused(tmp_path, {"study": "no", "recipes/quick/lr": 0, "studies/paper/0/models": ["x"], "extra": 1})
    assert {line.split(": ")[1] for line in lines} == {
        "study",
        "recipes.quick.lr",
        "studies.paper[0].models[0]",
        "extra",
    }


def test_a_broken_entry_hides_no_problem_beside_it(tmp_path):
    lines = refused(
        tmp_path, {"studies/paper/0/seed": 1, "studies/paper/0/models": ["x"], "studies/paper/1/recipe": "y"}
    )
    paths = [line.split(": ")[1] for line in lines]
    assert paths == ["studies.paper[0].seed", "studies.paper[0].models[0]", "studies.paper[1].recipe"]


SIZES_AND_FOLDERS = {"datasets/digits/size": 4, "studies/demo/1": {**VALID["studies"]["demo"][0], "seeds": [1]}}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"recipes/quick/lrr": 3}, "recipes.quick.lrr"),
        ({"recipes/quick/accumulation": 3}, "recipes.quick"),
        ({"recipes/fast": {"epochs": 2}, "recipes/quick": DELETE}, None),
        ({"studies/demo/0/set": {"lrr": 3}}, "studies.demo[0].set.lrr"),
        ({"studies/demo/0/set": {"accumulation": 3}}, "studies.demo[0].set"),
    ],
    ids=["unknown key", "impossible recipe", "unknown recipe", "unknown key of set", "impossible set"],
)
def test_a_broken_recipe_or_set_hides_no_small_image_and_no_shared_folder(tmp_path, changes, path):
    lines = refused(tmp_path, {**SIZES_AND_FOLDERS, **changes})
    paths = [line.split(": ")[1] for line in lines]
    recipes = [path] if path else [f"studies.{entry}.recipe" for entry in ("demo[0]", "demo[1]", "paper[0]")]
    assert paths == [*recipes, "datasets.digits.size", "studies.demo[1]"]
    assert "results/digits/resnet50/quick/seed1 and 1 more also belongs to studies.demo[0]; list each" in lines[-1]


def test_a_broken_recipe_is_no_reason_to_name_differences_of_its_values(tmp_path):
    again = {**ENTRY, "models": ["mobilenet_v2"], "seeds": [0]}  # has epochs 4 in the study paper, 20 here
    assert len(refused(tmp_path, {"recipes/long/lrr": 3, "studies/other": [again]})) == 1


def test_names_with_line_breaks_leave_every_problem_on_its_line(tmp_path):
    bad = {"source": "sklearn_digits", "size": 4}
    entry = {"datasets": ["x\ny"], "models": ["resnet50"], "recipe": "zzz", "seeds": [3]}
    changes = {"datasets/x\ny": bad, "recipes/a\nb": {}, "studies/demo/1": entry, "studies/demo/2": entry}
    lines = refused(tmp_path, changes)
    assert all(line.startswith("config.yaml: ") for line in lines)
    assert any(r"unknown recipe (got 'zzz'); valid: quick, long, a\nb" in line for line in lines)
    assert any(r"results/x\ny/resnet50/zzz/seed3 also belongs to studies.demo[1]" in line for line in lines)


@pytest.mark.parametrize("value", [None, True, -1, 7.5, float("nan"), "x", "", [], [{}], {}, {"a": 1}], ids=shown)
@pytest.mark.parametrize("key", Recipe.model_fields)
def test_any_value_of_any_recipe_key_is_taken_or_refused_in_one_line(tmp_path, key, value):
    """No kind of error is left to pydantic's own words."""
    try:
        load(tmp_path, {f"recipes/quick/{key}": value})
    except UserError:
        [line] = refused(tmp_path, {f"recipes/quick/{key}": value})
        assert line.startswith(f"config.yaml: recipes.quick.{key}")


# --- files that are no configuration ---


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("study: demo\nmodels: [a\nrecipes: b\n", ["line 3", "broken YAML"]),
        ("study: demo\n\tmodels: a\n", ["line 2", "broken YAML"]),
        ("study: *nowhere\n", ["line 1", "undefined alias 'nowhere'"]),
        ("study: !!python/name:os.system x\n", ["line 1", "broken YAML"]),
        ("study: a\n---\nstudy: b\n", ["line 2", "single document"]),
        ("study: a\x07\n", ["line 1", "control character U+0007"]),
        ("study: 2024-13-45\n", ["cannot be read (month must be in 1..12"]),
        ("study: " + "[" * 3000, ["nested too deeply"]),
        ("", ["the file is empty"]),
        ("# only a comment\n", ["the file is empty"]),
        ("- study\n- demo\n", ["the top level must be keys with values", "['study', 'demo']"]),
        ("demo\n", ["the top level must be keys with values", "'demo'"]),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_refused_in_one_line(tmp_path, text, fragments):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as refusal:
        load_config(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(fragment in message for fragment in fragments), message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file; run the command in the folder"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_bytes("study: sch\xf6n".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        load_config(tmp_path / "config.yaml")


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path):
    text = yaml.safe_dump(VALID, sort_keys=False) + "study: paper\n"
    with pytest.raises(UserError, match=r"^[^\n]*: line \d+: the key 'study' is there twice, first in line 1;[^\n]*$"):
        load_config(write(tmp_path, text))


def test_merge_keys_may_be_overridden_without_being_duplicates(tmp_path):
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n"
    file = read(write(tmp_path, text))
    assert file.content["c"] == {"x": 3, "y": 2}
    assert file.duplicate_keys == []


def test_keys_are_text_even_where_yaml_1_1_reads_something_else(tmp_path):
    assert read(write(tmp_path, "on: yes\n1: 2\n")).content == {"on": True, "1": 2}


# --- overrides: --config and --configfile ---


def test_overrides_are_merged_at_every_level(tmp_path):
    config = load(tmp_path, overrides={"study": "paper", "recipes": {"long": {"augment": {"cutout": 8}}}})
    assert config.study == "paper"
    long = config.recipes["long"]
    assert (long.epochs, long.augment.rotation, long.augment.cutout) == (20, 10, 8)


def test_overrides_keep_the_key_on_that_snakemake_reads_as_true(tmp_path):
    config = load(tmp_path, overrides={"models": {"resnet50": {True: {"mnist": {"stem_pool": False}}}}})
    assert config.models["resnet50"].spec("mnist", config.datasets["mnist"])["stem_pool"] is False


def test_overrides_that_repeat_the_whole_file_change_nothing():
    """Snakemake hands the whole of its config over where a workflow has a `configfile:`."""
    path = ROOT / "config.yaml"
    assert load_config(path, yaml.safe_load(path.read_text())) == load_config(path)


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"study": "papr"}, "--config: study"),
        ({"recipes": {"quick": {"lr": 0}}}, "--config: recipes.quick.lr"),
        ({"studies": {"demo": [{}]}}, "--config: studies.demo[0]."),
        ({"datasets": {"new": {"source": "torchvision"}}}, "--config: datasets.new.name"),
    ],
)
def test_a_mistake_in_the_overrides_is_not_blamed_on_the_file(tmp_path, overrides, place):
    assert all(line.startswith(place) for line in refused(tmp_path, {}, overrides))


def test_a_mistake_in_the_file_is_not_blamed_on_overrides_that_repeat_it(tmp_path):
    changes = {"recipes/quick/lr": 0}
    [line] = refused(tmp_path, changes, overrides=changed(changes))
    assert line.startswith("config.yaml: recipes.quick.lr")


# --- what is accepted, and what it becomes ---


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
    # `quick` is another results folder in the study demo: give the entry's change a recipe name of its own
    changes["recipes/other"] = {"progressive_resizing": {"start": 0.4}}
    changes["studies/paper/0/recipe"] = "other"
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


# --- the project's own config.yaml ---


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
