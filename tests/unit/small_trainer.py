"""A small training run for tests of the trainer: a convolution and a linear layer learn 40 images of 6x6 pixels."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import Device
from deepnets.training.trainer import Interrupted, Trainer

CPU = torch.device("cpu")
DEVICE = Device(CPU, "fp32", threads=1, deterministic=True)
MEAN, STD = 0.4, 0.3
TIMES = {"seconds", "images_per_second"}


def network(norm: bool = True, dropout: float = 0.0, seed: int = 0, hidden: bool = False) -> nn.Module:
    """Return the network, for three classes; `hidden` adds a convolution between the first and the last layer."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.Dropout(dropout), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU()]
    layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()] if hidden else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def separable(n: int = 40, seed: int = 0) -> Split:
    """Draw noisy images of 6x6 pixels, each class with another bright corner."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    images = rng.integers(100, size=(n, 6, 6, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 80
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def trainer(
    model: nn.Module | None = None, train: Split | None = None, validation: Split | None = None, **options
) -> Trainer:
    """Return a trainer that has done nothing yet; options of the recipe may be changed."""
    lr = options.pop("lr", 0.1)  # not checked: one that no recipe may have makes training diverge at once
    recipe = Recipe(**{"epochs": 3, "batch_size": 10, **options}).model_copy(update={"lr": lr})
    augmentation = Augmentation(recipe.augment, False, [MEAN], [STD], CPU)
    whole = separable()
    train = train or whole.subset(torch.arange(34))  # three whole batches and a part of one
    validation = validation or whole.subset(torch.arange(34, 40))
    return Trainer(model or network(), recipe, train, validation, augmentation, 7, DEVICE)


class After:
    """Stops training after a number of steps, or raises an error then."""

    def __init__(self, steps: int, error: type[BaseException] | None = None):
        self.left, self.error = steps, error

    def __call__(self) -> bool:
        self.left -= 1
        if self.left == 0 and self.error:
            raise self.error
        return self.left == 0


def checkpoints_in(folder: Path) -> CheckpointDir:
    """Return the checkpoints below a folder; their messages go nowhere."""
    return CheckpointDir(folder / "resume", "key", lambda line: None)


def fit_through(
    folder: Path,
    make: Callable[[], Trainer],
    stops: Sequence[int] = (),
    error: type[BaseException] | None = None,
) -> tuple[dict, list[dict]]:
    """Train, through as many interruptions as `stops` has: `fit_through(folder, make, [2, 5]) -> (weights, history)`.

    `make` builds a new trainer, as a new process would; it is stopped after 2 steps, then after 5 more.
    """
    checkpoints = checkpoints_in(Path(tempfile.mkdtemp(dir=folder)))
    for steps in stops:
        with pytest.raises(error or Interrupted):
            make().fit(checkpoints, should_stop=After(steps, error))
    last = make()
    weights = last.fit(checkpoints).state_dict()
    return weights, [{k: v for k, v in row.items() if k not in TIMES} for row in last.progress.history]


def forget(checkpoints) -> None:
    """Let the next training run start from the beginning."""
    shutil.rmtree(checkpoints.folder, ignore_errors=True)


def same(one: tuple[dict, list], two: tuple[dict, list]) -> bool:
    """Tell whether two runs have the same weights and history, bit for bit."""
    return (
        one[0].keys() == two[0].keys()
        and all(torch.equal(tensor, two[0][name]) for name, tensor in one[0].items())
        and one[1] == two[1]
    )
