"""An experiment, the unit of every study: one model trained on one dataset by one recipe from one seed."""

from dataclasses import dataclass, field
from typing import Any

from deepnets.utils import paths
from deepnets.utils.files import canonical_json, sha256_text

HASH_KEY = "sha256"  # in the place of values in a recipe's part of a path; no option of a recipe

# Keys of dataset.json that identify its arrays and the validation split in them; metrics.json has them too.
OF_ARRAYS = ("arrays", "validation_rows")
# Those that show on which images a network was trained; model.safetensors has them too.
OF_IMAGES = (*OF_ARRAYS, "classes", "input_shape", "mean", "std")
# How a metrics.json was evaluated that does not say it: it is older than the option.
PLAIN = {"test_time_augmentation": "none"}


def compared_images(spec: dict[str, Any]) -> tuple[str, ...]:
    """Those of OF_IMAGES that dataset.json has the same value of as the experiment's results.

    The weights of an earlier training run bring their mean and std; those of a fold, and its validation split, follow
    from its number and the arrays.
    """
    of_fold = {"mean", "std", "validation_rows"} if "fold" in spec["dataset"] else set()
    of_weights = {"mean", "std"} if "weights" in spec else set()
    return tuple(key for key in OF_IMAGES if key not in of_fold | of_weights)


@dataclass(frozen=True)
class Experiment:
    """An experiment's names in config.yaml, and the `spec` that they stand for.

    spec: JSON-able `{"dataset": {...}, "model": {"architecture": ..., ...}, "recipe": {...}, "seed": int}` with every
    default resolved, and a value that has no effect has its default. Experiments with equal specs compute the
    same thing, whatever their names.

    recipe: its name with the values that a study gives it, as in paths: "quick,lr=0.03".
    """

    dataset: str
    model: str
    recipe: str
    seed: int
    spec: dict[str, Any] = field(hash=False)

    @property
    def names(self) -> dict[str, str | int]:
        """The names and the seed, as in metrics.json and the report."""
        return {"dataset": self.dataset, "model": self.model, "recipe": self.recipe, "seed": self.seed}

    @property
    def directory(self) -> str:
        """The folder of its results, relative to the working directory."""
        return paths.EXPERIMENT.format(**self.names)


def recipe_name(recipe: str) -> str:
    """Return the name of an experiment's recipe without values: its key in config.yaml."""
    return recipe.partition(",")[0]


def written(value: Any) -> str:
    """Return the one way to write a value: numbers as short as they can be without a change, the rest as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value) if isinstance(value, float) and value == int(value) else value)


def recipe_title(recipe: str) -> str:
    """Return an experiment's recipe for readers: "quick, lr 0.03"."""
    return recipe.replace(",", ", ").replace("=", " ")


def spec_sha256(spec: dict) -> str:
    """Return the hexadecimal SHA-256 of a spec's canonical JSON; it identifies what an experiment computes."""
    return sha256_text(canonical_json(spec))
