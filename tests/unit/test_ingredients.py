"""What the variants of benchmarks/ingredients.py change, and how their runs are kept and compared."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import ingredients
from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import configure_device
from deepnets.utils.files import write_json
from ingredients import BASE, VARIANTS, AlternatingFlip, HardestHalf, Run
from measure import NoStates


def trainer(kind, images=16, **changes):
    """A trainer of a small network on random images of 8 px; each epoch is one batch."""
    network = models.build({"architecture": "mobilenet_v2", "strides": [1, 1, 1, 1, 1]}, 3, 3)
    recipe = Recipe(**BASE | {"batch_size": images, "epochs": 2} | changes)
    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(images, 8, 8, 3), dtype=np.uint8)
    split = Split.of_arrays(pixels, random.integers(3, size=images))
    device = configure_device(network, "cpu", "fp32", 1)
    augmentation = Augmentation(recipe.augment, True, [0.5] * 3, [0.25] * 3, device.device)
    return kind(network.to(memory_format=torch.channels_last), recipe, split, split, augmentation, 0, device)


def test_alternating_flip_shows_each_image_once_mirrored_in_two_epochs():
    training = trainer(AlternatingFlip)
    index = torch.arange(16)
    first, second = (training._batch(epoch, 0, index).images for epoch in (0, 1))
    plain = training.augmentation.normalise(training.train_split.get_batch(index, torch.device("cpu"))[0])
    torch.testing.assert_close(first.flip(3), second)
    mirrored = [not torch.equal(image, same) for image, same in zip(first, plain, strict=True)]
    assert 0 < sum(mirrored) < 16
    assert training.augmentation.flips


def test_hardest_half_has_the_largest_losses():
    training = trainer(HardestHalf)
    training.network.eval()
    whole = super(HardestHalf, training)._batch(0, 0, torch.arange(16))
    losses = nn.functional.cross_entropy(training.network(whole.images), whole.labels, reduction="none")
    hardest = training._batch(0, 0, torch.arange(16))
    kept = nn.functional.cross_entropy(training.network(hardest.images), hardest.labels, reduction="none")
    torch.testing.assert_close(kept.sort().values, losses.sort().values[8:])


@pytest.mark.parametrize("prepare", [ingredients.dirac_weights, ingredients.whitening_weights])
def test_starts_keep_the_norm_of_each_layer(prepare):
    training = trainer(ingredients.Trainer, images=2000)
    before = copy.deepcopy(training.model.state_dict())
    prepare(training)
    changed = [name for name, weight in training.model.state_dict().items() if not torch.equal(weight, before[name])]
    assert changed
    for name in changed:
        torch.testing.assert_close(training.model.state_dict()[name].norm(), before[name].norm())


def test_only_biases_of_norms_learn_faster_and_a_step_moves_all():
    training = trainer(ingredients.Trainer)
    ingredients.faster_biases(training)
    peaks = {id(p): g["peak_lr"] for g in training.state.optimizer.param_groups for p in g["params"]}
    parameters = dict(training.model.named_parameters())
    assert len(peaks) == len(parameters)
    norms = {name for name, module in training.model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name, parameter in parameters.items():
        if parameter.ndim == 1:
            faster = name.removesuffix(".bias") in norms
            assert peaks[id(parameter)] == pytest.approx(0.64 if faster else 0.08), name
    before = [parameter.clone() for parameter in parameters.values()]
    training.fit(NoStates())
    assert not any(torch.equal(old, new) for old, new in zip(before, parameters.values(), strict=True))


def test_images_are_means_of_squares_and_mirrored_on_demand():
    pixels = np.arange(4 * 4, dtype=np.uint8).reshape(1, 4, 4, 1)
    small = ingredients.of_size(Split.of_arrays(pixels, np.zeros(1, dtype=np.int64)), 2)
    assert small.images[0, :, :, 0].tolist() == [[2, 4], [10, 12]]
    mirrored = ingredients.of_size(small, 2, mirror=True)
    assert mirrored.images[0, :, :, 0].tolist() == [[4, 2], [12, 10]]


def test_a_run_counts_as_done_only_with_its_settings(tmp_path):
    run = Run("base", "cifar10", 0)
    assert not run.is_done(tmp_path)
    write_json(run.file(tmp_path), {"settings": run.settings})
    assert run.is_done(tmp_path)
    write_json(run.file(tmp_path), {"settings": run.settings | {"pixels": 32}})
    assert not run.is_done(tmp_path)


def test_differences_are_of_pairs(tmp_path):
    for name, accuracies in {"base": [0.50, 0.60], "lr": [0.52, 0.64]}.items():
        for seed, found in enumerate(accuracies):
            run = Run(name, "cifar10", seed)
            result = {"settings": run.settings, "steps": 128, "cpu_seconds": 60.0, "validation_accuracy": found}
            write_json(run.file(tmp_path), result)
            logits = np.eye(2)[[0, 1]]
            np.savez(run.file(tmp_path).with_suffix(".npz"), logits=logits, mirrored=logits, labels=[0, 1])
    base, lr, mirrored = ingredients.rows_of(["base", "lr"], "cifar10", 2, tmp_path)
    assert base[1:] == ["128", "60", "55.00", ""]
    assert lr[3:] == ["58.00", "+3.00 ± 1.00"]
    assert mirrored[3:] == ["100.00", "+0.00 ± 0.00"]


def test_each_variant_is_compared_with_one_that_has_its_images():
    for variant in VARIANTS.values():
        base = VARIANTS[variant.against]
        assert (variant.pixels, variant.images) == (base.pixels, base.images)
