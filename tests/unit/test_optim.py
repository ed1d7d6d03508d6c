"""The learning rate, the weight decay and the averaged weights follow the recipe."""

import copy
import itertools
from typing import get_args

import pytest
import torch
from torch import nn

from deepnets.config.optimizers import OPTIMIZERS
from deepnets.config.recipe import Recipe, RecipeValues
from deepnets.config.schedule import learning_rate
from deepnets.training import optim
from deepnets.training.optim import build_average, build_optimizer, parameter_groups

SCHEDULES = pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear"])


def rates(total_steps: int, **recipe) -> list[float]:
    """The learning rate at every step, and at `total_steps`."""
    recipe = Recipe(**recipe)
    return [learning_rate(step, total_steps, recipe) for step in range(total_steps + 1)]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.arange(32, dtype=model[0].weight.dtype).view(2, 1, 4, 4).sin()).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


# -- learning rate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("schedule", "first"), [("one_cycle", 0.4 / 25), ("cosine", 0.4 / 21), ("linear", 0.4 / 21)])
def test_first_step_is_small_and_not_zero(schedule, first):
    assert rates(100, schedule=schedule, lr=0.4, warmup=0.2)[0] == pytest.approx(first)


@SCHEDULES
def test_peak_is_the_recipes_rate_at_the_end_of_the_warmup(schedule):
    curve = rates(100, schedule=schedule, lr=0.4, warmup=0.2)
    assert curve[20] == max(curve) == pytest.approx(0.4)


@SCHEDULES
def test_schedule_ends_at_exactly_zero_and_its_last_step_is_small(schedule):
    curve = rates(100, schedule=schedule, lr=0.4, warmup=0.2)
    assert curve[100] == 0
    assert 0 < curve[99] < 0.4 / 50


@SCHEDULES
def test_schedule_rises_then_falls(schedule):
    curve = rates(100, schedule=schedule, warmup=0.25)
    assert all(a < b for a, b in itertools.pairwise(curve[:26]))
    assert all(a > b for a, b in itertools.pairwise(curve[25:]))


@SCHEDULES
def test_schedule_has_no_jumps(schedule):
    curve = rates(1000, schedule=schedule, lr=1.0, warmup=0.1)
    assert max(abs(a - b) for a, b in itertools.pairwise(curve)) < 0.016  # a cosine's steepest: pi / 2 / 100 steps


@SCHEDULES
def test_without_warmup_the_first_step_is_the_peak(schedule):
    assert rates(10, schedule=schedule, lr=0.3, warmup=0)[0] == pytest.approx(0.3)


@SCHEDULES
@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_shortest_training_runs_still_learn(schedule, total_steps):
    *curve, end = rates(total_steps, schedule=schedule, lr=0.3, warmup=0.2)
    assert all(0 < rate <= 0.3 for rate in curve)
    assert end == 0


@SCHEDULES
@pytest.mark.parametrize("warmup", [0.03, 0.5, 0.97])
def test_rate_stays_between_zero_and_peak_when_the_warmup_is_no_whole_number_of_steps(schedule, warmup):
    assert all(0 <= rate <= 0.3 for rate in rates(17, schedule=schedule, lr=0.3, warmup=warmup))


def test_linear_falls_along_a_line_and_cosine_is_half_way_in_the_middle():
    linear, cosine = (rates(100, schedule=name, lr=1.0, warmup=0.2) for name in ("linear", "cosine"))
    assert linear[40] == pytest.approx(0.75)
    assert cosine[60] == linear[60] == pytest.approx(0.5)
    assert cosine[40] == pytest.approx(0.8535534)  # (1 + cos(pi / 4)) / 2


def test_one_cycle_has_the_shape_of_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=1000, pct_start=0.3)
    ours = rates(1000, schedule="one_cycle", lr=0.5, warmup=0.3)
    for rate in ours[:1000]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.5 * 0.006)  # theirs is a step ahead
        optimizer.step()
        if theirs.last_epoch < 999:
            theirs.step()


# -- weight decay and optimizers -------------------------------------------------------------------------------------


def test_every_parameter_is_in_exactly_one_group(model):
    grouped = [id(p) for group in parameter_groups(model, 0.1) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_norms_and_biases_do_not_decay(model):
    conv, norm, _, linear = model
    decayed, free = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(conv.weight), id(linear.weight)}
    assert {id(p) for p in free["params"]} == {id(conv.bias), id(norm.weight), id(norm.bias), id(linear.bias)}


def test_frozen_parameters_are_left_out(model):
    model[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(model, 0.1)) == 4


def test_each_declared_optimizer_has_a_builder_and_the_recipe_accepts_no_other():
    accepted = get_args(RecipeValues.model_fields["optimizer"].annotation)
    assert set(optim._BUILDERS) == set(OPTIMIZERS) == set(accepted)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_declared_optimizer_state_is_what_a_step_allocates(model, name):
    optimizer = build_optimizer(model, Recipe(optimizer=name))
    step(model, optimizer)
    named = [each for state in optimizer.state.values() for each in state.items()]
    moments = [tensor for key, tensor in named if tensor.ndim and key != "norm"]  # norms: a number for each matrix
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert sum(tensor.nbytes for tensor in moments) == OPTIMIZERS[name].state_bytes * parameters


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_options_of_an_optimizer_are_recipe_options(name):
    assert set(OPTIMIZERS[name].options) <= RecipeValues.model_fields.keys()


def test_sgd_has_the_recipes_nesterov_momentum(model):
    settings = build_optimizer(model, Recipe(momentum=0.8)).defaults
    assert (settings["momentum"], settings["nesterov"]) == (0.8, True)


@pytest.mark.parametrize(
    ("recipe", "plain"),
    [
        ({"momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, foreach=False)),
        ({"momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.1, foreach=False)),
        ({"optimizer": "adamw"}, lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False)),
    ],
    ids=["nesterov", "no-momentum", "adamw"],
)
def test_fused_optimizer_equals_the_plain_one(model, recipe, plain):
    model = model.double()  # Adam magnifies the rounding errors of a bias that has no gradient
    reference = copy.deepcopy(model)
    ours = build_optimizer(model, Recipe(lr=0.1, weight_decay=0.01, **recipe))
    theirs = plain(parameter_groups(reference, 0.01))
    for _ in range(3):
        step(model, ours)
        step(reference, theirs)
    torch.testing.assert_close(model.state_dict(), reference.state_dict())


def test_network_without_biases_and_norms_can_be_optimised():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Flatten(), nn.Linear(16, 3, bias=False))
    before = model[0].weight.detach().clone()
    step(model, build_optimizer(model, Recipe()))
    assert not torch.equal(model[0].weight, before)


# -- averages --------------------------------------------------------------------------------------------------------


def average_of(recipe: Recipe, values: list[float]) -> nn.BatchNorm1d:
    """The average of a network whose weights and statistics take these values, one after the other."""
    norm = nn.BatchNorm1d(1)
    average = build_average(norm, recipe)
    for value in values:
        norm.weight.data.fill_(value)
        norm.running_mean.fill_(value)
        average.update_parameters(norm)
    return average.module


def test_moving_average_equals_a_hand_computation():
    average = average_of(Recipe(weight_averaging="ema", ema_decay=0.8), [1.0, 2.0, 5.0])
    assert average.weight.item() == pytest.approx(0.8 * (0.8 * 1 + 0.2 * 2) + 0.2 * 5)
    assert average.running_mean.item() == pytest.approx(average.weight.item())  # statistics move along


def test_stochastic_weight_average_is_the_mean():
    assert average_of(Recipe(weight_averaging="swa"), [1.0, 2.0, 6.0]).weight.item() == pytest.approx(3.0)


def test_no_average_where_the_recipe_asks_for_none(model):
    assert build_average(model, Recipe()) is None
