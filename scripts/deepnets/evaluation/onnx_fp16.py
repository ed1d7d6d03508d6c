"""model.onnx in half precision: float16 weights and arithmetic, the same input and outputs."""

from functools import partial
from pathlib import Path

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from deepnets.evaluation.exported import Comparison, exporting, open_onnx, open_source, write_export
from deepnets.utils import paths
from deepnets.utils.machine import usable_cores

# Of a probability. Near 1, neighbouring float16 numbers are 0.0005 apart, and the layers' roundings add up.
LARGEST_DIFFERENCE = 0.02


def export_fp16(job: dict, data: str | Path, output: str | Path, *, threads: int = 1) -> None:
    """Write model_fp16.onnx of an experiment, and compare it with model.onnx on test images.

    Arguments as of `deepnets.evaluation.onnx_export.export_experiment`.

    Raises:
        UserError: a file is missing, damaged or of another experiment; the network cannot be converted, or computes
            something else in half precision.
    """
    threads, folder = min(threads, usable_cores()), Path(output)
    source, images, in_float32 = open_source(job, data, folder, threads)
    write_export(
        "export_fp16",
        folder,
        source,
        partial(write_fp16, folder / paths.ONNX_FILE, name=source.name),
        Comparison(in_float32, images, LARGEST_DIFFERENCE),
        open_file=open_onnx,
        threads=threads,
        precision="fp16",
    )


def write_fp16(network: Path, path: Path, name: str) -> None:
    """Convert a file in float32.

    Args:
        network: model.onnx.
        path: the file to write.
        name: the experiment's, for messages.

    Raises:
        UserError: it cannot be converted.
    """
    with exporting(name, "half precision"):
        # It is the float32 file that is converted, because batch normalisation is already part of its weights: their
        # variances can be beyond the range of float16.
        model = convert_float_to_float16(onnx.load(network), keep_io_types=True)
        texts = {entry.key: entry.value for entry in model.metadata_props}
        onnx.helper.set_model_props(model, {**texts, "precision": "fp16"})
        ONNXModel(model).save_model_to_file(path)  # in an order that each program reads
