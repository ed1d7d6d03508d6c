"""Small training runs, in as many processes as torchrun starts of this script: for tests/unit/test_distributed.py.

    python -m torch.distributed.run --standalone --nproc-per-node 2 train_scenarios.py SCENARIOS FOLDER

SCENARIOS is JSON: {"name": {"recipe": {...}, "norm": true, ...}}. Each process writes the result of a training run to
FOLDER/<name>/<rank>.json, and its weights next to it; a run that is stopped continues in the next call.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_trainer import network, separable

from deepnets.config.recipe import Recipe
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
    """Train; return how it ended and how far it got."""
    trainer = build(
        group,
        scenario.get("recipe", {}),
        scenario.get("norm", False),
        scenario.get("dropout", 0.0),
        scenario.get("validation", 7),
        scenario.get("hidden", False),
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


def build(group: ProcessGroup, recipe: dict, norm: bool, dropout: float, validation: int, hidden: bool) -> Trainer:
    lr = {"lr": recipe.get("lr", 0.1)}  # not checked: one that no recipe may have makes training diverge at once
    recipe = Recipe(**{"epochs": 3, "batch_size": 11, **recipe, "lr": 0.1}).model_copy(update=lr)
    augmentation = Augmentation(recipe.augment, True, [0.4], [0.3], CPU)
    whole, device = separable(34 + validation), Device(CPU, recipe.precision, 1, True)
    splits = whole.subset(torch.arange(34)), whole.subset(torch.arange(34, 34 + validation))
    return Trainer(network(norm, dropout, hidden=hidden), recipe, *splits, augmentation, 7, device, group)


if __name__ == "__main__":
    main()
