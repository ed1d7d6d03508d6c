"""Training that is stopped or killed at any step ends with the same bits."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_trainer import After, network, same, trainer

from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.trainer import Interrupted

VARIANTS = {
    "sgd": {},
    "no-momentum": {"momentum": 0},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
    "muon": {"optimizer": "muon", "lr": 0.1},
    "ema": {"weight_averaging": "ema", "ema_decay": 0.8},
    "swa": {"weight_averaging": "swa", "averaging_start": 0.4},
    "augmented": {"augment": {"crop_padding": 1, "rotation": 10, "random_erasing": 0.5, "mixup": 1, "cutmix": 1}},
    "accumulated": {"accumulation": 2, "clip_norm": 0.5},
    "fractional": {"epochs": 2.7},
    "resized": {"progressive_resizing": {"start": 0.7, "until": 0.6}},
}


@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS)
def test_training_stopped_at_any_step_ends_with_the_same_bits(fit, recipe):
    def make():
        return trainer(network(dropout=0.3, hidden=True), **recipe)

    undisturbed = fit(make)
    for stop in range(1, make().total_steps + 1):  # the last stop is after the last step
        assert same(fit(make, [stop]), undisturbed), f"stopped after step {stop}"


def test_training_stopped_at_every_step_ends_with_the_same_bits(fit):
    def make():
        return trainer(network(dropout=0.3), weight_averaging="ema", augment={"mixup": 0.3})

    assert same(fit(make, [1] * 9), fit(make))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("step", [1, 4, 8])
def test_training_run_that_is_killed_ends_with_the_same_bits(fit, step, optimizer):
    def make():
        return trainer(network(dropout=0.3, hidden=True), **VARIANTS[optimizer])

    assert same(fit(make, [step], error=KeyboardInterrupt), fit(make))


def test_interrupted_training_continues_where_it_stopped(checkpoints):
    with pytest.raises(Interrupted):
        trainer().fit(checkpoints, should_stop=After(5))
    steps, resumed = [], trainer()
    step, resumed._step = resumed._step, lambda *args: (steps.append(args[:2]), step(*args))
    resumed.fit(checkpoints)
    assert steps == [(1, 2), (2, 0), (2, 1), (2, 2)]  # (epoch, step)
    assert [run["from_epoch"] for run in resumed.progress.runs] == [0, pytest.approx(5 / 3, abs=0.001)]


def test_every_run_that_took_part_is_recorded_with_its_conditions_and_time(checkpoints):
    with pytest.raises(Interrupted):
        trainer(accumulation=2).fit(checkpoints, should_stop=After(4))
    with pytest.raises(KeyboardInterrupt):  # this run saves nothing, so nothing of it is in the result
        trainer().fit(checkpoints, should_stop=After(1, KeyboardInterrupt))
    last = trainer()
    last.device = replace(last.device, threads=2)
    last.fit(checkpoints)
    first, second = last.progress.runs
    assert [(run["from_epoch"], run["to_epoch"]) for run in (first, second)] == [(0, 1.333), (1.333, 3)]
    assert [(run["threads"], run["accumulation"], run["processes"]) for run in (first, second)] == [
        (1, 2, 1),
        (2, 1, 1),
    ]
    assert (
        first.keys()
        == second.keys()
        >= {"device", "device_name", "precision", "versions", "processes", "peak_memory_mb"}
    )
    assert last.progress.wall_seconds == pytest.approx(first["seconds"] + second["seconds"])
    assert min(first["cpu_seconds"], second["cpu_seconds"]) > 0


def test_resumed_training_reports_that_it_resumed(tmp_path):
    said = []
    checkpoints = CheckpointDir(tmp_path, "key", said.append)
    with pytest.raises(Interrupted):
        trainer().fit(checkpoints, should_stop=After(4))
    trainer().fit(checkpoints)
    assert said == ["resumed at epoch 1.333 of 3"]


def test_state_is_saved_after_an_epoch(checkpoints):
    with pytest.raises(KeyboardInterrupt):
        trainer(epochs=2).fit(checkpoints, should_stop=After(4, KeyboardInterrupt))
    _tensors, progress = checkpoints.load()
    assert (progress["epoch"], progress["step"]) == (1, 0)


def test_kill_after_the_last_epoch_costs_no_step(checkpoints, monkeypatch):
    monkeypatch.setattr("deepnets.training.checkpoints.SAVE_SHARE", math.inf)  # save after every epoch, however short
    weights = trainer().fit(checkpoints).state_dict()
    again = trainer()
    monkeypatch.setattr(again, "_step", lambda *_: pytest.fail("a step was done again"))
    torch.testing.assert_close(again.fit(checkpoints).state_dict(), weights, rtol=0, atol=0)


def test_saving_takes_its_share_and_no_more(monkeypatch):
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now += 1e-6
        return clock.now

    for module in ("trainer", "checkpoints"):
        monkeypatch.setattr(f"deepnets.training.{module}.time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(
        "deepnets.training.checkpoints.SAVED_BYTES_PER_SECOND", 1000.0
    )  # about a second each, as it turns out

    class Slow:
        seconds_of_last_save, saves = 0.0, 0
        load = log = staticmethod(lambda *_: None)

        def save(self, *_state):
            self.saves, self.seconds_of_last_save, clock.now = self.saves + 1, 1.0, clock.now + 1.0

    def step_of_a_tenth() -> bool:
        clock.now += 0.1
        return False

    slow = Slow()
    trainer(epochs=400).fit(slow, should_stop=step_of_a_tenth)
    assert 1 <= slow.saves <= 0.02 * clock.now


def test_long_epoch_is_saved_on_the_way(checkpoints, monkeypatch):
    monkeypatch.setattr("deepnets.training.checkpoints.SAVE_SECONDS", -1.0)
    monkeypatch.setattr("deepnets.training.checkpoints.SAVE_SHARE", math.inf)
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(checkpoints, should_stop=After(3, KeyboardInterrupt))
    _tensors, progress = checkpoints.load()
    assert (progress["epoch"], progress["step"]) == (0, 2)


def test_optimizer_state_is_resumed_on_the_parameters_device(checkpoints):
    with pytest.raises(Interrupted):
        trainer(optimizer="adamw").fit(checkpoints, should_stop=After(2))
    elsewhere = trainer(network().to("meta"), optimizer="adamw")
    elsewhere.state.restore(checkpoints.load()[0])
    devices = {tensor.device.type for state in elsewhere.state.optimizer.state.values() for tensor in state.values()}
    assert devices == {"meta"}
