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


def test_first_and_depthwise_convolutions_are_moved_to_sgd_and_a_step_moves_all():
    training = trainer(ingredients.Trainer)
    ingredients.filters_by_sgd(training)
    groups = {group.get("name"): group for group in training.state.optimizer.param_groups}
    moved, kept = groups["filters"], groups["matrices"]
    assert (moved["peak_lr"], moved["weight_decay"], "matrix_counts" in moved) == (
        0.08,
        Recipe(**BASE).weight_decay,
        False,
    )
    assert all(weight.shape[1] in (1, 3) for weight in moved["params"])
    assert all(weight.shape[2:] == (1, 1) for weight in kept["params"])
    assert set(kept["matrix_counts"]) == {1}
    assert len(kept["matrix_counts"]) == len(kept["params"])
    parameters = list(training.model.parameters())
    assert sum(len(group["params"]) for group in groups.values()) == len(parameters)
    before = [parameter.clone() for parameter in parameters]
    training.fit(NoStates())
    assert not any(torch.equal(old, new) for old, new in zip(before, parameters, strict=True))


@pytest.mark.parametrize(("prepare", "moves"), [("five_iterations", [True, True]), ("every_second", [False, True])])
def test_choices_of_muon_change_only_its_orthogonal_steps(prepare, moves):
    plain, changed = (trainer(ingredients.Trainer, lr=0.05) for _ in range(2))
    changed.model.load_state_dict(plain.model.state_dict())
    getattr(ingredients, prepare)(changed)
    for moved in moves:
        weights = []
        for each in (plain, changed):
            matrix, vector = each.model.features[1].conv[1].weight, each.model.features[0][1].bias
            before = matrix.clone(), vector.clone()
            random = torch.Generator().manual_seed(0)
            for parameter in each.model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=random)
            each.state.optimizer.step()
            assert not torch.equal(vector, before[1])
            weights.append((matrix, not torch.equal(matrix, before[0])))
        assert [moved for _, moved in weights] == [True, moved]
    assert not torch.equal(weights[0][0], weights[1][0])


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


def write_runs(folder, name, seeds):
    """Write a run of a variant for each seed: `seeds` are (accuracy, logits of two images)."""
    for seed, (found, logits) in enumerate(seeds):
        run = Run(name, "cifar10", seed)
        result = {"settings": run.settings, "steps": 128, "cpu_seconds": 60.0, "validation_accuracy": found}
        write_json(run.file(folder), result)
        values = np.array(logits)
        np.savez(run.file(folder).with_suffix(".npz"), logits=values, mirrored=values, labels=[0, 1])


RIGHT = [[1.0, 0.0], [0.0, 1.0]]


def test_differences_are_of_pairs(tmp_path):
    write_runs(tmp_path, "base", [(0.50, RIGHT), (0.60, RIGHT)])
    write_runs(tmp_path, "lr", [(0.52, RIGHT), (0.64, RIGHT)])
    base, lr, mirrored = ingredients.rows_of(["base", "lr"], "cifar10", 2, tmp_path)
    assert base[1:] == ["128", "60", "55.00", ""]
    assert lr[3:] == ["58.00", "+3.00 ± 1.00"]
    assert mirrored[3:] == ["100.00", "+0.00 ± 0.00"]


def test_committee_averages_the_probabilities_of_the_variants_of_one_seed(tmp_path):
    one_wrong = [[0.0, 1.0], [0.0, 1.0]]
    write_runs(tmp_path, "base", [(0.5, one_wrong), (0.5, one_wrong)])
    write_runs(tmp_path, "lr", [(1.0, RIGHT), (0.5, one_wrong)])
    write_runs(tmp_path, "momentum", [(1.0, RIGHT), (1.0, RIGHT)])
    committee = ingredients.rows_of(["base", "lr", "momentum"], "cifar10", 2, tmp_path)[-1]
    assert committee[3:] == ["75.00", "+25.00 ± 25.00"]  # of three, two decide


def test_runs_of_another_form_of_the_code_keep_the_settings_that_they_were_kept_with():
    keys = ["variant", "dataset", "seed", "recipe", "model", "images", "pixels"]
    assert list(Run("base", "cifar10", 0).settings) == keys
    assert Run("one_cycle", "cifar10", 0).settings["recipe"] == BASE | {"schedule": "one_cycle", "warmup": 0.2}


def test_each_variant_is_compared_with_one_that_has_its_images():
    for variant in VARIANTS.values():
        base = VARIANTS[variant.against]
        assert (variant.pixels, variant.images) == (base.pixels, base.images)
