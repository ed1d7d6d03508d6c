"""Evaluate one trained experiment: predictions and metrics of the training, validation and test splits.

Besides, only robustness reads the test split, and an export some of it, to compare the two networks.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deepnets import models
from deepnets.config.experiment import OF_ARRAYS, PLAIN
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split, split_train_validation
from deepnets.evaluation import advice, metrics
from deepnets.evaluation.examples import keep_examples
from deepnets.evaluation.folding import fold_for_many
from deepnets.evaluation.history import read_history
from deepnets.evaluation.network import check_trained_on, load_for_evaluation
from deepnets.evaluation.prediction_table import write_prediction_table
from deepnets.evaluation.samples import sample
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, disable_malloc_trim
from deepnets.training.experiment_dir import experiment_name, handed_over_logits
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.inference import predict
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json
from deepnets.utils.logging import LOG
from deepnets.utils.specs import check_made_by
from deepnets.utils.tensors import save_tensors

SCHEMA_VERSION = 1
# Enough to see that a network learned too little (a half-width of 2.6 points at 90 %); all of MNIST would cost a third
# of an epoch's training.
TRAIN_IMAGES = 500


def evaluate_experiment(
    job: dict,
    data: str | Path,
    summary: str | Path,
    output: str | Path,
    *,
    threads: int = 1,
    gpus: int = 1,
) -> None:
    """Write predictions and metrics.json of a trained experiment, and remove its checkpoints.

    The checkpoints are removed here, because Snakemake has already recorded that the training run ended.

    Args:
        job: {"experiment": its names, "spec": its spec, "test_time_augmentation": "none" or "mirror", "code": digests
            of the code}.
        data: dataset.json of the prepared dataset.
        summary: summary.json of the network.
        output: the experiment's folder, with model.safetensors.
        threads: CPU threads.
        gpus: 1: on a GPU, if there is one; 0: on the CPU.

    Raises:
        UserError: a file is missing or damaged, or belongs to another experiment.
    """
    disable_malloc_trim()
    with acquire_gpus(gpus, experiment_name(job["experiment"])):
        _evaluate(job, data, summary, Path(output), threads, gpus)


def _evaluate(job: dict, data: str | Path, summary: str | Path, output: Path, threads: int, gpus: int) -> None:
    spec, name = job["spec"], experiment_name(job["experiment"])
    recipe = Recipe(**spec["recipe"])
    weights = output / paths.MODEL_FILE
    model, metadata, augmentation, device = load_for_evaluation(weights, spec, threads, gpus)
    splits, trained, dataset_metadata = open_splits(data, recipe.validation_fraction, spec["seed"], spec["dataset"])
    check_trained_on(weights, metadata, dataset_metadata)
    network = _read_summary(Path(summary), spec, dataset_metadata)
    chosen = {key: job.get(key, value) for key, value in PLAIN.items()}
    logits, mirrored, norms_folded = _predictions(
        model, splits, augmentation, device, handed_over_logits(output), mirror=chosen != PLAIN
    )
    labels = {split: images.all_labels().numpy() for split, images in splits.items()}
    basic = {split: metrics.basic_metrics(logits[split], labels[split], split) for split in ("train", "validation")}
    basic["train"]["of"] = len(trained)
    if "validation_rows" in dataset_metadata:
        basic["validation"]["from_dataset"] = True
    test = metrics.detailed_metrics(logits["test"], labels["test"], metadata["classes"])
    averaged = _mirror_averaged(logits, mirrored, labels) if mirrored else {}
    not_finite = {split: int((~np.isfinite(metrics.losses(logits[split], labels[split]))).sum()) for split in splits}
    history = read_history(output / paths.HISTORY_FILE)
    warnings = advice.warnings(**basic, labels=labels | {"train": trained}, history=history, not_finite=not_finite)

    names = (paths.PREDICTIONS_FILE, paths.PREDICTION_TABLE_FILE, paths.METRICS_FILE)
    predictions, table, metrics_file = (output / name for name in names)
    with record_checksums("evaluate", predictions, table, metrics_file):
        _save_predictions(predictions, table, logits, labels, splits["test"], {**dataset_metadata, **metadata})
        write_json(
            metrics_file,
            {
                "schema_version": SCHEMA_VERSION,
                "experiment": job["experiment"],
                "spec": spec,
                "spec_sha256": metadata["spec_sha256"],
                **chosen,
                **{key: dataset_metadata.get(key) for key in OF_ARRAYS},
                "classes": metadata["classes"],
                "model": network,
                "weights_bytes": weights.stat().st_size,
                **basic,
                "test": test,
                **averaged,
                "warnings": warnings,
                "started_from": metadata.get("started_from"),
                "evaluated_on": {**device.describe(), "norms_folded": norms_folded},
            },
        )
    shutil.rmtree(output / paths.CHECKPOINTS, ignore_errors=True)
    _log(name, test, warnings)


def _log(name: str, test: dict, warnings: list[str]) -> None:
    loss = "not finite" if test["loss"] is None else f"{test['loss']:.4f}"
    LOG.info("%s: test loss %s accuracy %.2f%% of %d images", name, loss, 100 * test["accuracy"], test["n"])
    for warning in warnings:
        LOG.warning("%s: %s", name, warning)


def _predictions(
    model: nn.Module,
    splits: dict[str, Split],
    augmentation: Augmentation,
    device: Device,
    handed_over: torch.Tensor | None,
    *,
    mirror: bool,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """The logits of each split, float32 (N, C); of mirrored validation and test images, if asked for; norms folded.

    Validation images come first, by the network as it was trained, as those that training handed over.
    """

    def logits(split: str, mirrored: bool = False) -> np.ndarray:
        return predict(model, splits[split], augmentation, device, mirrored=mirrored).numpy()

    found, of_mirrored = dict[str, np.ndarray](), dict[str, np.ndarray]()
    with models.own_errors():
        found["validation"] = logits("validation") if handed_over is None else handed_over.numpy()
        if mirror:
            of_mirrored["validation"] = logits("validation", mirrored=True)
        norms_folded = fold_for_many(model, splits["test"], augmentation, device)
        found |= {split: logits(split) for split in ("train", "test")}
        if mirror:
            of_mirrored["test"] = logits("test", mirrored=True)
    return found, of_mirrored, norms_folded


def _mirror_averaged(
    logits: dict[str, np.ndarray], mirrored: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> dict[str, dict]:
    """The entry of metrics.json about the mean of the probabilities of each image and of its mirror image."""
    averaged = {split: metrics.average(logits[split], found) for split, found in mirrored.items()}
    return {
        "mirror_averaged": {
            "validation": metrics.basic_metrics(averaged["validation"], labels["validation"], "validation"),
            "test": metrics.metrics_of_test(averaged["test"], labels["test"]),
        }
    }


def _save_predictions(
    path: Path,
    table: Path,
    logits: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    test: Split,
    metadata: dict,
) -> None:
    """Write predictions.safetensors (logits and labels of two splits, and some of the test images), and the table.

    The metadata of the first are those of `metadata` under the keys spec_sha256 and, if the images were files,
    test_files.
    """
    tensors = {
        f"{split}_{kind}": torch.from_numpy(arrays[split])
        for split in ("test", "validation")
        for kind, arrays in (("logits", logits), ("labels", labels))
    }
    examples = keep_examples(logits["test"], labels["test"], test)
    kept = {key: metadata[key] for key in ("spec_sha256", "test_files") if key in metadata}
    save_tensors(path, tensors | examples, kept)
    write_prediction_table(table, logits["test"], labels["test"], metadata["classes"], metadata.get("test_files"))


def _read_summary(path: Path, spec: dict, dataset_metadata: dict) -> dict:
    """The content of summary.json, without its spec.

    Raises:
        UserError: the file is missing or damaged, or of another network.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged; delete it.")
    found = content.pop("spec", None)
    expected = {
        "model": spec["model"],
        "input_shape": dataset_metadata["input_shape"],
        "num_classes": len(dataset_metadata["classes"]),
    }
    check_made_by(path, found, expected)
    return content


def open_splits(
    data: str | Path, validation_fraction: float, seed: int, dataset_spec: dict | None = None
) -> tuple[dict[str, Split], np.ndarray, dict]:
    """The splits to evaluate, by name, the labels of all training images, and the content of dataset.json.

    Of more than TRAIN_IMAGES training images, "train" is a fixed random sample.
    """
    images, labels, dataset_metadata = open_dataset(data, "train", dataset_spec)
    both = Split.of_arrays(images, labels)
    train_rows, validation_rows = split_train_validation(labels, validation_fraction, seed, dataset_metadata)
    trained = labels[train_rows]
    train_rows = sample(train_rows, TRAIN_IMAGES, seed)
    test_images, test_labels, _ = open_dataset(data, "test", dataset_spec)
    splits = {
        "train": both.subset(torch.from_numpy(train_rows)),
        "validation": both.subset(torch.from_numpy(validation_rows)),
        "test": Split.of_arrays(test_images, test_labels),
    }
    return splits, trained, dataset_metadata
