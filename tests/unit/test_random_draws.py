"""Random draws of training have the right seeds and distributions, and the arithmetic around them is exact."""

import math

import pytest
import torch
from torch import nn

from deepnets.config.recipe import Augment, Recipe
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation, Batch, draw_affine
from deepnets.training.device import Device
from deepnets.training.loss import cross_entropy
from deepnets.training.resizing import shrink
from deepnets.training.trainer import Trainer

CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trainer(**recipe) -> Trainer:
    images = torch.randint(256, (20, 6, 6, 1), dtype=torch.uint8, generator=seeded(0))
    split = Split(images, torch.arange(20) % 3)
    settings = Recipe(epochs=2, batch_size=10, **recipe)
    augmentation = Augmentation(settings.augment, True, [0.5], [0.25], CPU)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3))
    return Trainer(model, settings, split, split, augmentation, 7, Device(CPU, "fp32", 1, True))


def test_each_epoch_and_each_step_augments_the_same_images_in_its_own_way():
    one, index = trainer(augment={"crop_padding": 3}), torch.arange(10)
    first, next_step, next_epoch = (one._batch(*at, index).images for at in ((0, 0), (0, 1), (1, 0)))
    assert not torch.equal(first, next_step)
    assert not torch.equal(first, next_epoch)


def test_each_epoch_and_each_step_has_its_own_dropout():
    one, seeds = trainer(), []
    one.model.register_forward_pre_hook(lambda *_: seeds.append(torch.initial_seed()))
    for epoch, step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        one._step(epoch, step, torch.arange(10))
    assert len(set(seeds)) == 4


def test_smoothed_loss_of_mixed_images_equals_a_hand_calculation():
    batch = Batch(torch.zeros(1), torch.tensor([0]), torch.tensor([1]), torch.tensor([0.75]))
    # probabilities 1/2, 1/4, 1/4; of the target, 0.7 goes to the two labels and 0.1 to each of three classes
    target = [0.7 * 0.75 + 0.1, 0.7 * 0.25 + 0.1, 0.1]
    expected = -target[0] * math.log(0.5) - (target[1] + target[2]) * math.log(0.25)
    assert cross_entropy(torch.tensor([[math.log(2), 0, 0]]), batch, 0.3).item() == pytest.approx(expected)


def test_shrunk_images_are_antialiased():
    """A triangle filter of four pixels: at half the size, 3/7, 3/7 and 1/7 of the nearest pixels inside the image."""
    images = torch.tensor([7.0, 0, 0, 0]).expand(1, 1, 4, 4)
    torch.testing.assert_close(shrink(images, 2), torch.tensor([3.0, 0]).expand(1, 1, 2, 2))


@pytest.mark.parametrize(("alpha", "low", "high"), [(100, 0.4, 0.5), (1, 0.2, 0.3), (0.01, 0.0, 0.05)])
def test_mixup_weights_follow_the_recipes_alpha(alpha, low, high):
    """The mean of min(w, 1 - w) is near 1/2 for a large alpha, 1/4 for 1, near 0 for a small one."""
    augmentation = Augmentation(Augment(mixup=alpha), False, [0.5], [0.25], CPU)
    images, labels = torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.arange(2)
    weights = torch.stack([augmentation(images, labels, seeded(seed)).weight[0] for seed in range(300)])
    assert low < torch.minimum(weights, 1 - weights).mean() < high


def test_shear_moves_a_pixel_by_the_tangent_of_the_angle():
    largest = draw_affine(2000, Augment(shear=60), seeded(0))[:, 0, 1].abs().max().item()
    assert 0.95 * math.tan(math.radians(60)) < largest <= math.tan(math.radians(60)) * 1.0001


def test_an_image_is_mirrored_with_probability_one_half():
    images = torch.tensor([0, 255], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    augmentation = Augmentation(Augment(), True, [0.5], [0.25], CPU)
    mirrored = augmentation(images, torch.zeros(10_000).long(), seeded(0)).images[:, 0, 0, 0] > 0
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.02)
