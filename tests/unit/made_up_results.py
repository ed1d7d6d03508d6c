"""Made-up results of experiments, for tests of what reads results: no training."""

import csv
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.stats import binomtest

from deepnets.comparison import statistics
from deepnets.evaluation.confidence import probabilities_of, surprises
from deepnets.evaluation.history import HISTORY_COLUMNS
from deepnets.evaluation.metrics import basic_metrics, detailed_metrics, predicted_classes
from deepnets.utils import paths
from deepnets.utils.files import canonical_json, read_json, sha256_text, write_json

ARCHITECTURES = {  # parameters, size in MB
    "vgg16": (134_308_810, 541.73),
    "inception_v3": (21_805_226, 91.03),
    "resnet50": (23_519_690, 105.99),
    "mobilenet_v2": (1_814_346, 9.11),
}
RECIPE = {
    "epochs": 8,
    "batch_size": 64,
    "optimizer": "sgd",
    "lr": 0.05,
    "clip_norm": None,
    "augment": {"rotation": 10.0, "horizontal_flip": True, "mixup": 0.0},
}

FOLDS = [150, 130, 120]  # test images of each fold

# Of an exported file: where it was measured, and what its accuracy became.
MEASURED_ON = {"device": "cpu", "device_name": "Some CPU", "threads": 4, "precision": "int8"}
LOST = {"validation": {"n": 144, "float32_accuracy": 0.97, "accuracy": 0.95, "lost": 0.02}}


def write_experiment(
    results: Path,
    dataset: str = "digits",
    model: str = "resnet50",
    recipe: str = "quick",
    seed: int = 0,
    *,
    accuracy: float = 0.97,
    validation_accuracy: float | None = None,
    n_test: int = 360,
    classes: list[str] | None = None,
    epochs: int = 8,
    lr: float = 0.05,
    wall_seconds: float = 60.0,
    warnings: list[str] | None = None,
    architecture: str | None = None,
    device_name: str = "Some CPU",
    threads: int = 2,
    flips: bool = True,
) -> Path:
    """Write what train and evaluate leave; return the directory. Unless given, validation accuracy is as on test."""
    rng = np.random.default_rng([seed, len(model), n_test])
    directory = results / dataset / model / recipe / f"seed{seed}"
    classes = classes or [str(digit) for digit in range(10)]
    architecture = architecture or (model if model in ARCHITECTURES else "resnet50")
    names = {"dataset": dataset, "model": model, "recipe": recipe, "seed": seed}
    recipe_spec, dataset_spec = {**RECIPE, "epochs": epochs, "lr": lr}, {"source": dataset, "horizontal_flip": flips}
    spec = {"dataset": dataset_spec, "model": {"architecture": architecture}, "recipe": recipe_spec, "seed": seed}
    on_validation = accuracy if validation_accuracy is None else validation_accuracy
    true = np.arange(n_test) % len(classes)
    predicted = _predicted(rng, accuracy, true, len(classes))
    metrics = {
        "schema_version": 1,
        "experiment": names,
        "spec": spec,
        "spec_sha256": sha256_text(canonical_json(spec)),
        "classes": classes,
        "model": _network_facts(architecture),
        "weights_bytes": 4 * ARCHITECTURES[architecture][0] + 5_000,
        "train": {"n": 1293, "loss": 0.01447, "accuracy": 0.9958},
        "validation": {"n": 144, "loss": 0.05, "accuracy": on_validation, "balanced_accuracy": on_validation},
        "test": _test_metrics(true, predicted, accuracy, classes),
        "warnings": warnings or [],
    }
    write_json(directory / "metrics.json", metrics)
    write_predictions(directory, true, predicted, len(classes))
    write_robustness(directory, accuracy, n_test)
    write_latency(directory, seconds=ARCHITECTURES[architecture][0] / 1e10)
    _write_history(directory / "history.csv", rng, accuracy, epochs, wall_seconds)
    write_json(directory / "timing.json", _timing(device_name, threads, epochs, wall_seconds))
    return directory


def _network_facts(architecture: str) -> dict:
    parameters, size_mb = ARCHITECTURES[architecture]
    return {
        "parameters": parameters,
        "trainable_parameters": parameters,
        "mult_adds": 10**8,
        "size_mb": size_mb,
        "weights_mb": parameters * 4 / 1e6,
        "input_size": [1, 1, 28, 28],
        "grad_cam": True,
    }


def _timing(device_name: str, threads: int, epochs: int, wall_seconds: float) -> dict:
    return {
        "device": "cpu",
        "device_name": device_name,
        "precision": "fp32",
        "threads": threads,
        "deterministic": True,
        "accumulation": 1,
        "train_seconds": 0.9 * wall_seconds,
        "wall_seconds": wall_seconds,
        "cpu_seconds": 0.9 * threads * wall_seconds,
        "images_per_second": 1293 * epochs / wall_seconds,
        "peak_memory_mb": 900.5,
        "resumed_from_epochs": [],
        "versions": {"python": "3.12.1", "torch": "2.15.0"},
    }


def _predicted(rng: np.random.Generator, accuracy: float, true: np.ndarray, classes: int) -> np.ndarray:
    predicted, n = true.copy(), len(true)
    wrong = rng.permutation(n)[: n - round(accuracy * n)]
    predicted[wrong] = (true[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return predicted


def write_predictions(
    directory: Path, true: np.ndarray, predicted: np.ndarray, classes: int, files: list[str] | None = None
) -> None:
    """Write predictions.safetensors of an experiment that predicts each image with the same confidence.

    The validation images are the first ones. `files`: the names of the test images.
    """
    logits = (5 * np.eye(classes)[predicted]).astype(np.float32)
    content = {"test_logits": logits, "test_labels": true.astype(np.int64)}
    content |= {"validation_logits": logits[:144], "validation_labels": content["test_labels"][:144]}
    content |= made_up_examples(content["test_logits"], content["test_labels"])
    metadata = {"spec_sha256": read_json(directory / "metrics.json")["spec_sha256"]}
    metadata |= {} if files is None else {"test_files": json.dumps(files)}
    save_file(content, directory / "predictions.safetensors", metadata)


def write_robustness(directory: Path, accuracy: float, n_test: int) -> None:
    """Write robustness.json, which only some studies have: each severity costs a tenth of the accuracy."""
    corruptions = {kind: [accuracy * (1 - share / 10) for share in (1, 2, 3)] for kind in ("noise", "jpeg")}
    content = {"spec_sha256": read_json(directory / "metrics.json")["spec_sha256"], "n": n_test, "of": n_test}
    content |= {"accuracy": accuracy, "corrupted_accuracy": 0.8 * accuracy, "corruptions": corruptions}
    write_json(directory / "robustness.json", content)


def write_latency(directory: Path, seconds: float) -> None:
    """Write the network's latency.json, which only some studies have."""
    metrics = read_json(directory / "metrics.json")
    spec = {"model": metrics["spec"]["model"], "input_shape": [1, 28, 28], "num_classes": len(metrics["classes"])}
    measured_on = {"device": "cpu", "device_name": "Some CPU", "precision": "fp32", "threads": 4}
    content = {"latency": {"median_seconds": seconds, "p95_seconds": 2 * seconds}}
    content |= {"throughput": {"batch": 128, "images_per_second": 5 / seconds}}
    write_json(directory.parents[1] / "latency.json", {"spec": spec, **content, "measured_on": measured_on})


def write_exported(directory: Path, stage: str, **changes) -> Path:
    """Write what a stage leaves in the folder of a made-up experiment; return the JSON file."""
    file, record = (directory / name for name in paths.EXPORTS[stage])
    content = {
        "spec_sha256": read_json(directory / "metrics.json")["spec_sha256"],
        "weights_sha256": "0" * 64,
        "file": file.name,
        "bytes": 2_500_000,
        "latency": {"median_seconds": 0.0012, "p95_seconds": 0.002},
        "measured_on": MEASURED_ON,
        "largest_difference": 0.0015,
    }
    content |= changes
    with open(file, "wb") as network:
        network.truncate(content["bytes"])
    write_json(record, content)
    return record


def made_up_examples(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The test images that evaluation keeps: here, grey ones."""
    found = surprises(probabilities_of(logits).max(1), predicted_classes(logits) == labels, 60, 5)
    index = np.concatenate(found)
    return {"example_index": index, "example_images": np.full((len(index), 1, 8, 8), 100, np.uint8)}


def _test_metrics(true: np.ndarray, predicted: np.ndarray, accuracy: float, classes: list[str]) -> dict:
    n = len(true)
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (true, predicted), 1)
    correct, named, there = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    precision, recall = correct / np.maximum(named, 1), correct / np.maximum(there, 1)
    f1 = 2 * correct / np.maximum(named + there, 1)
    interval = binomtest(int(correct.sum()), n).proportion_ci(0.95, "wilson")
    return {
        "n": n,
        "loss": float(2.3 * (1 - accuracy) + 0.01),
        "accuracy": float(correct.sum() / n),
        "balanced_accuracy": float(recall[there > 0].mean()),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        "accuracy_ci95": [interval.low, interval.high],
        "ece": 0.011,
        "per_class": [
            {"class": name, "n": int(there[i]), "precision": precision[i], "recall": recall[i], "f1": f1[i]}
            for i, name in enumerate(classes)
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _write_history(path: Path, rng: np.random.Generator, accuracy: float, epochs: int, wall_seconds: float) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        for epoch in range(1, epochs + 1):
            done = epoch / epochs
            gap = np.exp(-5 * done) * 0.8
            writer.writerow(
                [
                    epoch,
                    round(0.05 * min(5 * done, 1.25 * (1 - done)), 6),
                    round(0.02 + 2.5 * gap, 5),
                    round(accuracy * (1 - gap) + 0.003, 5),
                    round(0.05 + 2.4 * gap + rng.uniform(0, 0.05), 5),
                    round(accuracy * (1 - gap * rng.uniform(0.9, 1.1)), 5),
                    round(wall_seconds / epochs, 3),
                    round(1293 * epochs / wall_seconds, 1),
                ]
            )


def write_statistics(root: Path, *directories: Path, margin: float = 0.005, suffix: str = "") -> dict[str, Path]:
    """Compare experiments, each given by its directory below `root`; return the statistics.json of each dataset."""
    of_datasets: dict[str, list[str]] = {}
    for directory in directories:
        of_datasets.setdefault(directory.parts[-4], []).append(directory.relative_to(root).as_posix())
    written = {}
    for dataset, experiments in of_datasets.items():
        written[dataset] = root / paths.STATISTICS.format(dataset=dataset, suffix=suffix)
        spec = {"dataset": dataset, "experiments": experiments, "margin": margin}
        statistics.write_statistics({"spec": spec}, root, written[dataset])
    return written


def predict(directory: Path, skill: float) -> None:
    """Let an experiment have logits with noise, more often right for a larger `skill`, and the metrics of these."""
    file, metrics = directory / paths.PREDICTIONS_FILE, read_json(directory / paths.METRICS_FILE)
    arrays, classes = load_file(file), len(metrics["classes"])
    arrays["validation_labels"] = np.arange(144) % classes  # also where there are fewer test images
    rng = np.random.default_rng([int(100 * skill), int(directory.name[-1]), len(directory.parent.name)])
    shared = np.random.default_rng(0)  # images that are hard for one network are hard for the others, too
    for split in ("test", "validation"):
        labels = arrays[f"{split}_labels"]
        shape = len(labels), classes
        noise = 0.7 * shared.normal(size=shape) + rng.normal(size=shape)
        arrays[f"{split}_logits"] = logits = (skill * np.eye(classes)[labels] + noise).astype(np.float32)
        metrics[split] = (
            detailed_metrics(logits, labels, metrics["classes"])
            if split == "test"
            else basic_metrics(logits, labels, split)
        )
    save_file(arrays, file, {"spec_sha256": metrics["spec_sha256"]})
    write_json(directory / paths.METRICS_FILE, metrics)
    accuracy = metrics["test"]["accuracy"]
    kinds = {"noise": [0.9 * accuracy, 0.7 * accuracy, 0.31], "jpeg": [0.95 * accuracy, 0.8 * accuracy, 0.52]}
    robustness = read_json(directory / paths.ROBUSTNESS_FILE) | {"accuracy": accuracy, "corruptions": kinds}
    robustness["corrupted_accuracy"] = float(np.mean([*kinds.values()]))
    write_json(directory / paths.ROBUSTNESS_FILE, robustness)


def write_in_fold(results: Path, dataset: str, model: str, recipe: str, seed: int, skill: float) -> Path:
    """Write an experiment with such logits that is of the fold that its seed chooses; each has other test images."""
    fold = seed % len(FOLDS)
    directory = write_experiment(results, dataset, model, recipe, seed, n_test=FOLDS[fold])
    metrics = read_json(directory / paths.METRICS_FILE)
    metrics["spec"]["dataset"] |= {"folds": len(FOLDS), "fold": fold}
    metrics["spec_sha256"] = sha256_text(canonical_json(metrics["spec"]))
    write_json(directory / paths.METRICS_FILE, metrics)
    write_robustness(directory, metrics["test"]["accuracy"], FOLDS[fold])
    predict(directory, skill + 0.1 * fold)
    return directory
