"""A trained network as ONNX: pixels in, logits and probabilities out, compared with the network on real images."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepnets.config.experiment import OF_ARRAYS
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.evaluation.exported import (
    INPUT,
    OUTPUTS,
    Comparison,
    Predictor,
    Source,
    compared_images,
    exporting,
    open_onnx,
    write_export,
)
from deepnets.evaluation.network import check_trained_on, load_network
from deepnets.evaluation.temperature import own_temperature
from deepnets.training.augmentation import Augmentation
from deepnets.training.experiment_dir import preprocessing
from deepnets.utils import paths
from deepnets.utils.checksums import recorded_checksum
from deepnets.utils.files import canonical_json, sha256_file
from deepnets.utils.machine import usable_cores

LARGEST_DIFFERENCE = 1e-3  # of a logit or a probability


class FromPixels(nn.Module):
    """A network with normalisation and temperature: uint8 (N, H, W, C) -> logits, probabilities, float32 (N, classes).

    The probabilities are those of the logits divided by the temperature.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, augmentation: Augmentation, temperature: float = 1.0):
        super().__init__()
        self.network, self.temperature = network, temperature
        self.register_buffer("scale", augmentation.scale)
        self.register_buffer("offset", augmentation.offset)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities of images."""
        logits = self.network(images.permute(0, 3, 1, 2).float() * self.scale + self.offset)
        return logits, (logits / self.temperature).softmax(1)


def export_experiment(job: dict, data: str | Path, output: str | Path, *, threads: int = 1) -> None:
    """Write model.onnx of a trained experiment, in float32, and compare it with the network on test images.

    Args:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code}.
        data: dataset.json of the prepared dataset.
        output: the experiment's folder, with model.safetensors, and predictions.safetensors for the temperature.
        threads: CPU threads.

    Raises:
        UserError: a file is missing, damaged or of another experiment; the network cannot be exported, or the exported
            one computes something else.
    """
    threads = min(threads, usable_cores())
    trained = load_trained(job, data, Path(output), threads)
    write_export(
        "export",
        Path(output),
        trained.source,
        lambda file: write_onnx(trained.model, trained.metadata, file, trained.source.name),
        Comparison(torch_predictor(trained.model), trained.images, LARGEST_DIFFERENCE, of_logits=True),
        open_file=open_onnx,
        threads=threads,
        precision="fp32",
    )


@dataclass(frozen=True)
class Trained:
    """A trained network with what its files say of it, and the test images that an exported file is tried on."""

    model: FromPixels
    metadata: dict
    source: Source
    images: np.ndarray


def load_trained(job: dict, data: str | Path, folder: Path, threads: int) -> Trained:
    """Load the network of an experiment, on the CPU; arguments and errors as of `export_experiment`."""
    torch.set_num_threads(threads)
    spec, weights = job["spec"], folder / paths.MODEL_FILE
    network, metadata = load_network(weights, spec)
    images, _, dataset = open_dataset(data, "test", spec["dataset"])
    check_trained_on(weights, metadata, dataset)
    augment = Recipe(**spec["recipe"]).augment
    augmentation = Augmentation(augment, False, metadata["mean"], metadata["std"], torch.device("cpu"))
    source = Source(
        experiment=job["experiment"],
        spec=spec,
        spec_sha256=metadata["spec_sha256"],
        weights_sha256=recorded_checksum(weights) or sha256_file(weights),
        **{key: dataset.get(key) for key in OF_ARRAYS},
    )
    temperature = own_temperature(folder, metadata["spec_sha256"])
    model = FromPixels(network, augmentation, temperature).eval()
    return Trained(model, metadata, source, compared_images(images))


@contextlib.contextmanager
def weights_of_size(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Give layers whose weight depends on the size of the images the weight of this one, and take it away at the end.

    An exported file has then that weight alone: VGG-16 for images of 32 px takes 131 MB instead of 537.
    """
    layers, found = [layer for layer in model.modules() if hasattr(layer, "weight_of")], {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: found.update({layer: layer.weight_of(*inputs)}))
        for layer in layers
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    whole = {layer: layer.weight for layer in found}
    for layer, weight in found.items():
        layer.weight, layer.in_features = nn.Parameter(weight), weight.shape[1]
    try:
        yield
    finally:
        for layer, weight in whole.items():
            layer.weight, layer.in_features = weight, weight.shape[1]


def torch_predictor(model: nn.Module) -> Predictor:
    """A network as torch runs it, on the CPU; `model` returns logits and probabilities."""

    def predict(images: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [found.numpy() for found in model(torch.from_numpy(images.copy()))]

    return predict


def write_onnx(model: FromPixels, metadata: dict, path: Path, name: str) -> None:
    """Write a network as ONNX.

    Args:
        model: with normalisation and temperature.
        metadata: of its weights file.
        path: the file to write.
        name: the experiment's, for messages.

    Raises:
        UserError: it does something that ONNX cannot express.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    images = example(metadata)
    with exporting(name, "ONNX"), torch.no_grad(), weights_of_size(model, images):
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=any_number(),
        )
        assert program is not None
        program.model.metadata_props.update(texts(metadata, model.temperature))
        program.save(path, external_data=False)


def example(metadata: dict) -> Tensor:
    """Two black images, as an exporter follows them through the network: uint8 (2, H, W, C)."""
    channels, height, width = metadata["input_shape"]
    return torch.zeros(2, height, width, channels, dtype=torch.uint8)


def any_number() -> dict:
    """What an exporter needs to know to allow any number of images."""
    return {INPUT: {0: torch.export.Dim("N")}}


def texts(metadata: dict, temperature: float) -> dict[str, str]:
    """What a program needs that has an exported file alone: JSON, except for the hash."""
    kept = {key: metadata[key] for key in ("spec", "input_shape", "mean", "std")}
    how = {**preprocessing(metadata["spec"].get("dataset", {})), "pixel_scale": "inside", "normalise": "inside"}
    return {
        "spec_sha256": metadata["spec_sha256"],
        "classes": json.dumps(metadata["classes"], ensure_ascii=False),
        "preprocessing": canonical_json(how),
        "temperature": canonical_json(temperature),
        **{key: canonical_json(value) for key, value in kept.items()},
    }
