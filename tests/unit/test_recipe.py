"""Recipes: defaults, ranges, and what their words mean to the reader of the schema."""

import pytest
from pydantic import ValidationError

from deepnets.config.recipe import Augment, ProgressiveResizing, Recipe, RecipeValues, idle_options

ALLOWED = {
    "epochs": [1, 500, 0.5, 2.5],
    "batch_size": [2, 4096],
    "optimizer": ["sgd", "adamw", "muon"],
    "lr": [1e-6, 1, "1e-3", "2E-1"],
    "sgd_lr": [1e-6, 1],
    "classifier_lr": [1e-6, 1],
    "muon_momentum": [0, 0.99],
    "momentum": [0, 0.99],
    "weight_decay": [0, 0.1, "5e-4"],
    "schedule": ["one_cycle", "cosine", "linear"],
    "warmup": [0, 0.99],
    "label_smoothing": [0, 0.99],
    "class_weights": ["none", "balanced"],
    "sampler": ["shuffled", "balanced"],
    "clip_norm": [None, 0.1, "1e-1"],
    "weight_averaging": ["none", "ema", "swa"],
    "ema_decay": [0.001, 0.9999],
    "averaging_start": [0, 0.99],
    "validation_fraction": [0.01, 0.5],
    "precision": ["auto", "fp32", "bf16"],
    "compile": [True, False],
    "progressive_resizing": [None, {}, {"start": 1, "until": 0.99}],
    "augment": [{}, {"rotation": 180, "scale": 0.99, "translate": 0.99, "shear": 89}, {"mixup": 1, "cutmix": 1}],
}
REFUSED = {
    "epochs": [0, -1, "3", True, None],
    "batch_size": [0, 1.5],
    "accumulation": [0, 1.5],
    "optimizer": ["SGD", None, 1],
    "lr": [0, -1, float("inf"), float("nan"), "0.1", True],
    "sgd_lr": [0, -1],
    "classifier_lr": [0, -1],
    "momentum": [-0.1, 1],
    "muon_momentum": [-0.1, 1],
    "weight_decay": [-1e-9, float("inf")],
    "warmup": [-0.1, 1],
    "label_smoothing": [-0.1, 1],
    "class_weights": [None, True, {"owl": 2}],
    "sampler": [None, "random"],
    "clip_norm": [0, -1, "none"],
    "ema_decay": [0, 1],
    "averaging_start": [-0.1, 1],
    "validation_fraction": [0, 0.51, 1],
    "compile": [0, "yes"],
    "progressive_resizing": [{"start": 0}, {"start": 1.1}, {"until": 0}, {"until": 1}, True],
    "augment": [
        *(None, {"rotation": 181}, {"shear": 90}, {"scale": 1}, {"translate": 1}, {"random_erasing": 1.1}),
        *({"crop_padding": -1}, {"cutout": 1.5}, {"mixup": -1}, {"cutmix": float("inf")}, {"horizontal_flip": 1}),
    ],
}


def cases(table):
    return [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize(("key", "value"), cases(ALLOWED))
def test_a_value_in_range_is_accepted(key, value):
    assert Recipe(**{key: value})


@pytest.mark.parametrize(("key", "value"), cases(REFUSED))
def test_a_value_out_of_range_is_refused(key, value):
    with pytest.raises(ValidationError):
        Recipe(**{key: value})


def test_every_key_has_a_default():
    assert Recipe().epochs == 8
    assert Recipe().augment == Augment()


def test_by_default_images_are_only_mirrored():
    changes = Augment().model_dump(exclude={"horizontal_flip"})
    assert Augment().horizontal_flip
    assert not any(changes.values())


def test_accumulation_divides_the_batch_size():
    assert Recipe(batch_size=96, accumulation=3)
    with pytest.raises(ValidationError, match="accumulation 3 does not divide batch_size 128"):
        Recipe(accumulation=3)


def test_values_to_set_are_checked_one_by_one_only():
    """`set: {accumulation: 3}` may go with the batch size of the recipe."""
    assert RecipeValues(accumulation=3).model_dump(exclude_unset=True) == {"accumulation": 3}


def test_a_recipe_survives_its_own_json():
    recipe = Recipe(lr="1e-3", clip_norm=1, progressive_resizing={"start": 0.5}, augment={"cutmix": 1})
    assert Recipe(**recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("settings", [Recipe, Augment, ProgressiveResizing])
def test_every_key_says_what_it_does(settings):
    for name, field in settings.model_fields.items():
        assert field.description, (
            f"add a description to {settings.__name__}.{name} in scripts/deepnets/config/recipe.py"
        )
        assert field.description.endswith(".")


@pytest.mark.parametrize("values", [{"batch_size": 1}, {"batch_size": 8, "accumulation": 8}])
def test_parts_of_one_image_are_refused_because_batch_normalisation_needs_two(values):
    with pytest.raises(ValidationError, match="batch normalisation has no variance over one"):
        Recipe(**values)


def test_whole_number_of_epochs_is_the_same_with_a_decimal_point():
    assert str(Recipe(epochs=3.0).spec(flips=False)) == str(Recipe(epochs=3).spec(flips=False))


MUON = {"sgd_lr", "classifier_lr", "muon_momentum"}


@pytest.mark.parametrize(
    ("recipe", "idle"),
    [
        ({}, MUON | {"ema_decay", "averaging_start"}),
        ({"optimizer": "adamw"}, MUON | {"momentum", "ema_decay", "averaging_start"}),
        ({"optimizer": "muon"}, {"ema_decay", "averaging_start"}),
        ({"weight_averaging": "ema"}, MUON | {"averaging_start"}),
        ({"weight_averaging": "swa"}, MUON | {"ema_decay"}),
    ],
)
def test_options_without_effect_are_known_by_the_values_of_the_others(recipe, idle):
    assert idle_options(Recipe(**recipe).model_dump()) == idle
