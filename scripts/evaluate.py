"""Evaluate one trained experiment: predictions.safetensors and metrics.json into its folder.

    python scripts/evaluate.py --job JSON --data data/digits/dataset.json \\
        --summary results/digits/resnet50/summary.json --output results/digits/resnet50/quick/seed0

The one place that reads the test part. Removes the training's saved states: only now has Snakemake noted its end.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from deepnets import models
from deepnets.config.experiment import spec_sha256
from deepnets.config.recipe import Recipe
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split, split_train_validation
from deepnets.evaluation import metrics
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import configure_device, disable_malloc_trim
from deepnets.training.experiment_dir import RESUME_FOLDER, label, load_model_file
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.inference import predict
from deepnets.utils.checksums import record_checksums, verify
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, remove_leftovers, write_json
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.tensors import save_tensors

SCHEMA_VERSION = 1
# Enough for a half-width of 0.8 points at 90 %; all of MNIST would cost a third of an epoch's training.
TRAIN_IMAGES = 5_000


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON with the experiment's names, spec and code")
    parser.add_argument("--data", required=True, help="dataset.json of the prepared dataset")
    parser.add_argument("--summary", required=True, help="summary.json of the network")
    parser.add_argument("--output", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--gpus", type=int, default=1, help="1: on a GPU; 0: on the CPU (default 1, if there is one)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    log_to(args.log)
    disable_malloc_trim()
    with acquire_gpus(args.gpus):
        evaluate(args)


def evaluate(args: argparse.Namespace) -> None:
    spec = args.job["spec"]
    recipe = Recipe(**spec["recipe"])
    remove_leftovers(args.output)
    model, facts = trained_network(args.output / "model.safetensors", spec)
    hardware = configure_device(model, "auto" if args.gpus else "cpu", recipe.precision, args.threads)
    model = model.to(hardware.device, memory_format=torch.channels_last)
    augmentation = Augmentation(recipe.augment, False, facts["mean"], facts["std"], hardware.device)

    parts, train_size = open_parts(args.data, recipe.validation_fraction, spec["seed"])
    logits = {name: predict(model, part, augmentation, hardware).numpy() for name, part in parts.items()}
    labels = {name: part.all_labels().numpy() for name, part in parts.items()}
    figures = {name: metrics.basic_metrics(logits[name], labels[name]) for name in ("train", "validation")}
    figures["train"]["of"] = train_size
    test = metrics.detailed_metrics(logits["test"], labels["test"], facts["classes"])
    warnings = metrics.warnings(**figures, validation_labels=labels["validation"], epochs=recipe.epochs)
    predictions, metrics_file = args.output / "predictions.safetensors", args.output / "metrics.json"
    with record_checksums("evaluate", predictions, metrics_file):
        save_tensors(
            predictions,
            {
                f"{name}_{kind}": torch.from_numpy(array[name])
                for name in ("test", "validation")
                for kind, array in (("logits", logits), ("labels", labels))
            },
            {"spec_sha256": facts["spec_sha256"]},
        )
        write_json(
            metrics_file,
            {
                "schema_version": SCHEMA_VERSION,
                "experiment": args.job["experiment"],
                "spec": spec,
                "spec_sha256": facts["spec_sha256"],
                "classes": facts["classes"],
                "model": read_json(args.summary),
                **figures,
                "test": test,
                "warnings": warnings,
            },
        )
    shutil.rmtree(args.output / RESUME_FOLDER, ignore_errors=True)
    name = label(args.job["experiment"])
    LOG.info("%s: test loss %.4f accuracy %.2f%% of %d images", name, test["loss"], 100 * test["accuracy"], test["n"])
    for warning in warnings:
        LOG.warning("%s: %s", name, warning)


def trained_network(path: Path, spec: dict) -> tuple[torch.nn.Module, dict]:
    """The network of model.safetensors with its weights, and the file's metadata.

    Raises:
        UserError: the file is damaged, or is of another experiment.
    """
    verify(path)
    tensors, facts = load_model_file(path)
    if facts.get("spec_sha256") != spec_sha256(spec):
        raise UserError(f"{path}: was trained with other settings; delete it and run the same command again.")
    with torch.device("meta"):  # every weight is about to be loaded: initialising them would be for nothing
        model = models.build(spec["model"], len(facts["classes"]), facts["input_shape"][0])
    model.load_state_dict(tensors, assign=True)
    return model, facts


def open_parts(data: str, validation_fraction: float, seed: int) -> tuple[dict[str, Split], int]:
    """The parts to evaluate, by name, and how many images were trained on; of many, "train" is a fixed sample."""
    images, labels, info = open_dataset(data, "train")
    whole = Split.of_arrays(images, labels)
    train_rows, validation_rows = split_train_validation(labels, validation_fraction, seed, info)
    train_size = len(train_rows)
    if train_size > TRAIN_IMAGES:
        train_rows = np.sort(np.random.default_rng(seed).choice(train_rows, TRAIN_IMAGES, replace=False))
    test_images, test_labels, _ = open_dataset(data, "test")
    parts = {
        "train": whole.select(torch.from_numpy(train_rows)),
        "validation": whole.select(torch.from_numpy(validation_rows)),
        "test": Split.of_arrays(test_images, test_labels),
    }
    return parts, train_size


if __name__ == "__main__":
    run(main)
