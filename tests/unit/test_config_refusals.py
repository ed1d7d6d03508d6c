"""Every mistake in config.yaml is refused in one line that says what is wrong and what to do."""

import pytest
from config_files import DELETE, VALID, load, refused

from deepnets.config.messages import shown
from deepnets.config.recipe import Augment, ProgressiveResizing, Recipe
from deepnets.utils.errors import UserError

# A change of VALID, and what its one line must contain.
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
    "robustness at the top level": (
        {"robustness": ["paper"]},
        ["config.yaml: robustness: is now a key of a study's entry (got ['paper'])", "recipe: ..., robustness: true}"],
    ),
    "latency at the top level": ({"latency": []}, ["recipe: ..., latency: true}"]),
    "robustness of a name": (
        {"studies/paper/0/robustness": "paper"},
        ["studies.paper[0].robustness: must be true or false (got 'paper')"],
    ),
    "missing study": ({"study": DELETE}, ["study: missing; add it: Name of the study"]),
    "missing section": ({"recipes": DELETE}, ["config.yaml: recipes: missing; add it: "]),
    "missing key of a dataset": (
        {"datasets/photos/path": DELETE},
        ["datasets.photos.path: missing", "Folder, or archive"],
    ),
    "missing recipe": ({"studies/paper/0/recipe": DELETE}, ["studies.paper[0].recipe: missing"]),
    "section without content": ({"datasets": None}, ["datasets: must have keys and values", "(got nothing)"]),
    "empty section": ({"recipes": {}}, ["recipes: must have 1 or more entries (got {}); add one"]),
    "empty study": ({"studies/paper": []}, ["studies.paper: must have 1 or more entries (got []); add one"]),
    "study without content": ({"studies/paper": None}, ["studies.paper: must be a list", "(got nothing)"]),
    "no models": ({"studies/paper/0/models": []}, ["studies.paper[0].models: must have 1 or more entries (got [])"]),
    "no seeds": ({"studies/paper/0/seeds": []}, ["studies.paper[0].seeds: must have 1 or more entries (got [])"]),
    # wrong types
    "text for a whole number": ({"recipes/quick/batch_size": "ten"}, ["must be a whole number (got 'ten')"]),
    "quoted whole number": (
        {"recipes/quick/batch_size": "10"},
        ["must be a whole number (got '10'); write it without quotes"],
    ),
    "quoted number": ({"recipes/quick/epochs": "10"}, ["must be a number (got '10'); write it without quotes"]),
    "fraction for a whole number": (
        {"recipes/quick/batch_size": 2.5},
        ["batch_size: must be a whole number (got 2.5)"],
    ),
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
    "old name of a recipe's key": (
        {"recipes/quick/averaging": "ema"},
        ["recipes.quick.averaging: is now called 'weight_averaging' (got 'ema'); rename the key"],
    ),
    "old name of a key of set": (
        {"studies/paper/1/set": {"validation": 0.2}},
        ["studies.paper[1].set.validation: is now called 'validation_fraction' (got 0.2); rename the key"],
    ),
    "a recipe key's old name in a dataset": (
        {"datasets/mnist/validation": 0.2},
        ["datasets.mnist.validation: unknown key (got 0.2); "],
    ),
    "a recipe key's old name in an entry": (
        {"studies/paper/0/averaging": "ema"},
        ["studies.paper[0].averaging: unknown key (got 'ema'); "],
    ),
    "a recipe key's old name in augment": (
        {"recipes/long/augment/averaging": "ema"},
        ["recipes.long.augment.averaging: unknown key (got 'ema'); "],
    ),
    "a recipe key's old name as a section": ({"validation": 0.2}, ["config.yaml: validation: unknown key (got 0.2); "]),
    "no validation": (
        {"recipes/quick/validation_fraction": 0},
        ["recipes.quick.validation_fraction: must be above 0 (got 0)"],
    ),
    "all validation": (
        {"recipes/quick/validation_fraction": 0.6},
        ["validation_fraction: must be at most 0.5 (got 0.6)"],
    ),
    "negative seed": ({"studies/paper/0/seeds": [-1]}, ["studies.paper[0].seeds[0]: must be at least 0 (got -1)"]),
    "unknown word": (
        {"recipes/quick/optimizer": "adam"},
        ["optimizer: must be 'sgd' or 'adamw' or 'muon' (got 'adam')"],
    ),
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
    "epochs of 400 digits": ({"recipes/quick/epochs": 10**400}, ["epochs: must be a finite number (got inf)"]),
    "batch of 400 digits": ({"recipes/quick/batch_size": 10**400}, ["batch_size: must be at most 65536 (got 1000"]),
    "huge lr": ({"recipes/quick/lr": 10**400}, ["recipes.quick.lr: must be a finite number (got inf)"]),
    "huge batch": ({"recipes/quick/batch_size": 10**9}, ["batch_size: must be at most 65536 (got 1000000000)"]),
    "huge mixup": ({"recipes/long/augment/mixup": 1e308}, ["augment.mixup: must be at most 100 (got 1e+308)"]),
    "huge cutout": ({"recipes/long/augment/cutout": 10**6}, ["augment.cutout: must be at most 4096 (got 1000000)"]),
    "huge number of classes": ({"datasets/photos/classes": 10**12}, ["photos.classes: must be at most 10000 (got 1"]),
    "huge images": (
        {"datasets/photos/max_megapixels": 5000},
        ["datasets.photos.max_megapixels: must be at most 1000 (got 5000)"],
    ),
    "huge seed": ({"studies/paper/0/seeds": [2**32]}, ["seeds[0]: must be at most 4294967295 (got 4294967296)"]),
    "a number of seeds": ({"studies/paper/0/seeds": 10**9}, ["seeds: must be a list, like [a, b] (got 1000000000)"]),
    "more experiments than can be planned": (
        {"studies/demo/0/seeds": list(range(5001))},
        ["config.yaml: studies.demo[0]: more than 10,000 experiments in all studies; list fewer"],
    ),
    "absurd image size": (
        {"datasets/photos/size": 100_000},
        ["datasets.photos.size: must be at most 4096 (got 100000)"],
    ),
    # repeats
    "duplicate seeds": ({"studies/demo/0/seeds": [5, 7, 5]}, ["studies.demo[0].seeds: 5 is listed 2 times"]),
    "duplicate models": ({"studies/paper/0/models": ["resnet50"] * 3}, ["models: 'resnet50' is listed 3 times"]),
    "duplicate experiments": (
        {"studies/demo/1": {"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "seeds": [1, 2]}},
        ["studies.demo[1]: results/digits/resnet50/quick/seed1 also belongs to studies.demo[0]; list each"],
    ),
    "duplicate experiments with values": (
        {"studies/paper/2": {**ENTRY, "models": ["mobilenet_v2"], "seeds": [0], "grid": {"epochs": [4, 5]}}},
        ["studies.paper[2]: results/mnist/mobilenet_v2/long,epochs=4/seed0 also belongs to studies.paper[1]"],
    ),
    "a value that the recipe has anyway": (
        {"studies/demo/1": {**VALID["studies"]["demo"][0], "seeds": [1], "set": {"epochs": 2}}},
        ["studies.demo[1]: results/digits/resnet50/quick/seed1 and 1 more also belongs to studies.demo[0]; list each"],
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
        ["models.Comparison: a reserved name", "results/<dataset>"],
    ),
    "reserved for a study": (
        {"models/comparison-sweep": {"architecture": "resnet50"}},
        ["models.comparison-sweep: a reserved name: results/<dataset>/comparison-<study> is where", "choose another"],
    ),
    "another model's name in reports": (
        {"models/MobileNetV2": {"architecture": "resnet50"}},
        ["models.MobileNetV2: reports would write it as they write 'mobilenet_v2'; rename one"],
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


def test_a_wrong_entry_hides_no_other_problem(tmp_path):
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
        ({"recipes/quick/on": {"digits": {"accumulation": 3}}}, "recipes.quick.on.digits"),
    ],
    ids=["unknown key", "impossible recipe", "unknown recipe", "impossible value on a dataset"],
)
def test_a_wrong_recipe_hides_no_small_image_and_no_shared_folder(tmp_path, changes, path):
    lines = refused(tmp_path, {**SIZES_AND_FOLDERS, **changes})
    paths = [line.split(": ")[1] for line in lines]
    recipes = [path] if path else [f"studies.{entry}.recipe" for entry in ("demo[0]", "demo[1]", "paper[0]")]
    assert paths == [*recipes, "datasets.digits.size", "studies.demo[1]"]
    assert "results/digits/resnet50/quick/seed1 and 1 more also belongs to studies.demo[0]; list each" in lines[-1]


@pytest.mark.parametrize(
    ("values", "path"), [({"set": {"lrr": 3}}, ".set.lrr"), ({"grid": {"accumulation": [3]}}, ".grid")]
)
def test_wrong_values_of_an_entry_hide_no_small_image_and_share_no_folder(tmp_path, values, path):
    """Which folder they stand for is not known."""
    entry = VALID["studies"]["demo"][0] | values
    lines = refused(tmp_path, SIZES_AND_FOLDERS | {"studies/demo/0": entry})
    assert [line.split(": ")[1] for line in lines] == [f"studies.demo[0]{path}", "datasets.digits.size"]


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
def test_any_value_of_any_recipe_key_is_accepted_or_refused_in_one_line(tmp_path, key, value):
    """No kind of error is left to pydantic's own words."""
    try:
        load(tmp_path, {f"recipes/quick/{key}": value})
    except UserError:
        [line] = refused(tmp_path, {f"recipes/quick/{key}": value})
        assert line.startswith(f"config.yaml: recipes.quick.{key}")


NUMBERS = {
    ("recipes", "quick", *path)
    for model, path in [(Recipe, ()), (Augment, ("augment",)), (ProgressiveResizing, ("progressive_resizing",))]
    for path in [(*path, name) for name, field in model.model_fields.items() if "float" in str(field.annotation)]
} | {("datasets", "photos", "max_megapixels")}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308, 10**400], ids=shown)
@pytest.mark.parametrize("path", sorted(NUMBERS), ids="/".join)
def test_a_number_beyond_all_use_is_refused_in_one_line(tmp_path, path, value):
    changes = {"recipes/quick/augment": {}, "recipes/quick/progressive_resizing": {}, "/".join(path): value}
    [line] = refused(tmp_path, changes)
    assert line.startswith(f"config.yaml: {'.'.join(path)}: must be ")


def test_negative_zero_is_zero():
    assert repr(Recipe(momentum=-0.0).momentum) == "0.0"


def test_of_very_many_mistakes_the_first_hundred_are_shown(tmp_path):
    lines = refused(tmp_path, {f"key{index}": 1 for index in range(1000)})
    assert len(lines) == 101
    assert lines[-1] == "... and 900 more."
