"""The training loop gives the weights of a plain one, also in special cases; what cannot succeed ends early."""

import copy
import itertools
import math
import shutil
import time
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_trainer import (
    DEVICE,
    MEAN,
    STD,
    After,
    forget,
    network,
    same,
    separable,
    trainer,
)
from torch import nn

from deepnets.config.recipe import Recipe
from deepnets.config.schedule import learning_rate
from deepnets.training.augmentation import Augmentation, Batch
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import Device
from deepnets.training.distributed import ProcessGroup
from deepnets.training.inference import predict
from deepnets.training.loss import cross_entropy
from deepnets.training.optim import parameter_groups
from deepnets.training.seeds import ORDER, derived_seed
from deepnets.training.trainer import Interrupted, Trainer
from deepnets.utils.errors import UserError

# -- the same as a plain loop ----- -----------------------------------------------------------------------------------


def test_plain_loop_reaches_the_same_weights(checkpoints):
    ours = trainer(epochs=2)
    model, part = copy.deepcopy(ours.model), separable()
    optimizer = torch.optim.SGD(parameter_groups(model, 5e-4), lr=1.0, momentum=0.9, nesterov=True)
    for epoch in range(2):
        order = np.random.default_rng(derived_seed(7, epoch, ORDER)).permutation(34)
        for step in range(3):
            rows = order[10 * step : 10 * step + 10]
            images = (part.images[rows].permute(0, 3, 1, 2) / 255 - MEAN) / STD
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(3 * epoch + step, 6, ours.recipe)
            optimizer.zero_grad()
            F.cross_entropy(model(images), part.labels[rows]).backward()
            optimizer.step()
    torch.testing.assert_close(ours.fit(checkpoints).state_dict(), model.state_dict(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler: g++ on PATH")
def test_compiled_network_reaches_almost_the_same_weights(fit, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    (plain, _), (compiled, _) = (fit(partial(trainer, compile=compiles)) for compiles in (False, True))
    assert list((tmp_path / "compiled").rglob("*.so"))
    torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-5)


def test_a_separable_problem_is_learned(checkpoints):
    train, validation = separable(120), separable(60, seed=1)
    learner = trainer(train=train, validation=validation, epochs=12)
    losses = [row["train_loss"] for row in (learner.fit(checkpoints), learner)[1].progress.history]
    last = learner.progress.history[-1]
    assert last["val_accuracy"] > 0.95
    assert last["train_accuracy"] > 0.95
    assert losses[-1] < 0.3 * losses[0]


def test_two_training_runs_are_bitwise_identical(fit):
    recipe = {"augment": {"crop_padding": 1, "mixup": 0.5, "cutout": 2}, "weight_averaging": "ema"}
    one, two = (fit(lambda: trainer(network(dropout=0.3), **recipe)) for _ in range(2))
    assert same(one, two)


def test_seed_changes_the_order(fit):
    def other_seed():
        other = trainer()
        other.seed = 8
        return other

    assert not same(fit(trainer), fit(other_seed))


@pytest.mark.parametrize("accumulation", [2, 5])
def test_accumulation_changes_nothing_but_memory(checkpoints, accumulation):
    whole = trainer(network(norm=False), label_smoothing=0.1).fit(checkpoints).state_dict()
    forget(checkpoints)
    augment = {"label_smoothing": 0.1, "accumulation": accumulation}
    in_micro_batches = trainer(network(norm=False), **augment).fit(checkpoints).state_dict()
    torch.testing.assert_close(in_micro_batches, whole, rtol=1e-4, atol=1e-6)  # sums in another order


def test_accumulation_of_mixed_images_changes_nothing_either(checkpoints):
    recipe = {"augment": {"cutmix": 1.0}, "epochs": 2}
    whole = trainer(network(norm=False), **recipe).fit(checkpoints).state_dict()
    forget(checkpoints)
    in_micro_batches = trainer(network(norm=False), accumulation=5, **recipe).fit(checkpoints).state_dict()
    torch.testing.assert_close(in_micro_batches, whole, rtol=1e-4, atol=1e-6)


def test_clipped_gradients_have_the_recipes_norm():
    clipping = trainer(clip_norm=0.01, momentum=0, weight_decay=0, schedule="linear", warmup=0)
    before = nn.utils.parameters_to_vector(clipping.model.parameters()).detach().clone()
    clipping._step(0, 0, torch.arange(10))
    moved = nn.utils.parameters_to_vector(clipping.model.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)  # lr times the clipped gradient


# -- loss ------------------------------------------------------------------------------------------------------------


def test_smoothed_loss_equals_a_hand_calculation():
    loss = cross_entropy(torch.tensor([[math.log(2), 0.0, 0.0]]), Batch(torch.zeros(1), torch.tensor([0])), 0.3)
    target = [0.8, 0.1, 0.1]  # 0.7 of the label, and 0.1 for each of three classes
    assert loss.item() == pytest.approx(-target[0] * math.log(0.5) - 0.2 * math.log(0.25))


def test_mixed_loss_weighs_both_labels():
    logits = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0]])
    batch = Batch(torch.zeros(2), torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.75, 0.25]))
    expected = (0.75 * math.log(2) + 0.25 * math.log(4) + math.log(3)) / 2
    assert cross_entropy(logits, batch, 0.0).item() == pytest.approx(expected)


# -- at the edges ----------------------------------------------------------------------------------------------------


def taken(trainer: Trainer, checkpoints: CheckpointDir, monkeypatch) -> list[list[int]]:
    """Train, and return the images of each step."""
    batches, step = [], trainer._step
    monkeypatch.setattr(trainer, "_step", lambda *args: (batches.append(args[2].tolist()), step(*args)))
    trainer.fit(checkpoints)
    return batches


def test_an_epoch_shows_every_image_at_most_once_and_drops_the_ragged_rest(checkpoints, monkeypatch):
    batches = taken(trainer(epochs=2), checkpoints, monkeypatch)
    assert [len(batch) for batch in batches] == [10] * 6
    first, second = ({image for batch in epoch for image in batch} for epoch in (batches[:3], batches[3:]))
    assert len(first) == len(second) == 30
    assert first != second  # other images are left out each time


def test_batch_larger_than_the_data_is_all_of_the_data(checkpoints, monkeypatch):
    batches = taken(trainer(batch_size=1000, epochs=2), checkpoints, monkeypatch)
    assert [sorted(batch) for batch in batches] == [list(range(34))] * 2


def test_validation_images_have_no_influence_on_the_weights(checkpoints):
    rest = separable().images[34:]
    plain = trainer(weight_averaging="swa", averaging_start=0.4).fit(checkpoints).state_dict()
    forget(checkpoints)
    poisoned = separable()
    poisoned.images[34:], poisoned.labels[34:] = 255 - rest, 0
    train, validation = poisoned.subset(torch.arange(34)), poisoned.subset(torch.arange(34, 40))
    again = (
        trainer(train=train, validation=validation, weight_averaging="swa", averaging_start=0.4)
        .fit(checkpoints)
        .state_dict()
    )
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())


def test_history_has_its_columns_in_order(checkpoints):
    rows = []
    one = trainer(epochs=2)
    one.fit(checkpoints, report=rows.append)
    assert [list(row) for row in rows] == [
        ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "images_per_second"]
    ] * 2
    assert rows == one.progress.history
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["lr"] for row in rows] == [learning_rate(step, 6, one.recipe) for step in (2, 5)]


def test_history_of_a_network_that_stands_still_equals_a_plain_evaluation(checkpoints):
    model, part = network(norm=False), separable(30)
    still = trainer(model, train=part, validation=separable(25, seed=1), lr=1e-30, epochs=1, weight_decay=0)
    still.fit(checkpoints)
    row = still.progress.history[0]
    for name, part in (("train", still.train_split), ("val", still.validation_split)):
        logits = model((part.images.permute(0, 3, 1, 2) / 255 - MEAN) / STD)
        assert row[f"{name}_loss"] == pytest.approx(F.cross_entropy(logits, part.labels).item(), rel=1e-5)
        assert row[f"{name}_accuracy"] == pytest.approx((logits.argmax(1) == part.labels).double().mean().item())


def test_training_loss_is_that_of_plain_labels_even_when_they_are_smoothed(checkpoints):
    still = {"train": separable(30), "lr": 1e-30, "epochs": 1}
    one, two = trainer(**still), trainer(**still, label_smoothing=0.5)
    one.fit(checkpoints)
    two.fit(checkpoints)
    assert one.progress.history[0]["train_loss"] == two.progress.history[0]["train_loss"]


def test_training_loss_keeps_small_losses_next_to_a_huge_one():
    learner = trainer()
    learner._add_to_sums(torch.tensor([[2.0**26, 0.0]] + [[0.0, 0.0]] * 100), torch.ones(101, dtype=torch.int64))
    assert learner.state.loss_sum.item() == pytest.approx(2**26 + 100 * math.log(2), rel=1e-15)


def test_few_images_are_accumulated_in_micro_batches_of_two_at_least():
    assert trainer(train=separable(12), batch_size=64, accumulation=16).accumulation == 6


def test_progressive_resizing_grows_with_the_steps_by_quarters_of_the_full_side():
    growing = trainer(train=separable(160), epochs=1, progressive_resizing={"start": 0.5, "until": 0.5})
    assert growing.steps_per_epoch == 16
    assert [growing._image_size(step) for step in range(16)] == [*[3] * 4, *[4] * 4, *[6] * 8]
    assert growing._batch(0, 4, torch.arange(5)).images.shape == (5, 1, 4, 4)
    assert [trainer()._image_size(step) for step in range(3)] == [6, 6, 6]


def test_prediction_is_in_order_and_not_augmented_and_needs_no_full_batch():
    augmented = trainer(augment={"crop_padding": 2, "rotation": 90, "mixup": 1})
    part = separable(300)  # more than one evaluation batch
    model = network(dropout=0.5).eval()
    logits = predict(model.train(), part, augmented.augmentation, DEVICE)
    plain = model.eval()((part.images.permute(0, 3, 1, 2) / 255 - MEAN) / STD)
    torch.testing.assert_close(logits, plain.detach())
    assert logits.dtype == torch.float32


def test_order_of_an_epoch_is_uniform_over_all_images(monkeypatch):
    batches = []
    monkeypatch.setattr(Trainer, "_step", lambda trainer, epoch, step, index: batches.append(index.numpy()))
    one = trainer(train=separable(1000), batch_size=100, epochs=200)
    for epoch in range(200):
        one.progress.step = 0
        list(one._steps(epoch))
    from_each_tenth = np.bincount(np.concatenate(batches[::10]) // 100)  # in each epoch's first batch
    assert np.abs(from_each_tenth - 2000).max() < 4 * math.sqrt(2000 * 0.9)
    assert sorted(np.concatenate(batches[:10])) == list(range(1000))


def test_averaged_network_is_the_result_and_the_one_validated(checkpoints):
    model = network()
    averaging = trainer(model, weight_averaging="ema", ema_decay=0.9)
    result = averaging.fit(checkpoints)
    assert not torch.equal(result[0].weight, model[0].weight)
    logits = predict(result, averaging.validation_split, averaging.augmentation, DEVICE)
    loss = F.cross_entropy(logits.double(), averaging.validation_split.all_labels()).item()
    assert averaging.progress.history[-1]["val_loss"] == loss


def test_swa_averages_the_end_of_training_and_estimates_batch_statistics_again(checkpoints):
    averaging = trainer(weight_averaging="swa", averaging_start=0.5, train=separable(30), epochs=2)
    weights = []
    step = averaging._step
    averaging._step = lambda *args: (step(*args), weights.append(averaging.model[0].weight.detach().clone()))
    result = averaging.fit(checkpoints)
    torch.testing.assert_close(result[0].weight, torch.stack(weights[3:]).mean(0))
    images = (separable(30).images.permute(0, 3, 1, 2) / 255 - MEAN) / STD
    torch.testing.assert_close(result[2].running_mean, result[0](images).mean(dim=(0, 2, 3)).detach())


def test_batch_of_fewer_images_than_processes_is_refused():
    with pytest.raises(UserError, match="a batch of 10 images cannot be divided among 11 processes"):
        Trainer(network(), Recipe(batch_size=10), separable(), separable(), None, 7, DEVICE, ProcessGroup(0, 11))


# -- what ends training early -----------------------------------------------------------------------------------------


def test_diverged_training_ends_with_advice_and_saves_nothing(checkpoints):
    with pytest.raises(
        UserError, match=r"loss is not finite in epoch 1 of 3, with lr 1e\+30: in the recipe of config.yaml, lower lr"
    ):
        trainer(network(norm=False), lr=1e30, warmup=0).fit(checkpoints)
    assert checkpoints.load() is None


def test_last_step_that_ruins_the_weights_ends_with_advice_too(checkpoints):
    """The loss of a step is that before it: only the validation sees what the last step did."""
    with pytest.raises(UserError, match="loss is not finite"):
        trainer(network(norm=False), lr=1e38, warmup=0, batch_size=34, epochs=1).fit(checkpoints)
    assert checkpoints.load() is None


def test_diverged_training_keeps_the_states_from_before(checkpoints, monkeypatch):
    with pytest.raises(Interrupted):
        trainer().fit(checkpoints, should_stop=After(4))
    before = sorted(path.name for path in checkpoints.folder.iterdir())
    diverging = trainer()
    monkeypatch.setattr("deepnets.training.trainer.cross_entropy", lambda logits, *_: logits.sum() * math.nan)
    monkeypatch.setattr(diverging, "_add_to_sums", lambda logits, labels: diverging.state.loss_sum.fill_(math.nan))
    with pytest.raises(UserError, match="not finite in epoch 2"):
        diverging.fit(checkpoints, should_stop=After(1))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == before


def test_state_that_cannot_be_saved_does_not_stop_the_training(tmp_path):
    (tmp_path / "file").touch()
    said = []
    full = trainer()
    full.fit(CheckpointDir(tmp_path / "file" / "checkpoints", "key", said.append))
    assert len(full.progress.history) == 3
    assert "could not save the state" in said[0]


def test_derived_seeds_of_neighbours_differ_and_fit_any_generator():
    seeds = [derived_seed(*numbers) for numbers in itertools.product(range(6), repeat=3)]
    assert len(set(seeds)) == 6**3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(1, 2) == derived_seed(1, 2)


def test_clock_that_jumps_spoils_no_time(checkpoints, monkeypatch):
    jumping = itertools.cycle([1e9, 2e9, 0.0])
    monkeypatch.setattr(time, "time", lambda: next(jumping))
    ours = trainer()
    ours.fit(checkpoints)
    assert all(0 < row["seconds"] < 100 for row in ours.progress.history)
    assert 0 < ours.progress.wall_seconds < 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
def test_steps_of_an_epoch_on_a_gpu_never_wait_for_it(averaging):
    gpu = torch.device("cuda")
    augment = {"crop_padding": 1, "rotation": 5, "cutout": 2, "random_erasing": 0.5, "mixup": 1, "cutmix": 1}
    recipe = Recipe(
        epochs=1,
        batch_size=4,
        weight_averaging=averaging,
        averaging_start=0,
        clip_norm=1,
        progressive_resizing={"start": 0.5},
        augment=augment,
    )
    hardware = Device(gpu, "bf16", threads=1, deterministic=False)
    model, part = network().to(gpu, memory_format=torch.channels_last), separable().to(gpu)
    augmentation = Augmentation(recipe.augment, False, [MEAN], [STD], gpu)
    steps = Trainer(model, recipe, part, part, augmentation, 7, hardware)._steps(0)
    next(steps)  # the epoch's order is moved to the GPU, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert sum(1 for _ in steps) == 9
    finally:
        torch.cuda.set_sync_debug_mode("default")


# -- fractional epochs ----- -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [(0.5, [2 / 3], 2), (0.01, [1 / 3], 1), (1.4, [1, 4 / 3], 4), (1.1, [1], 3), (2.0, [1, 2], 6)],
)
def test_fractional_epochs_end_within_an_epoch_after_whole_steps(checkpoints, epochs, rows, steps):
    learner, rates = trainer(epochs=epochs, schedule="linear", warmup=0), []
    step = learner._step
    learner._step = lambda *args: (step(*args), rates.append(learner.state.optimizer.param_groups[0]["lr"]))
    learner.fit(checkpoints)
    history = learner.progress.history
    assert [row["epoch"] for row in history] == pytest.approx(rows, abs=0.001)
    assert rates == pytest.approx([0.1 * (1 - done / steps) for done in range(steps)])  # the schedule is as long
    assert history[-1]["lr"] == rates[-1]
    assert all(0 < row["train_loss"] < 10 for row in history)
    assert learner.progress.runs[-1]["to_epoch"] == pytest.approx(rows[-1], abs=0.001)
