"""A recipe's part of a path: its name and the values that a study gives it, as in `quick,lr=0.03`.

No name of a recipe has a comma, and no value has one, so a label has one meaning only.
"""

from collections.abc import Mapping
from typing import Any

from deepnets.config.experiment import HASH_KEY, written
from deepnets.config.named_recipe import nested
from deepnets.config.recipe import Recipe, idle_options
from deepnets.config.yaml_reader import merge, read_scalar
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_text
from deepnets.utils.specs import leaves

MAX_LENGTH = 100  # characters, so that folders named by it can be made everywhere
# What may follow the recipe's name in a label. Snakemake allows no braces in it.
VALUES_PATTERN = r"(?:,[a-z0-9_.]+=[A-Za-z0-9_.-]+)*"
_HASH_DIGITS = 12


def recipe_label(recipe: str, values: Mapping[str, Any]) -> str:
    """Return the name of a recipe with values: `quick,augment.crop_padding=2,lr=0.03`, sorted by their keys.

    Of a label above MAX_LENGTH characters, the last values are replaced by a hash of all.
    """
    label = ",".join([recipe, *(f"{key}={written(value)}" for key, value in sorted(values.items()))])
    if len(label) <= MAX_LENGTH:
        return label
    ending = f",{HASH_KEY}={sha256_text(label)[:_HASH_DIGITS]}"
    return label[: MAX_LENGTH - len(ending)].rpartition(",")[0] + ending


def values_in(label: str) -> dict[str, Any]:
    """Return the recipe values in a recipe's part of a path, unchecked: {"lr": 0.03} of "quick,lr=0.03".

    Raises:
        UserError: the label has another form, or only a study can say what it stands for.
    """
    if len(label) > MAX_LENGTH or f",{HASH_KEY}=" in label:
        raise UserError(f"{label[:MAX_LENGTH]}: too many values for a name; list the experiment in a study")
    values: dict[str, Any] = {}
    for part in label.split(",")[1:]:
        key, equals, text = part.partition("=")
        if not equals:
            raise UserError(f"{label}: {part!r} is no value; write key=value, as in quick,lr=0.03")
        values = merge(values, nested(key.split("."), read_scalar(text)))
    return values


def changed_values(base: Recipe, recipe: Recipe, flips: bool) -> dict[str, Any]:
    """Return the values in which a recipe differs from another, by their keys, such as `augment.crop_padding`.

    A value that has no effect, given the others, is not one of them.

    Args:
        flips: whether the dataset allows that images are mirrored.
    """
    before, values = dict(leaves(base.model_dump(mode="json"))), recipe.model_dump(mode="json")
    idle = {(name,) for name in idle_options(values)} | (set() if flips else {("augment", "horizontal_flip")})
    return {
        ".".join(key): value
        for key, value in leaves(values)
        if key not in idle and (key not in before or before[key] != value)
    }
