"""The study `networks`: ten networks of today, each of which learns from two steps of its recipe."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from deepnets import models
from deepnets.config.loader import load_config
from deepnets.config.recipe import Recipe
from deepnets.evaluation.network_summary import summarize
from deepnets.models import _named
from deepnets.training.optim import build_optimizer
from deepnets.training.resizing import image_size_at

CONFIG = load_config(Path(__file__).parents[2] / "config.yaml")
EXPERIMENTS = {each.model: each for each in CONFIG.experiments("networks")}


def test_ten_networks_of_this_project_of_libraries_and_of_a_file_share_one_optimizer():
    kinds = Counter(_named.kind(each.spec["model"]["architecture"]) for each in EXPERIMENTS.values())
    assert kinds == {None: 4, "torchvision/<name>": 4, "timm/<name>": 1, _named.OWN: 1}
    assert {each.spec["recipe"]["optimizer"] for each in EXPERIMENTS.values()} == {"muon"}


def test_the_same_study_can_be_made_of_images_that_can_be_downloaded():
    other = CONFIG.experiments("networks_cifar10")
    assert [each.spec["recipe"] for each in other] == [each.spec["recipe"] for each in EXPERIMENTS.values()]
    assert {each.spec["dataset"]["source"] for each in other} == {"torchvision"}


@pytest.mark.slow
@pytest.mark.parametrize("model", EXPERIMENTS)
def test_each_network_learns_from_two_steps_on_the_smallest_images_of_its_recipe(model):
    spec = EXPERIMENTS[model].spec
    recipe = Recipe(**spec["recipe"])
    side = image_size_at(0, 1, 32, recipe.progressive_resizing)
    torch.manual_seed(0)
    network = models.build(spec["model"], 10, 3, (32, 32)).train()
    optimizer = build_optimizer(network, recipe)
    before = [parameter.detach().sum() for parameter in network.parameters()]
    for _ in range(2):  # in the first, nothing reaches the branches that start at zero
        optimizer.zero_grad()
        cross_entropy(network(torch.rand(4, 3, side, side)), torch.arange(4)).backward()
        optimizer.step()
    after = [parameter.detach().sum() for parameter in network.parameters()]
    assert torch.stack(after).isfinite().all()
    assert sum(old != new for old, new in zip(before, after, strict=True)) > len(after) / 2


def test_resnet9_has_the_parameters_that_its_file_states():
    counted, _ = summarize(EXPERIMENTS["resnet9"].spec["model"], (3, 32, 32), 10)
    assert counted["parameters"] == 6_573_130
    file, _name = _named.split(EXPERIMENTS["resnet9"].spec["model"]["architecture"])
    assert f"\n{counted['parameters']:,} parameters for 3 channels and 10 classes.\n" in file.read_text()
