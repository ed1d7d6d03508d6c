"""The network of a weights file: built again from what the file says of itself."""

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepnets import models
from deepnets.config.experiment import compared_images
from deepnets.config.recipe import Recipe
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, configure_device
from deepnets.training.experiment_dir import load_model_file
from deepnets.utils.checksums import verify
from deepnets.utils.errors import UserError
from deepnets.utils.specs import check_made_by

_NEEDED = ("spec", "spec_sha256", "classes", "input_shape", "mean", "std")  # of the metadata


def load_network(path: Path, spec: dict | None = None) -> tuple[nn.Module, dict]:
    """The network of model.safetensors with its weights, on the CPU, and the file's metadata.

    Args:
        path: the file.
        spec: the experiment's, that the weights must have been made by; None: whatever the file says.

    Raises:
        UserError: the file is missing or damaged, of another program, or belongs to another experiment.
    """
    verify(path)
    # What the workflow wrote may be deleted; a file that the user named may not.
    if_damaged = "delete it" if spec is not None else "copy it again, or give another file"
    if_other = "delete the file, so that it is made from the start" if spec is not None else "train again"
    tensors, metadata = load_model_file(path, if_damaged)
    if spec is not None:
        check_made_by(path, metadata.get("spec", {}), spec)
    if missing := [key for key in _NEEDED if key not in metadata]:
        raise UserError(f"{path}: not a model of this program, it lacks {', '.join(missing)}; give another file.")
    _check_recipe(path, metadata["spec"])
    model_spec = metadata["spec"]["model"]
    model = _without_initial_values(tensors, model_spec, metadata)
    if model is None:
        model = _build(model_spec, metadata)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(
                f"{path}: these weights do not fit {models.file_of(model_spec['architecture'])} as it is now"
                f" ({models.reason_of(error)}); undo the change, or {if_other}."
            ) from None
    return model, metadata


def load_for_evaluation(
    path: Path, spec: dict, threads: int, gpus: int
) -> tuple[nn.Module, dict, Augmentation, Device]:
    """The network of an experiment on the device that evaluates it, the file's metadata, its normalisation, the device.

    Args:
        path: model.safetensors.
        spec: the experiment's.
        threads: CPU threads.
        gpus: 1: on a GPU, if there is one; 0: on the CPU.

    Raises:
        UserError: as of `load_network`.
    """
    model, metadata = load_network(path, spec)
    recipe = Recipe(**spec["recipe"])
    device = configure_device(model, "auto" if gpus else "cpu", recipe.precision, threads)
    model = model.to(device.device).to(memory_format=torch.channels_last)
    augmentation = Augmentation(recipe.augment, False, metadata["mean"], metadata["std"], device.device)
    return model, metadata, augmentation, device


def check_trained_on(path: Path, metadata: dict, dataset_metadata: dict) -> None:
    """Compare the images that a network was trained on, by the metadata of its weights, with a prepared dataset.

    Raises:
        UserError: they are others.
    """
    trained_on = {key: metadata[key] for key in compared_images(metadata["spec"]) if key in metadata}
    check_made_by(path, trained_on, {key: dataset_metadata.get(key) for key in trained_on})


def _check_recipe(path: Path, spec: dict) -> None:
    try:
        Recipe(**spec["recipe"])
    except (KeyError, ValidationError) as error:
        key = error.errors()[0]["loc"][0] if isinstance(error, ValidationError) else error
        raise UserError(
            f"{path}: made by another version of this program (recipe: {key}); use that version, or train again."
        ) from None


def _build(model_spec: dict, metadata: dict) -> nn.Module:
    channels, *image_size = metadata["input_shape"]
    return models.build(model_spec, len(metadata["classes"]), channels, tuple(image_size))


def _without_initial_values(tensors: dict, model_spec: dict, metadata: dict) -> nn.Module | None:
    """The network with these weights, built without initial ones: they would take 5 seconds for Inception V3.

    None: it cannot be built so, as its `build` computes with values, or it has tensors besides those of its state.
    """
    try:
        with torch.device("meta"), _WithoutDraws():
            model = _build(model_spec, metadata)
        model.load_state_dict(tensors, assign=True)
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *metadata["input_shape"])).sum().item()
    except Exception:  # a user's network can fail in any way
        return None
    return model


class _WithoutDraws(TorchFunctionMode):
    """Nothing is drawn for tensors on the device meta: they have no values, and torch would load a compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        draws = func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", None) == nn.init.__name__
        if draws and (tensor := args[0] if args else kwargs["tensor"]).is_meta:
            return tensor
        return func(*args, **kwargs)
