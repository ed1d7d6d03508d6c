"""Count the parameters, operations and memory of a network with torchinfo, before it is trained."""

from pathlib import Path
from typing import Any

import torch
import torchinfo
from torch import nn

from deepnets import models
from deepnets.evaluation.last_maps import NoMapsError, last_maps
from deepnets.models._check import build_checked
from deepnets.models._pretrained import freeze_backbone, head_of
from deepnets.models._weight_files import read_weights
from deepnets.training.start import match_file
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json, write_text
from deepnets.utils.logging import LOG
from deepnets.utils.text import first_few, one_line
from deepnets.utils.torch_errors import is_out_of_memory

MEGABYTE = 1e6  # bytes; torchinfo's megabytes are decimal


def summarize(
    model_spec: dict[str, Any],
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: Path | None = None,
    key: str = "weights",
) -> tuple[dict[str, Any], str]:
    """Check a network, and count it at batch size 1, in single precision.

    Args:
        model_spec: {"architecture": ..., **options}.
        input_shape: (C, H, W).
        num_classes: length of the logits.
        weights: the user's file of weights that it starts from, which must fit; None: it has none.
        key: of these weights in config.yaml, for messages.

    Returns:
        The content of summary.json and torchinfo's table. `size_mb` is torchinfo's estimated total size (input, forward
        and backward pass, parameters), `weights_mb` the parameters alone, both in 10^6 bytes. `grad_cam`: whether it
        has maps that show where it looks.

    Raises:
        UserError: the network cannot be trained on such images and classes, or from such weights.
    """
    network = build_checked(model_spec, input_shape, num_classes)
    head = head_of(network, model_spec, num_classes, input_shape) if weights or model_spec.get("freeze") else set()
    if weights is not None:
        _check_weights(weights, network, head, key)
    if model_spec.get("freeze") is not None:
        freeze_backbone(network, head, model_spec["architecture"])
    input_size = [1, *input_shape]
    try:
        counts = torchinfo.summary(network, input_size, device="cpu", mode="eval", verbose=0)
    except Exception as error:  # it looks into what each layer takes and returns
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{models.file_of(model_spec['architecture'])}: torchinfo cannot summarise the network"
            f" ({one_line(str(error.__cause__ or error))}); let each layer take and return tensors, or lists of them."
        ) from None
    total_bytes = counts.total_input + counts.total_output_bytes + counts.total_param_bytes
    counted = {
        "parameters": counts.total_params,
        "trainable_parameters": counts.trainable_params,
        "mult_adds": counts.total_mult_adds,
        "size_mb": total_bytes / MEGABYTE,
        "weights_mb": counts.total_param_bytes / MEGABYTE,
        "input_size": input_size,
        "grad_cam": _has_maps(network, input_size),
    }
    return counted, f"{counts}\n"


def _check_weights(file: Path, network: nn.Module, head: set[str], key: str) -> None:
    """Refuse weights of another network, and warn of layers that they lack."""
    found = match_file(file, network, read_weights(file)[0], head, key)
    if found.initialised:
        LOG.warning("%s: has no weights for %s, which stay random", file, first_few(found.initialised))


def _has_maps(network: nn.Module, input_size: list[int]) -> bool:
    """Whether Grad-CAM can show where a network looks; so that reports offer it for such networks alone."""
    try:
        with torch.no_grad():
            last_maps(network.eval(), lambda: network(torch.zeros(input_size)))
    except NoMapsError:
        return False
    return True


def write_summary(
    spec: dict[str, Any], json_file: Path, text_file: Path, weights: Path | None = None, key: str = "weights"
) -> None:
    """Write summary.json and summary.txt of the network in `spec`: its model, input_shape and num_classes.

    The user's weights are checked here, too, as training would only find after the images are prepared that they do not
    fit. summary.txt also has how the network departs from the one that its name stands for.
    """
    torch.set_num_threads(1)  # the job has one; on such small batches, more would only wait for each other
    counted, table = summarize(spec["model"], spec["input_shape"], spec["num_classes"], weights, key)
    architecture = spec["model"]["architecture"]
    if differs := models.about(architecture).differs:
        table += f"{models.display_name(architecture)} here: {differs}.\n"
    with record_checksums("summarize", text_file, json_file):
        write_text(text_file, table)
        write_json(json_file, {"spec": spec, **counted})
