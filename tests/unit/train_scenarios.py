"""Small trainings, in as many processes as torchrun has started of this script: for tests/unit/test_distributed.py.

    python -m torch.distributed.run --standalone --nproc-per-node 2 train_scenarios.py SCENARIOS FOLDER

SCENARIOS is JSON: {"name": {"recipe": {...}, "norm": true, ...}}. Each process leaves what came out of a training in
FOLDER/<name>/<rank>.json, and its weights beside it; a training that is stopped goes on in the next call.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import Device
from deepnets.training.distributed import SINGLE_PROCESS, ProcessGroup, connected
from deepnets.training.launch import is_launched, process_group
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.errors import UserError

CPU = torch.device("cpu")


def main() -> None:
    scenarios, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if not is_launched():
        train_all(scenarios, folder, SINGLE_PROCESS)
        return
    group = process_group()
    with connected(group, cuda=False):
        train_all(scenarios, folder, group)


def train_all(scenarios: dict, folder: Path, group: ProcessGroup) -> None:
    for name, scenario in scenarios.items():
        out = folder / name
        out.mkdir(parents=True, exist_ok=True)
        group.barrier()
        (out / f"{group.rank}.json").write_text(json.dumps(train(scenario, out, group)))


def train(scenario: dict, folder: Path, group: ProcessGroup) -> dict:
    """Train, and say how it ended and where it then stood."""
    trainer = build(
        group,
        scenario.get("recipe", {}),
        scenario.get("norm", False),
        scenario.get("dropout", 0.0),
        scenario.get("validation", 7),
    )
    checkpoints = CheckpointDir(folder / "states", "key", lambda line: None)
    if not group.is_main:
        checkpoints.save = refuse_to_write
    stop_after, stopped_rank = scenario.get("stop_after"), scenario.get("stopped_rank", 0)
    asked = iter(range(1, 1000))
    said, ended = [], "finished"
    try:
        network = trainer.fit(
            checkpoints, said.append, lambda: next(asked) == stop_after and group.rank == stopped_rank
        )
        save_file(
            {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
            folder / f"{group.rank}.safetensors",
        )
    except Interrupted:
        ended = "interrupted"
    except UserError as error:
        ended = str(error)
    return {"ended": ended, "progress": asdict(trainer.progress), "accumulation": trainer.accumulation}


def refuse_to_write(*_arguments) -> None:
    raise AssertionError("only the first process writes")


def build(group: ProcessGroup, recipe: dict, norm: bool, dropout: float, validation: int) -> Trainer:
    recipe = Recipe(**{"epochs": 3, "batch_size": 11, "lr": 0.1, **recipe})
    augmentation = Augmentation(recipe.augment, True, [0.4], [0.3], CPU)
    whole, device = separable(34 + validation), Device(CPU, recipe.precision, 1, True)
    splits = whole.subset(torch.arange(34)), whole.subset(torch.arange(34, 34 + validation))
    return Trainer(network(norm, dropout), recipe, *splits, augmentation, 7, device, group)


def network(norm: bool, dropout: float) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.Dropout(dropout), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def separable(n: int) -> Split:
    """Noisy images of 6x6, each class bright in a corner of its own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    images = rng.integers(100, size=(n, 6, 6, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 80
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


if __name__ == "__main__":
    main()
