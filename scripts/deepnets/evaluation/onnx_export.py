"""A trained network as ONNX: pixels in, logits and probabilities out, compared with the network on real images."""

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from deepnets.config.experiment import OF_IMAGES
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.evaluation.network import load_network
from deepnets.training.augmentation import Augmentation
from deepnets.training.experiment_dir import experiment_name, preprocessing
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, canonical_json, remove_leftovers
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.specs import check_made_by
from deepnets.utils.text import one_line

INPUT, OUTPUTS = "images", ("logits", "probabilities")
LARGEST_DIFFERENCE = 1e-3  # of a logit or a probability
TEST_IMAGES = 256  # that are compared
_BATCH, _FIRST = 32, (1, 8)  # the first batches end there: any number of images must do


class FromPixels(nn.Module):
    """A network with its normalisation inside: uint8 (N, H, W, C) -> logits and probabilities, float32 (N, classes)."""

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, augmentation: Augmentation):
        super().__init__()
        self.network = network
        self.register_buffer("scale", augmentation.scale)
        self.register_buffer("offset", augmentation.offset)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities of images."""
        logits = self.network(images.permute(0, 3, 1, 2).float() * self.scale + self.offset)
        return logits, logits.softmax(1)


def export_experiment(
    job: dict, data: str | Path, output: str | Path, *, threads: int = 1, log: str | Path | None = None
) -> None:
    """Write model.onnx of a trained experiment, in float32, and compare it with the network on test images.

    Args:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code}.
        data: dataset.json of the prepared dataset.
        output: the experiment's folder, with model.safetensors.
        threads: CPU threads.
        log: file to which the terminal's lines are appended.

    Raises:
        UserError: a file is missing, damaged or of another experiment; the network cannot be exported, or the exported
            one computes something else.
    """
    log_to(log)
    torch.set_num_threads(threads)
    spec, output, name = job["spec"], Path(output), experiment_name(job["experiment"])
    remove_leftovers(output)
    weights, file = output / paths.MODEL_FILE, output / paths.ONNX_FILE
    network, metadata = load_network(weights, spec)
    images, _, dataset_metadata = open_dataset(data, "test", spec["dataset"])
    trained_on = {key: metadata[key] for key in OF_IMAGES if key in metadata}
    check_made_by(weights, trained_on, {key: dataset_metadata.get(key) for key in trained_on})
    augmentation = Augmentation(
        Recipe(**spec["recipe"]).augment, False, metadata["mean"], metadata["std"], torch.device("cpu")
    )
    model = FromPixels(network, augmentation).eval()
    with record_checksums("export", file), atomic_path(file) as temporary:
        write_onnx(model, metadata, temporary, name)
        compared = np.asarray(images[:TEST_IMAGES])
        found = largest_difference(model, temporary, compared, threads)
        line = "%s: model.onnx differs from the network by %.1e at most, on %d test images"
        LOG.info(line, name, found, len(compared))
        if not found <= LARGEST_DIFFERENCE:  # also NaN
            raise UserError(
                f"{file}: would differ from the network by {found:.1e}, more than {LARGEST_DIFFERENCE:g}, and was not"
                f" written; use {paths.MODEL_FILE}, with scripts/predict.py or deepnets.load."
            )


def write_onnx(model: FromPixels, metadata: dict, path: Path, name: str) -> None:
    """Write a network as ONNX.

    Args:
        model: with its normalisation.
        metadata: of its weights file.
        path: the file to write.
        name: the experiment's, for messages.

    Raises:
        UserError: it does something that ONNX cannot say.
    """
    channels, height, width = metadata["input_shape"]
    example = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter about itself; and it prints what it could not read
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            )
            assert program is not None
            program.model.metadata_props.update(_texts(metadata))
            program.save(path, external_data=False)
    except OSError:
        raise
    except Exception as error:  # a network can do anything that ONNX cannot say
        cause = error.__cause__ or error  # the exporter's own error says only at which step
        reason = one_line(str(cause).strip().partition("\n")[0])[:200]
        raise UserError(
            f"{name}: this network cannot be exported to ONNX ({type(cause).__name__}: {reason}); use"
            f" {paths.MODEL_FILE}, with scripts/predict.py or deepnets.load."
        ) from None


def _texts(metadata: dict) -> dict[str, str]:
    """What a program needs that has model.onnx alone: JSON, except for the hash."""
    kept = {key: metadata[key] for key in ("spec", "input_shape", "mean", "std")}
    how = {**preprocessing(metadata["spec"].get("dataset", {})), "pixel_scale": "inside", "normalise": "inside"}
    return {
        "spec_sha256": metadata["spec_sha256"],
        "classes": json.dumps(metadata["classes"], ensure_ascii=False),
        "preprocessing": canonical_json(how),
        **{key: canonical_json(value) for key, value in kept.items()},
    }


def largest_difference(model: FromPixels, file: Path, images: np.ndarray, threads: int = 1) -> float:
    """The largest difference between the logits and probabilities of a network and of its file in onnxruntime.

    Args:
        model: with its normalisation.
        file: model.onnx.
        images: uint8 (N, H, W, C); they are given in batches of several sizes.
        threads: CPU threads.

    Raises:
        UserError: onnxruntime does not run the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    difference = 0.0
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for batch in np.split(images, [*_FIRST, *range(_BATCH, len(images), _BATCH)]):
            if len(batch):
                found = session.run(list(OUTPUTS), {INPUT: batch})
                with torch.inference_mode():
                    expected = model(torch.from_numpy(batch.copy()))
                differences = [np.abs(a - b.numpy()).max() for a, b in zip(found, expected, strict=True)]
                difference = float(np.max([difference, *differences]))  # NaN stays
    except Exception as error:  # onnxruntime's errors have no common class
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UserError(
            f"{paths.ONNX_FILE}: onnxruntime does not run it ({one_line(str(error))[:200]}); use {paths.MODEL_FILE}."
        ) from None
    return difference
