"""model.onnx in int8: static quantisation, calibrated on training images, with the accuracy that it costs."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    MinMaxCalibrater,
    QuantType,
    quant_pre_process,
    quantize_static,
    save_tensors_data,
)

from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import split_train_validation
from deepnets.evaluation.exported import (
    BATCH,
    INPUT,
    SEED,
    Comparison,
    Predictor,
    accuracy,
    exporting,
    open_onnx,
    open_source,
    session_options,
    write_export,
)
from deepnets.evaluation.samples import sample
from deepnets.utils import paths
from deepnets.utils.logging import LOG
from deepnets.utils.machine import usable_cores

CALIBRATION_IMAGES, VALIDATION_IMAGES = 256, 10_000
MOST_LOST = 0.01  # of the accuracy, without a warning

# Layers with weights, and what passes their numbers on without rounding. All else stays in float32: normalisation,
# softmax, sums, and products of two activations, as in attention.
_WITH_WEIGHTS = ["Conv", "Gemm", "MatMul"]
_QUANTISED = [*_WITH_WEIGHTS, "Relu", "Clip", "MaxPool", "AveragePool", "Concat"]


def export_int8(job: dict, data: str | Path, output: str | Path, *, threads: int = 1) -> None:
    """Write model_int8.onnx of an experiment, and model_int8.json with the accuracy lost on validation images.

    Arguments as of `deepnets.evaluation.onnx_export.export_experiment`.

    Raises:
        UserError: a file is missing, damaged or of another experiment; or the network cannot be quantised.
    """
    threads, folder, spec = min(threads, usable_cores()), Path(output), job["spec"]
    source, tested, in_float32 = open_source(job, data, folder, threads)
    images, labels, dataset = open_dataset(data, "train", spec["dataset"])
    recipe = Recipe(**spec["recipe"])
    train, validation = split_train_validation(labels, recipe.validation_fraction, spec["seed"], dataset)
    calibration, validation = sample(train, CALIBRATION_IMAGES, SEED), sample(validation, VALIDATION_IMAGES, SEED)
    network, of_calibration = folder / paths.ONNX_FILE, images[calibration]

    def measure(predictor: Predictor) -> dict:
        before, after = (accuracy(each, images, labels, validation) for each in (in_float32, predictor))
        found = {"n": len(validation), "float32_accuracy": before, "accuracy": after, "lost": before - after}
        noticed = warnings(len(validation), before, after)
        return {"calibration_images": len(calibration), "validation": found, "warnings": noticed}

    content = write_export(
        "export_int8",
        folder,
        source,
        partial(write_int8, network, images=of_calibration, threads=threads, name=source.name),
        Comparison(in_float32, tested, most=1.0),  # any: what counts is the accuracy
        open_file=open_onnx,
        threads=threads,
        precision="int8",
        measure=measure,
    )
    found = content["validation"]
    line = "%s: accuracy in int8 %.2f%%, in float32 %.2f%%, on %d validation images"
    LOG.info(line, source.name, 100 * found["accuracy"], 100 * found["float32_accuracy"], found["n"])
    for warning in content["warnings"]:
        LOG.warning("%s: %s", source.name, warning)


def warnings(n: int, before: float, after: float) -> list[str]:
    """What a user must know of the accuracy in float32 and in int8, both fractions of `n` validation images."""
    if round(before - after, 9) <= MOST_LOST:
        return []
    return [
        f"model_int8.onnx loses {100 * (before - after):.2f} points of accuracy on {n:,} validation images"
        f" ({100 * before:.2f} % to {100 * after:.2f} %), more than {100 * MOST_LOST:g};"
        " model_fp16.onnx or model.onnx is the safer choice"
    ]


def write_int8(network: Path, path: Path, *, images: np.ndarray, threads: int, name: str) -> None:
    """Quantise a file in float32: QDQ format, weights per channel.

    Weights have 7 bits, because processors without VNNI instructions could leave the range of their 16-bit sums with 8,
    and then give other results than this one.

    Args:
        network: model.onnx.
        path: the file to write.
        images: to calibrate on, uint8 (N, H, W, C).
        threads: CPU threads.
        name: the experiment's, for messages.

    Raises:
        UserError: it cannot be quantised.
    """
    with exporting(name, "int8"), TemporaryDirectory() as temporary:
        prepared, ranges = Path(temporary) / "prepared.onnx", Path(temporary) / "ranges.json"
        # Types of all tensors. The exporter has optimised the network.
        quant_pre_process(network, prepared, skip_optimization=True, skip_symbolic_shape=True)
        _calibrate(prepared, ranges, images, threads)
        original = onnx.load(network)
        quantize_static(
            prepared,
            path,
            calibration_cache_path=ranges,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=_without_weights(original.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # So logits are not rounded to 256 values.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        quantised = onnx.load(path)
        texts = {entry.key: entry.value for entry in original.metadata_props}
        onnx.helper.set_model_props(quantised, {**texts, "precision": "int8"})  # without the quantiser's own
        onnx.save(quantised, path)


def _without_weights(graph: onnx.GraphProto) -> list[str]:
    """The names of layers whose weights are computed, or that multiply two activations."""
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type in _WITH_WEIGHTS and not weights & {*node.input[:2]}]


def _calibrate(prepared: Path, ranges: Path, images: np.ndarray, threads: int) -> None:
    """Write the smallest and the largest value of each activation, in the form that `quantize_static` reads.

    `quantize_static` would do it with all cores of the machine, whatever the job was given.
    """
    calibrater = MinMaxCalibrater(prepared, _QUANTISED, prepared.with_name("augmented.onnx"))
    calibrater.augment_graph()
    options = session_options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    calibrater.infer_session = onnxruntime.InferenceSession(
        calibrater.augmented_model_path, options, providers=["CPUExecutionProvider"]
    )
    calibrater.collect_data(_Batches(images))
    save_tensors_data(calibrater.compute_data(), ranges)


class _Batches:
    """Images as onnxruntime's calibration asks for them."""

    def __init__(self, images: np.ndarray):
        self.batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}
