"""A trained network as a program of torch.export: model.pt2 needs torch, but not this project."""

import json
import warnings
from functools import partial
from pathlib import Path

import torch

from deepnets.evaluation.exported import Comparison, Predictor, exporting, write_export
from deepnets.evaluation.onnx_export import (
    LARGEST_DIFFERENCE,
    FromPixels,
    any_number,
    example,
    load_trained,
    texts,
    torch_predictor,
    weights_of_size,
)
from deepnets.utils.machine import usable_cores

METADATA = "metadata.json"  # in the file


def export_program(job: dict, data: str | Path, output: str | Path, *, threads: int = 1) -> None:
    """Write model.pt2 of a trained experiment, in float32, and compare it with the network on test images.

    Arguments as of `deepnets.evaluation.onnx_export.export_experiment`.

    Raises:
        UserError: a file is missing, damaged or of another experiment; the network cannot be exported, or the exported
            one computes something else.
    """
    threads, folder = min(threads, usable_cores()), Path(output)
    trained = load_trained(job, data, folder, threads)
    write_export(
        "export_program",
        folder,
        trained.source,
        partial(write_program, trained.model, trained.metadata, name=trained.source.name),
        Comparison(torch_predictor(trained.model), trained.images, LARGEST_DIFFERENCE, of_logits=True),
        open_file=open_program,
        threads=threads,
        precision="fp32",
        runtime="torch",
    )


def write_program(model: FromPixels, metadata: dict, path: Path, name: str) -> None:
    """Write a network as a program of torch.export.

    Args:
        model: with normalisation and temperature.
        metadata: of its weights file.
        path: the file to write; its name ends with .pt2.
        name: the experiment's, for messages.

    Raises:
        UserError: torch.export cannot follow it.
    """
    images = example(metadata)
    with exporting(name, "torch.export"), torch.no_grad(), weights_of_size(model, images):
        program = torch.export.export(model, (images,), dynamic_shapes=any_number())
        torch.export.save(program, path, extra_files={METADATA: json.dumps(texts(metadata, model.temperature))})


def open_program(path: Path, threads: int = 1) -> Predictor:
    """Open a program of torch.export, on the CPU.

    The file must be from a source that you trust: torch unpickles parts of it.
    """
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        return torch_predictor(torch.export.load(path).module())
