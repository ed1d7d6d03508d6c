"""What only the prepared images show, where config.yaml leaves it out: their shape and the number of classes."""

from pathlib import Path
from typing import Any

from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.programs import program
from deepnets.utils.specs import read_head

FOUND = ("input_shape", "num_classes")  # of a network's settings


def prepared(root: Path, dataset: str) -> dict[str, Any]:
    """Return the shape, [C, H, W], and the number of classes of a dataset; {} if it is not prepared."""
    found = read_head(root / paths.DATASET_INFO.format(dataset=dataset), "input_shape", "classes")
    if not (isinstance(found.get("input_shape"), list) and isinstance(found.get("classes"), list)):
        return {}
    return {"input_shape": found["input_shape"], "num_classes": len(found["classes"])}


def complete(spec: dict[str, Any], root: Path, dataset: str) -> dict[str, Any]:
    """Return the settings of a network with what is None in them.

    Raises:
        UserError: the dataset is not prepared.
    """
    if all(spec[key] is not None for key in FOUND):
        return spec
    if not (found := prepared(root, dataset)):
        file = paths.DATASET_INFO.format(dataset=dataset)
        command = f"{program('snakemake')} --cores 2 {file}"
        raise UserError(f"{file}: missing, and config.yaml has no `size` or `classes`; {command} makes it")
    return {**spec, **{key: found[key] for key in FOUND if spec[key] is None}}


def as_in(summary: Any, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a network with what a summary says instead of None: it was made from the images."""
    found = summary if isinstance(summary, dict) else {}
    return {**spec, **{key: found.get(key) for key in FOUND if spec[key] is None}}


def check_recipe(spec: dict[str, Any], root: Path, dataset: str) -> None:
    """Check what `deepnets.config.validation` could not, as the images' size was not known.

    Raises:
        UserError: the recipe covers or moves images by more pixels than they have.
    """
    if spec["dataset"].get("size", 0) is None and (found := prepared(root, dataset)):
        size = found["input_shape"][-1]
        for key in ("crop_padding", "cutout"):
            if (value := spec["recipe"]["augment"].get(key, 0)) >= size:
                raise UserError(
                    f"augment.{key} must be smaller than the images of {dataset} (got {value} pixels, the images have"
                    f" {size}); set it below {size} in the recipe, or write a larger `size` for datasets.{dataset}"
                )
