"""Recipe values: `on:` for a dataset, a model or a pair, `set:` and `grid:` of an entry, and the path they give."""

import re

import pytest
from config_files import ROOT, VALID, changed, load, refused, write
from jsonschema import Draft202012Validator
from test_recipe import ALLOWED, cases

from deepnets.config.experiment import recipe_title
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.config.recipe_label import MAX_LENGTH, VALUES_PATTERN, changed_values, recipe_label, values_in
from deepnets.config.schema import json_schema
from deepnets.config.yaml_reader import merge
from deepnets.planning.job import parse_name
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError

RESNET = {"datasets": ["mnist"], "models": ["resnet50"], "recipe": "quick", "seeds": [0]}
ON = "recipes/quick/on"


def recipe_values(config, dataset, model, recipe="quick"):
    return config.experiment(dataset, model, recipe, 0).spec["recipe"]


def labels(config, study="paper"):
    return list(dict.fromkeys(experiment.recipe for experiment in config.experiments(study)))


# -- on: ---------------------------------------------------------------------------------------------------------------


def test_the_pair_comes_before_the_model_and_the_model_before_the_dataset(tmp_path):
    on = {
        "mnist/resnet50": {"lr": 0.4},
        "resnet50": {"lr": 0.3, "epochs": 3},
        "mnist": {"lr": 0.2, "epochs": 5, "momentum": 0.5},
    }
    config = load(tmp_path, {ON: on})
    values = {
        (dataset, model): tuple(recipe_values(config, dataset, model)[key] for key in ("lr", "epochs", "momentum"))
        for dataset in ("mnist", "digits")
        for model in ("resnet50", "mobilenet_v2")
    }
    assert values == {
        ("mnist", "resnet50"): (0.4, 3, 0.5),
        ("mnist", "mobilenet_v2"): (0.2, 5, 0.5),
        ("digits", "resnet50"): (0.3, 3, 0.9),
        ("digits", "mobilenet_v2"): (0.05, 2, 0.9),
    }
    reordered = load(tmp_path, {ON: dict(reversed(on.items()))})
    assert recipe_values(reordered, "mnist", "resnet50") == recipe_values(config, "mnist", "resnet50")


def test_values_on_a_pair_are_shared_by_all_studies_and_do_not_show_in_the_path(tmp_path):
    config = load(tmp_path, {ON: {"resnet50": {"epochs": 7}}, "studies/other": [RESNET]})
    assert config.experiments("other") == [config.experiments("paper")[0]]
    assert (labels(config, "other"), config.experiments("other")[0].spec["recipe"]["epochs"]) == (["quick"], 7)


def test_tables_of_on_are_merged(tmp_path):
    on = {"mnist": {"augment": {"cutout": 2}}, "mnist/resnet50": {"augment": {"mixup": 0.5}}}
    augment = recipe_values(load(tmp_path, {"recipes/long/on": on}), "mnist", "resnet50", "long")["augment"]
    assert (augment["rotation"], augment["cutout"], augment["mixup"]) == (10, 2, 0.5)


@pytest.mark.parametrize("key", ["cifar10", "cifar10/resnet50"])
def test_values_on_a_dataset_hold_for_its_variants_that_have_none(tmp_path, key):
    assert recipe_values(load(tmp_path, {ON: {key: {"epochs": 9}}}), "photos", "resnet50")["epochs"] == 9
    own = key.replace("cifar10", "photos")
    assert (
        recipe_values(load(tmp_path, {ON: {key: {"epochs": 9}, own: {"lr": 1}}}), "photos", "resnet50")["epochs"] == 2
    )


REFUSED = {
    "unknown name": ({ON: {"resnet": {}}}, "unknown dataset or model (got 'resnet'); did you mean 'resnet50'?"),
    "unknown dataset of a pair": ({ON: {"mnst/resnet50": {}}}, "unknown dataset (got 'mnst'); did you mean 'mnist'?"),
    "unknown model of a pair": ({ON: {"mnist/resnet5": {}}}, "unknown model (got 'resnet5'); did you mean 'resnet50'?"),
    "a pair the other way round": ({ON: {"resnet50/mnist": {}}}, "; a pair is dataset/model"),
    "a name of both": (
        {"datasets/resnet50": VALID["datasets"]["mnist"], ON: {"resnet50": {}}},
        "a dataset and a model have this name; write pairs, like 'resnet50/resnet50'",
    ),
    "unknown value": (
        {ON: {"resnet50": {"epohs": 3}}},
        "on.resnet50.epohs: unknown key (got 3); did you mean 'epochs'?",
    ),
    "a value out of range": ({ON: {"mnist/resnet50": {"lr": 0}}}, "on['mnist/resnet50'].lr: must be above 0 (got 0)"),
    "text": ({ON: {"resnet50": "fast"}}, "recipes.quick.on.resnet50: must have keys and values"),
    "values that do not go with the recipe": (
        {ON: {"resnet50": {"accumulation": 3}}},
        "recipes.quick.on.resnet50: accumulation 3 does not divide batch_size 128",
    ),
    "values of model and dataset that do not go together": (
        {ON: {"resnet50": {"accumulation": 64}, "mnist": {"batch_size": 96}}},
        "recipes.quick.on: accumulation 64 does not divide batch_size 96",
    ),
    "a cutout as large as the images": (
        {ON: {"mnist/resnet50": {"augment": {"cutout": 28}}}},
        "recipes.quick.on['mnist/resnet50'].augment.cutout: must be smaller than the images of mnist",
    ),
}


@pytest.mark.parametrize(("changes", "fragment"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_in_on_is_refused_in_one_line(tmp_path, changes, fragment):
    [line] = refused(tmp_path, changes)
    assert fragment in line


def test_a_recipe_s_on_may_name_a_dataset_that_is_only_published(tmp_path):
    assert load(tmp_path, {ON: {"cifar10": {"epochs": 3}}})


# -- set: and grid: ----------------------------------------------------------------------------------------------------


def test_two_studies_with_other_values_do_not_collide(tmp_path):
    others = [RESNET | {"set": {"epochs": 4}}, RESNET | {"recipe": "long"}]
    config = load(tmp_path, {"studies/other": others, "studies/third": [RESNET | {"set": {"lr": 0.1}}]})
    folders = {each.directory: each.spec for study in config.studies for each in config.experiments(study)}
    assert labels(config, "other") == ["quick,epochs=4", "long"]
    assert folders["results/mnist/resnet50/quick,epochs=4/seed0"]["recipe"]["epochs"] == 4
    assert folders["results/mnist/resnet50/quick/seed0"]["recipe"]["epochs"] == 2
    assert folders["results/mnist/resnet50/quick,lr=0.1/seed0"]["recipe"]["lr"] == 0.1


def test_a_study_may_have_one_entry_with_and_one_without_values(tmp_path):
    assert labels(load(tmp_path, {"studies/paper/1": RESNET | {"set": {"lr": 0.1}}})) == ["quick", "quick,lr=0.1"]


def test_a_grid_is_the_product_of_its_lists_with_what_is_set(tmp_path):
    grid = {"lr": [0.01, 0.03], "augment": {"crop_padding": [0, 2]}}
    entry = RESNET | {"set": {"epochs": 4}, "grid": grid, "seeds": [0, 1]}
    config = load(tmp_path, {"studies/paper": [entry]})
    assert labels(config) == [
        "quick,epochs=4,lr=0.01",
        "quick,augment.crop_padding=2,epochs=4,lr=0.01",
        "quick,epochs=4,lr=0.03",
        "quick,augment.crop_padding=2,epochs=4,lr=0.03",
    ]
    assert len({each.directory for each in config.experiments("paper")}) == 8
    [last] = {each.spec["recipe"]["augment"]["crop_padding"] for each in config.experiments("paper")[-2:]}
    assert last == 2


def test_a_grid_may_list_whole_tables(tmp_path):
    grid = {"augment": [{}, {"mixup": 0.2}], "progressive_resizing": [None, {"start": 0.5}]}
    config = load(tmp_path, {"studies/paper": [RESNET | {"grid": grid}]})
    growing = "progressive_resizing.start=0.5,progressive_resizing.until=0.7"
    mixed = "augment.mixup=0.2"
    assert labels(config) == ["quick", f"quick,{growing}", f"quick,{mixed}", f"quick,{mixed},{growing}"]


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({"lr": 0.05}, "quick"),  # what the recipe has
        ({"lr": "5e-2", "epochs": 2.0}, "quick"),
        ({"ema_decay": 0.5}, "quick"),  # without effect
        ({"augment": {"horizontal_flip": False}}, "quick"),  # mnist allows no mirroring
        ({"ema_decay": 0.5, "weight_averaging": "ema"}, "quick,ema_decay=0.5,weight_averaging=ema"),
        ({"lr": 1e-5, "weight_decay": 1}, "quick,lr=1e-05,weight_decay=1"),
        ({"lr": 0.1 + 0.2}, "quick,lr=0.30000000000000004"),
        ({"clip_norm": 1.50, "compile": True}, "quick,clip_norm=1.5,compile=true"),
    ],
)
def test_a_path_has_each_value_that_differs_from_the_recipe_in_one_form(tmp_path, values, label):
    config = load(tmp_path, {"studies/paper": [RESNET | {"set": values}]})
    assert labels(config) == [label]
    assert config.experiment("mnist", "resnet50", label, 0) == config.experiments("paper")[0]


def test_the_path_has_what_differs_from_the_values_on_the_pair(tmp_path):
    entry = RESNET | {"models": ["resnet50", "mobilenet_v2"], "set": {"lr": 0.4}}
    config = load(tmp_path, {ON: {"resnet50": {"lr": 0.4}}, "studies/paper": [entry]})
    assert labels(config) == ["quick", "quick,lr=0.4"]


def test_combinations_that_differ_only_without_effect_are_one_experiment(tmp_path):
    grid = {"weight_averaging": ["none", "ema"], "ema_decay": [0.9, 0.5]}
    config = load(tmp_path, {"studies/paper": [RESNET | {"grid": grid}]})
    assert len(labels(config)) == len(config.experiments("paper")) == 3


@pytest.mark.parametrize(
    ("entry", "fragment"),
    [
        (
            {"grid": {"lr": [0.1, 0.2]}, "set": {"lr": 0.3}},
            "studies.paper[0]: lr is in set and in grid; keep one of them",
        ),
        ({"grid": {"lr": 0.1}}, "studies.paper[0].grid.lr: must be a list, like [a, b] (got 0.1)"),
        ({"grid": {"lr": []}}, "studies.paper[0].grid.lr: must have 1 or more entries (got []); add one"),
        ({"grid": {"lr": [0.1, -1]}}, "studies.paper[0].grid.lr[1]: must be above 0 (got -1)"),
        ({"grid": {"lr": [0.1, 0.1]}}, "studies.paper[0].grid.lr: 0.1 is listed 2 times; list it once"),
        ({"grid": {"lrr": [0.1]}}, "studies.paper[0].grid.lrr: unknown key (got [0.1]); did you mean 'lr'?"),
        ({"grid": {"augment": {"mixu": [1]}}}, "grid.augment.mixu: unknown key (got [1]); did you mean 'mixup'?"),
        ({"grid": {"augment": [{"mixu": 1}]}}, "grid.augment[0].mixu: unknown key (got 1); did you mean 'mixup'?"),
        ({"grid": {"augment": 3}}, "studies.paper[0].grid.augment: must have keys and values"),
        ({"grid": {"accumulation": [1, 3]}}, "studies.paper[0].grid: accumulation 3 does not divide batch_size 128"),
        ({"grid": {"augment": {"cutout": [0, 28]}}}, "studies.paper[0].grid.augment.cutout: must be smaller than the"),
        ({"grid": {"lr": [n / 1e5 for n in range(1, 102)]}, "seeds": list(range(100))}, "more than 10,000 experiments"),
    ],
)
def test_a_mistake_in_a_grid_is_refused_in_one_line(tmp_path, entry, fragment):
    [line] = refused(tmp_path, {"studies/paper": [RESNET | entry]})
    assert fragment in line


def test_a_grid_in_nested_config_is_read_as_in_a_file(tmp_path):
    from snakemake.cli import parse_config

    entry = "{datasets: [mnist], models: [resnet50], recipe: quick, grid: {lr: [1e-2, 0.03], clip_norm: [null, 1]}}"
    parsed = parse_config([f"studies={{paper: [{entry}]}}"])
    config = load_config(write(tmp_path, VALID), parsed, command_line=parsed)
    assert labels(config) == [
        "quick,lr=0.01",
        "quick,clip_norm=1,lr=0.01",
        "quick,lr=0.03",
        "quick,clip_norm=1,lr=0.03",
    ]


@pytest.mark.parametrize(("key", "values"), ALLOWED.items(), ids=ALLOWED)
def test_the_schema_takes_a_grid_over_every_recipe_key(key, values):
    entry = RESNET | {"grid": {key: [float(value) if key == "lr" else value for value in values]}}
    schema = {"$defs": json_schema()["$defs"], "$ref": "#/$defs/Entry"}
    numbers_as_text = "e-" in str(values) or "E-" in str(values)  # a comment in the schema reports it
    assert numbers_as_text or not list(Draft202012Validator(schema).iter_errors(entry))


# -- the recipe's part of a path ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value"), cases(ALLOWED))
def test_every_valid_value_survives_its_path(key, value):
    base, recipe = Recipe(), Recipe(**{key: value})
    label = recipe_label("quick", changed_values(base, recipe, flips=True))
    assert re.fullmatch(f"quick{VALUES_PATTERN}", label)
    assert re.fullmatch(r"[A-Za-z0-9,=._-]+", label)
    assert Recipe(**merge(base.model_dump(), values_in(label))).spec(flips=True) == recipe.spec(flips=True)


def test_a_long_path_ends_with_a_hash_of_all_values(tmp_path):
    values = {"epochs": 3, "batch_size": 16, "lr": 0.012345, "momentum": 0.123, "weight_decay": 1e-4, "warmup": 0.123}
    entries = [RESNET | {"set": values | {"label_smoothing": smoothing, "clip_norm": 1.5}} for smoothing in (0.1, 0.2)]
    config = load(tmp_path, {"studies/paper": entries})
    first, second = labels(config)
    for label in (first, second):
        assert len(label) <= MAX_LENGTH
        assert re.fullmatch(r"quick,batch_size=16,clip_norm=1\.5,.*,sha256=[0-9a-f]{12}", label)
    assert first != second
    jobs = Jobs(config, ROOT)
    assert jobs.experiment("mnist", "resnet50", first, "0").spec["recipe"]["label_smoothing"] == 0.1
    with pytest.raises(UserError, match="too many values for a name; list the experiment in a study"):
        jobs.experiment("mnist", "resnet50", first.replace("1.5", "1.6"), "0")


def test_an_experiment_can_be_named_by_its_values_if_no_study_lists_it(tmp_path):
    jobs = Jobs(load(tmp_path), ROOT)
    names = parse_name("train", "mnist/resnet50/quick,augment.crop_padding=2,lr=0.03/seed0")
    recipe = jobs.experiment(**names).spec["recipe"]
    assert (recipe["lr"], recipe["augment"]["crop_padding"], recipe["epochs"]) == (0.03, 2, 2)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("quick,lrr=0.03", r"quick,lrr=0\.03: lrr: unknown key \(got 0\.03\); did you mean 'lr'"),
        ("quick,lr=fast", r"quick,lr=fast: lr: must be a number \(got 'fast'\)"),
        ("quick,lr=-1", r"lr: must be above 0 \(got -1\)"),
        ("quick,augment.mixu=1", "augment.mixu: unknown key"),
        ("quick,accumulation=3", "quick,accumulation=3: accumulation 3 does not divide batch_size 128"),
        (
            "quick,augment.cutout=28",
            "quick,augment.cutout=28: augment.cutout: must be smaller than the images of mnist",
        ),
        ("quick,lr=0.030", r"quick,lr=0\.030: paths have quick,lr=0\.03 for these values; write that"),
        ("quick,lr=0.05", "paths have quick for these values"),
        ("quick,lr=0.1,epochs=3", r"paths have quick,epochs=3,lr=0\.1 for these values"),
        ("quick,lr=0.1,lr=0.2", r"paths have quick,lr=0\.2 for these values"),
        ("quick,ema_decay=0.5", "paths have quick for these values"),
        ("quick,lr", "'lr' is no value; write key=value"),
        ("quick,", "'' is no value"),
        ("quick,augment=1,augment.mixup=1", r"paths have quick,augment\.mixup=1 for"),
        ("quick," + "a." * 10_000 + "b=1", "too many values for a name"),
        ("quik,lr=0.1", "unknown recipe .got 'quik'.; did you mean 'quick'"),
    ],
)
def test_a_wrong_value_in_a_path_is_refused_in_one_line(tmp_path, recipe, message):
    with pytest.raises(UserError, match=message) as refusal:
        load(tmp_path).experiment("mnist", "resnet50", recipe, 0)
    assert "\n" not in str(refusal.value)


def test_readers_see_a_recipe_with_its_values_in_words():
    assert recipe_title("quick,augment.crop_padding=2,lr=0.03") == "quick, augment.crop_padding 2, lr 0.03"


def test_a_large_grid_is_read_in_seconds(tmp_path):
    grid = {"lr": [n / 1e4 for n in range(1, 41)], "momentum": [n / 100 for n in range(40)]}
    path = write(tmp_path, changed({"studies/paper": [RESNET | {"grid": grid}]}))
    assert len(load_config(path).experiments("paper")) == 1600


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("studies/paper/1/set", {"test_time_augmentation": "mirror"}),
        ("studies/paper/1/grid", {"test_time_augmentation": ["none", "mirror"]}),
        ("recipes/quick/on", {"resnet50": {"test_time_augmentation": "mirror"}}),
    ],
)
def test_what_only_a_recipe_itself_has_is_refused_elsewhere_with_its_place(tmp_path, path, value):
    [line] = refused(tmp_path, {path: value})
    assert ".test_time_augmentation: changes no training, so only a recipe itself has it (got " in line
    assert line.endswith("; write it next to `epochs`")
