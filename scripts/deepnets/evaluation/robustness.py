"""The accuracy of one trained experiment on corrupted test images: robustness.json."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepnets import models
from deepnets.config.experiment import OF_ARRAYS
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import Split
from deepnets.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from deepnets.evaluation.folding import fold_for_many
from deepnets.evaluation.network import check_trained_on, load_for_evaluation
from deepnets.evaluation.samples import sample
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, disable_malloc_trim
from deepnets.training.experiment_dir import experiment_name
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.training.inference import predict
from deepnets.training.seeds import derived_seed
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG

SCHEMA_VERSION = 1
SEED = 0  # of the images and of what is drawn for them: the same for all networks of a dataset, which are compared
# They are predicted 25 times; all of MNIST would cost more than its training.
TEST_IMAGES = 2_000


@dataclass(frozen=True)
class CorruptedSplit(Split):
    """A split whose images are corrupted when they are read, always on the CPU, so that each device gets the same."""

    kind: str = "noise"
    severity: int = 1

    def get_batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """As of `Split`; what is drawn depends on the kind, the severity and the first image."""
        images, labels = super().get_batch(index, torch.device("cpu"))
        seed = derived_seed(SEED, list(CORRUPTIONS).index(self.kind), self.severity, int(index[0]))
        corrupted = corrupt(images, self.kind, self.severity, torch.Generator().manual_seed(seed))
        return corrupted.to(device), labels.to(device)


def evaluate_robustness(job: dict, data: str | Path, output: str | Path, *, threads: int = 1, gpus: int = 1) -> None:
    """Write robustness.json of a trained experiment.

    Args:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code}.
        data: dataset.json of the prepared dataset.
        output: the experiment's folder, with model.safetensors.
        threads: CPU threads.
        gpus: 1: on a GPU, if there is one; 0: on the CPU.

    Raises:
        UserError: a file is missing or damaged, or belongs to another experiment.
    """
    disable_malloc_trim()
    name = experiment_name(job["experiment"])
    with acquire_gpus(gpus, name):
        spec, output = job["spec"], Path(output)
        weights, file = output / paths.MODEL_FILE, output / paths.ROBUSTNESS_FILE
        model, metadata, augmentation, device = load_for_evaluation(weights, spec, threads, gpus)
        images, labels, dataset_metadata = open_dataset(data, "test", spec["dataset"])
        check_trained_on(weights, metadata, dataset_metadata)
        test = Split.of_arrays(images, labels)
        norms_folded = fold_for_many(model, test, augmentation, device)
        split = test.subset(torch.from_numpy(sample(np.arange(len(labels)), TEST_IMAGES, SEED)))
        found = accuracies(model, split, augmentation, device)
        content = {
            "schema_version": SCHEMA_VERSION,
            "experiment": job["experiment"],
            "spec": spec,
            "spec_sha256": metadata["spec_sha256"],
            **{key: dataset_metadata.get(key) for key in OF_ARRAYS},
            "seed": SEED,
            "n": len(split),
            "of": len(labels),
            **found,
            "evaluated_on": {**device.describe(), "norms_folded": norms_folded},
        }
        with record_checksums("robustness", file):
            write_json(file, content)
    line = "%s: accuracy %.2f%% on %d test images, %.2f%% where they are corrupted"
    LOG.info(line, name, 100 * found["accuracy"], len(split), 100 * found["corrupted_accuracy"])


def accuracies(model: nn.Module, split: Split, augmentation: Augmentation, device: Device) -> dict:
    """Return the accuracies of a network on a split as it is and corrupted, all as fractions.

    Returns:
        accuracy: on the images as they are.
        corrupted_accuracy: the mean over all kinds and severities.
        corruptions: for each kind, by its name, the accuracies at severity 1, 2 and 3.
    """
    corruptions = {
        kind: [
            _accuracy(model, CorruptedSplit(**vars(split), kind=kind, severity=severity), augmentation, device)
            for severity in SEVERITIES
        ]
        for kind in CORRUPTIONS
    }
    return {
        "accuracy": _accuracy(model, split, augmentation, device),
        "corrupted_accuracy": float(np.mean(list(corruptions.values()))),
        "corruptions": corruptions,
    }


def _accuracy(model: nn.Module, split: Split, augmentation: Augmentation, device: Device) -> float:
    """As `deepnets.evaluation.metrics.accuracy`; each new metric changes that module, and must not repeat this job."""
    with models.own_errors():
        logits = predict(model, split, augmentation, device)
    defined = (logits < torch.inf).all(1) & (logits > -torch.inf).any(1)  # both are False for NaN
    return float(((logits.argmax(1) == split.all_labels()) & defined).double().mean())
