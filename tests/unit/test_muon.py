"""Muon's steps are those of a slow reference in float64, and each parameter takes the kind of step that it should."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepnets.config.recipe import Recipe
from deepnets.models import build
from deepnets.training import muon
from deepnets.training.muon import BLOCK_SIDE, LARGEST, POLAR_EXPRESS, STEPS, muon_groups, orthogonal
from deepnets.training.optim import build_optimizer


@pytest.fixture
def float32(monkeypatch):
    """The arithmetic of a device without bfloat16."""
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: False)


def matrix(rows: int, columns: int, seed: int = 0, weakest: float = 0.05) -> Tensor:
    """A random matrix whose singular values run from 1 down to `weakest`."""
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))
    count = min(rows, columns)
    return u[:, :count] @ torch.diag(torch.logspace(0, np.log10(weakest), count)) @ v[:count]


def reference_direction(block: np.ndarray) -> np.ndarray:
    """The direction of one block in float64: the polynomials act on its singular values alone."""
    u, values, v = np.linalg.svd(block / (np.linalg.norm(block) * 1.01), full_matrices=False)
    for a, b, c in POLAR_EXPRESS[:STEPS]:
        values = a * values + b * values**3 + c * values**5
    return (u * values) @ v


# -- the direction -----------------------------------------------------------------------------------------------------

B = BLOCK_SIDE
SHAPES = pytest.mark.parametrize(
    ("rows", "columns"), [(5, 5), (4, 30), (30, 4), (B, B + 9), (B + 1, B + 40), (2 * B + 40, 2 * B + 1), (20, 3 * B)]
)


def blocks_of(given: Tensor) -> list[Tensor]:
    """The blocks of a matrix, each with at most BLOCK_SIDE rows or columns."""
    dimension = int(given.shape[0] > given.shape[1])
    return list(given.tensor_split(-(-min(given.shape) // BLOCK_SIDE), dim=dimension))


@SHAPES
def test_direction_equals_the_float64_reference(float32, rows, columns):
    given = matrix(rows, columns)
    for ours, block in zip(blocks_of(orthogonal([given[None]])[0][0]), blocks_of(given), strict=True):
        expected = torch.from_numpy(reference_direction(block.double().numpy())).float()
        torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-3)


@SHAPES
def test_bfloat16_hardly_changes_the_direction(monkeypatch, rows, columns):
    given = matrix(rows, columns)
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: True)
    ours = orthogonal([given[None]])[0]
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: False)
    assert F.cosine_similarity(ours.flatten(), orthogonal([given[None]])[0].flatten(), dim=0) > 0.97


@SHAPES
@pytest.mark.parametrize(("steps", "least", "most"), [(3, 0.13, 1.87), (5, 0.87, 1.13)])
def test_singular_values_come_near_one(float32, rows, columns, steps, least, most):
    for block in blocks_of(orthogonal([matrix(rows, columns)[None]], steps)[0][0]):
        values = torch.linalg.svdvals(block)
        assert least < values.min()
        assert values.max() < most


def test_matrices_of_one_shape_do_not_see_each_other(float32):
    several = [torch.stack([matrix(6, 9, seed), matrix(6, 9, seed + 9)]) for seed in range(3)] + [matrix(3, 4)[None]]
    for alone, together in zip(several, orthogonal(several), strict=True):
        torch.testing.assert_close(together, torch.cat([orthogonal([one[None]])[0] for one in alone]))


def test_scale_of_the_gradient_does_not_matter(float32):
    given = matrix(6, 9)[None]
    torch.testing.assert_close(orthogonal([1e-6 * given])[0], orthogonal([1e3 * given])[0], rtol=1e-3, atol=1e-4)


def test_a_gradient_of_zeros_has_a_direction_of_zeros():
    assert orthogonal([torch.zeros(1, 4, 7), torch.zeros(2, 1, 5)])[0].abs().max() == 0


# -- the step ----------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """One parameter of each kind."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.grouped = nn.Conv2d(4, 8, 1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.hidden = nn.Conv2d(8, 6, 3, bias=False)
        self.linear = nn.Linear(6, 5)
        self.classifier = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.hidden(self.norm(self.grouped(self.depthwise(self.first(images))))))
        return self.classifier(F.relu(self.linear(features.mean((2, 3)))))


RECIPE = Recipe(optimizer="muon", lr=0.1, sgd_lr=0.05, classifier_lr=0.02, momentum=0.8, weight_decay=0.01)
PEAKS = {"matrices": 0.1, "classifier": 0.02, "vectors": 0.05}


@pytest.fixture
def small() -> Small:
    torch.manual_seed(3)
    return Small().to(memory_format=torch.channels_last)


def backward(model: nn.Module, step: int) -> None:
    images = torch.randn(8, 1, 9, 9, generator=torch.Generator().manual_seed(step))
    F.cross_entropy(model(images), torch.arange(8) % 3).backward()


def names_of(model: nn.Module, groups: list[dict]) -> dict[str, set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}


def test_each_parameter_is_in_the_group_of_its_kind(small):
    assert names_of(small, muon_groups(small, 0.1)) == {
        "matrices": {"first.weight", "depthwise.weight", "grouped.weight", "hidden.weight", "linear.weight"},
        "classifier": {"classifier.weight"},
        "vectors": {name for name, _ in small.named_parameters() if name.endswith("bias")} | {"norm.weight"},
    }


def test_only_the_classifier_decays_and_frozen_parameters_are_left_out(small):
    small.depthwise.requires_grad_(False)
    groups = muon_groups(small, 0.1)
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "matrices": 0.0, "classifier": 0.1, "vectors": 0.0,
    }  # fmt: skip
    assert "depthwise.weight" not in names_of(small, groups)["matrices"]
    assert groups[0]["matrix_counts"] == [1, 2, 1, 1]


def test_attention_is_three_matrices():
    model = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 3))
    groups = muon_groups(model, 0.1)
    assert names_of(model, groups)["matrices"] == {"0.in_proj_weight", "0.out_proj.weight"}
    assert groups[0]["matrix_counts"] == [3, 1]


def test_network_of_one_linear_layer_has_no_orthogonal_step():
    assert [group["name"] for group in muon_groups(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 0.1)] == [
        "classifier", "vectors",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["vgg16", "inception_v3", "resnet50", "mobilenet_v2"])
def test_all_weights_but_the_classifier_and_the_largest_are_orthogonal(name):
    with torch.device("meta"):
        model = build({"architecture": name}, num_classes=10, in_channels=3)
    names = names_of(model, muon_groups(model, 0.1))
    weights = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim > 1}
    large = {name for name, size in weights.items() if size > LARGEST}
    assert large == ({"classifier.0.weight", "classifier.3.weight"} if name == "vgg16" else set())
    assert names["classifier"] == large | {list(weights)[-1]}
    assert names["matrices"] == weights.keys() - names["classifier"]


COUNTS = {"depthwise.weight": 4, "grouped.weight": 2}


def one_matrix(weight: Tensor, update: Tensor, norms: dict[str, float], name: str) -> Tensor:
    direction = torch.from_numpy(reference_direction(update.flatten(1).numpy())).view_as(weight)
    norm = norms.setdefault(name, weight.norm().item())
    weight = weight - RECIPE.lr * norm * direction / direction.norm()
    return weight * norm / weight.norm()


def reference_step(model: Small, momenta: dict[str, Tensor], norms: dict[str, float], recipe: Recipe) -> None:
    """One step in float64, parameter by parameter, written from the formulas alone."""
    for name, parameter in model.named_parameters():
        gradient, weight = parameter.grad.double(), parameter.data.double()
        hidden = weight.ndim > 1 and name != "classifier.weight"
        if name == "classifier.weight":
            gradient = gradient + recipe.weight_decay * weight
        momentum = recipe.muon_momentum if hidden else recipe.momentum
        momenta[name] = momentum * momenta.get(name, 0.0) + gradient
        update = gradient + momentum * momenta[name]
        if hidden:
            parts = zip(weight.chunk(COUNTS.get(name, 1)), update.chunk(COUNTS.get(name, 1)), strict=True)
            weight = torch.cat([one_matrix(*each, norms, f"{name} {number}") for number, each in enumerate(parts)])
        else:
            weight = weight - (recipe.classifier_lr if name == "classifier.weight" else recipe.sgd_lr) * update
        parameter.data.copy_(weight)


def test_five_steps_equal_the_float64_reference(float32, small):
    reference = copy.deepcopy(small)
    optimizer, momenta, norms = build_optimizer(small, RECIPE), {}, {}
    assert {group["name"]: group["peak_lr"] for group in optimizer.param_groups} == PEAKS
    for step in range(5):
        for model in (small, reference):
            model.zero_grad()
            backward(model, step)
        optimizer.step()
        reference_step(reference, momenta, norms, RECIPE)
    torch.testing.assert_close(small.state_dict(), reference.state_dict(), rtol=1e-3, atol=1e-4)


def test_hidden_layers_keep_their_norm_and_zeros_can_leave_zero(small):
    nn.init.zeros_(small.linear.weight)
    before = small.hidden.weight.norm().item()
    optimizer = build_optimizer(small, RECIPE)
    for step in range(3):
        backward(small, step)
        optimizer.step()
    assert small.hidden.weight.norm().item() == pytest.approx(before, rel=1e-4)
    assert small.linear.weight.norm().item() > 0


def test_memory_format_does_not_change_a_step(float32, small):
    other = copy.deepcopy(small).to(memory_format=torch.contiguous_format)
    for model in (small, other):
        optimizer = build_optimizer(model, RECIPE)
        backward(model, 0)
        optimizer.step()
        assert model.hidden.weight.is_contiguous(
            memory_format=torch.contiguous_format if model is other else torch.channels_last
        )
    torch.testing.assert_close(small.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)
