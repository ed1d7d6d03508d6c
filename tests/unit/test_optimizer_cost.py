"""The benchmark of the optimizer's cost: a row has each choice with its share, and what is as shipped is Muon."""

import copy

import pytest
import torch
from small_trainer import network

from deepnets.config.recipe import Recipe
from deepnets.training.optim import build_optimizer
from muon_choices import choose
from optimizer_cost import CHOICES, TITLES, row

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def test_row_has_the_time_and_the_share_of_each_optimizer():
    cells = row("mnist", "mobilenet_v2", rounds=1)
    assert len(cells) == len(TITLES)
    rest = float(cells[2])
    for cell in cells[3:]:
        own, share = (float(each) for each in cell.removesuffix(" %)").split(" ("))
        assert share == pytest.approx(100 * own / (own + rest), abs=0.3)


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_choices_differ_from_muon_only_where_they_say_so(choice):
    given = [network(hidden=True), network(hidden=True)]
    recipe = Recipe(epochs=1, batch_size=8, optimizer="muon", lr=0.1)
    plain, chosen = (build_optimizer(each, recipe) for each in given)
    choose(chosen, **choice)
    start = copy.deepcopy(given[0].state_dict())
    for optimizer in (plain, chosen):
        for number, parameter in enumerate(
            parameter for group in optimizer.param_groups for parameter in group["params"]
        ):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        optimizer.step()
    ours, theirs = (each.state_dict() for each in given)
    differ = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    matrices = {"0.weight", "4.weight"}
    assert differ == (matrices if {"steps", "every"} & set(choice) else set())  # the blocks of so small ones are whole
    moved = {name for name in theirs if not torch.equal(theirs[name], start[name])}
    assert moved & matrices == (set() if "every" in choice else matrices)
