"""Start from the weights of an earlier training run: read them, load what fits, and record what was done."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deepnets.config.weights import start_file
from deepnets.models._pretrained import Match, freeze_backbone, head_of, match
from deepnets.models._weight_files import read_weights
from deepnets.utils.checksums import verify
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file
from deepnets.utils.logging import LOG
from deepnets.utils.text import first_few

BY_DATASET = "by the dataset"


@dataclass(frozen=True)
class Start:
    """Weights to start from, with what is known of them.

    weights: their part of the experiment's spec. sha256: of their file. classes: of their last layer, mean and std: of
    the images that they were trained on, per channel, where config.yaml or the file says it; else None.
    """

    file: Path
    weights: dict[str, Any]
    sha256: str
    tensors: dict[str, Tensor] = field(repr=False)
    classes: list[str] | None
    mean: list[float] | None
    std: list[float] | None


def read_start(spec: dict[str, Any], file: Path | None) -> Start | None:
    """Read the weights that an experiment starts from; None if they are random.

    Args:
        spec: of the experiment.
        file: which has them.

    Raises:
        UserError: the file is missing, damaged, or not the one of the spec.
    """
    weights = spec.get("weights")
    if weights is None:
        return None
    if file is None or not file.is_file():
        raise UserError(f"{file}: no such file of weights; start Snakemake, or correct weights in config.yaml")
    verify(file)
    sha256 = sha256_file(file)
    tensors, metadata = read_weights(file)
    if weights.get("sha256", sha256) != sha256:
        raise UserError(f"{file}: changed since this job was planned; start Snakemake again")
    if weights.get("spec_sha256", metadata.get("spec_sha256")) != metadata.get("spec_sha256"):
        raise UserError(f"{file}: made with other settings than config.yaml has now; start Snakemake, which makes it")
    known = {key: weights.get(key, metadata.get(key)) for key in ("classes", "mean", "std")}
    return Start(file, weights, sha256, tensors, **known)


def prepare_network(network: nn.Module, spec: dict, metadata: dict, start: Start | None, name: str) -> dict | None:
    """Load the weights that an experiment starts from into its network, and freeze what its spec freezes, in place.

    Args:
        network: newly built.
        spec: of the experiment.
        metadata: the content of dataset.json.
        start: the weights; None: random.
        name: of the experiment, for messages.

    Returns:
        What was loaded and what was not, for metrics.json; None without `start`.

    Raises:
        UserError: hardly anything fits, or there is nothing left to train.
    """
    frozen = spec["model"].get("freeze") is not None
    if start is None and not frozen:
        return None
    head = head_of(network, spec["model"], len(metadata["classes"]), metadata["input_shape"])
    record = None
    if start is not None:
        # A last layer for the same classes is kept; another one gives numbers that mean nothing here.
        replaced = set() if start.classes == metadata["classes"] else head
        found = match_file(start.file, network, start.tensors, replaced, f"models.{name.split('/')[1]}.weights")
        network.load_state_dict(found.tensors, strict=False)
        record = _record(start, found)
        level = logging.WARNING if record["initialised"] else logging.INFO
        LOG.log(level, "%s: started from %s: %s", name, start.file, in_words(record))
        _warn_of_enlarging(spec, metadata, name)
    if frozen:
        freeze_backbone(network, head, spec["model"]["architecture"])
    return record


def match_file(file: Path, network: nn.Module, tensors: Mapping[str, Tensor], head: Collection[str], key: str) -> Match:
    """Find the weights of a file that fit a network, see `match`; raises its UserError with the file and the key."""
    try:
        return match(network, tensors, head)
    except UserError as error:
        raise UserError(f"{file}: {error} ({key})") from None


def _warn_of_enlarging(spec: dict, metadata: dict, name: str) -> None:
    """Warn where images were made smaller, as config.yaml gives no size, and the network enlarges them again."""
    size, seen = min(metadata["input_shape"][1:]), spec["model"].get("resize") or 0
    were_larger = "write `size:" in metadata.get("found", {}).get("size", "")  # see `find_shape`
    if were_larger and size < seen:
        LOG.warning(
            "%s: images were made smaller, to %d pixels, and are enlarged to %d, which the weights know; write"
            " `size: %d` for datasets.%s in config.yaml, so that the network sees more of them",
            *(name, size, seen, seen, name.partition("/")[0]),
        )


def normalisation(start: Start | None, metadata: dict) -> dict[str, list[float]]:
    """Mean and std by which images are normalised: those of the weights, else the dataset's; per channel."""
    if start is None or start.mean is None or start.std is None:
        return {"mean": metadata["mean"], "std": metadata["std"]}
    channels = metadata["input_shape"][0]
    found = {"mean": start.mean, "std": start.std}
    return {
        key: values if len(values) == channels else [sum(values) / len(values)] * channels
        for key, values in found.items()
    }


def _record(start: Start, found: Match) -> dict[str, Any]:
    return {
        "weights": start.weights if start_file(start.weights) else {"file": start.file.name, **start.weights},
        "sha256": start.sha256,
        "tensors": len(found.tensors),
        "parameters": found.parameters,
        "parameters_of": found.of,
        "replaced": found.replaced,
        "adapted": found.adapted,
        "initialised": found.initialised,
        "unused": found.unused,
        "normalised": _how_normalised(start),
    }


def _how_normalised(start: Start) -> str:
    if "mean" in start.weights:
        mean, std = (", ".join(f"{value:g}" for value in start.weights[key]) for key in ("mean", "std"))
        return f"by mean {mean} and standard deviation {std}, as config.yaml says"
    return "as these weights were trained" if start.mean and start.std else BY_DATASET


def in_words(record: dict[str, Any]) -> str:
    """What `prepare_network` returned, on one line."""
    share = f"{100 * record['parameters'] / max(1, record['parameters_of']):.1f} % of the parameters outside the head"
    lists = {
        "replaced": "replaced the head",
        "adapted": "adapted to the channels",
        "initialised": "left at random",
        "unused": "not used",
    }
    named = [f"{words} ({first_few(record[key])})" for key, words in lists.items() if record[key]]
    normalised = f"images are normalised {record['normalised']}"
    if record["normalised"] == BY_DATASET:
        normalised += " (if the weights learned from others, write their mean and std next to weights in config.yaml)"
    return "; ".join([f"loaded {record['tensors']} tensors, {share}", *named, normalised])
