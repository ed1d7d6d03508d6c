"""Norms folded into convolutions: no output changes by it, and a network in which one would stays as it is."""

import numpy as np
import pytest
import torch
from tiny_experiment import JOB, call, evaluate, train
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.evaluation import evaluate as evaluation
from deepnets.evaluation import folding, robustness
from deepnets.evaluation.folding import FEWEST_IMAGES, fold_for_many, fold_norms
from deepnets.evaluation.robustness import evaluate_robustness
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, choose_device
from deepnets.utils.files import read_json
from deepnets.utils.tensors import load_tensors

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def with_trained_norms(network: nn.Module) -> nn.Module:
    """Give norms other numbers than those that change nothing; return the network, ready for predictions."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(norm.bias, 0, 0.1, generator=generator)
    return network.eval()


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    return network(images)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])  # in which some convolutions have another class
@pytest.mark.parametrize(
    ("architecture", "norms"),
    [
        *(("mobilenet_v2", 51), ("resnet50", 53), ("inception_v3", 94), ("vgg16", 13)),
        *(("timm/resnet18", 20), ("torchvision/shufflenet_v2_x1_0", 56)),
        ("torchvision/densenet121", 59),  # of 121: the others read several convolutions together
        ("timm/efficientnet_b0", 0),  # its norms are timm's own, with an activation in them
    ],
)
def test_every_norm_after_a_convolution_is_folded_and_the_outputs_stay_the_same(architecture, norms, precision):
    torch.manual_seed(0)
    network = with_trained_norms(models.build({"architecture": architecture}, 10, 1, (32, 32)))
    choose_device(network, "cpu", precision)
    images = torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        before = outputs(network, images).float()
    assert fold_norms(network, images[:2]) == norms
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        after = outputs(network, images).float()
    rounding = 5e-2 if precision == "bf16" else 1e-5
    assert torch.allclose(after, before, rtol=0, atol=rounding * before.abs().max())


class Block(nn.Module):
    """A convolution and a norm, each of which reads what a test needs."""

    def __init__(self, conv: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm = conv or nn.Conv2d(2, 2, 3, padding=1), norm or nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).relu().mean((2, 3))


class ReadTwice(Block):
    def forward(self, images):
        maps = self.conv(images)
        return (self.norm(maps).relu() + maps).mean((2, 3))


class ReadByName(Block):
    def forward(self, images):
        maps = self.conv(images)
        return torch.add(self.norm(maps).relu(), other=maps).mean((2, 3))


class ChangedFirst(Block):
    def forward(self, images):
        return self.norm(self.conv(images).mul_(images)).mean((2, 3))


class ConvolutionTwice(Block):
    def forward(self, images):
        return self.norm(self.conv(self.conv(images))).relu().mean((2, 3))


class NormTwice(Block):
    def forward(self, images):
        return self.norm(self.norm(self.conv(images)).relu()).mean((2, 3))


class NormFirst(Block):
    def forward(self, images):
        return self.conv(self.norm(images)).mean((2, 3))


class OwnNorm(nn.BatchNorm2d):
    def forward(self, images):
        return super().forward(images).relu() - 1


class OwnConvolution(nn.Conv2d):
    """Standardises its weights, so that a factor has no effect."""

    def forward(self, images):
        return nn.functional.conv2d(images, self.weight / self.weight.std(), self.bias, padding=1)


class WithHook(Block):
    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_hook(lambda *_: None)


def after_a_plain_pair(block: Block) -> nn.Module:
    """Put a pair that can be folded in front of a block."""
    pair = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
    return with_trained_norms(nn.Sequential(*pair, nn.ReLU(), block))


@pytest.mark.parametrize(
    "block",
    [
        *(kind() for kind in (ReadTwice, ReadByName, ChangedFirst)),
        *(kind() for kind in (ConvolutionTwice, NormTwice, NormFirst, WithHook)),
        Block(norm=nn.BatchNorm2d(2, track_running_stats=False)),
        Block(norm=OwnNorm(2)),
        Block(norm=nn.InstanceNorm2d(2)),
        Block(conv=OwnConvolution(2, 2, 3)),
        Block(conv=weight_norm(nn.Conv2d(2, 2, 3))),
    ],
    ids=lambda block: f"{type(block).__name__} {type(block.conv).__name__} {type(block.norm).__name__}",
)
def test_a_norm_that_cannot_be_folded_leaves_others_to_be(block):
    network = after_a_plain_pair(block)
    before, state = outputs(network, IMAGES), {name: value.clone() for name, value in block.state_dict().items()}
    assert fold_norms(network, IMAGES) == 1
    assert block.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in block.state_dict().items())
    assert torch.allclose(outputs(network, IMAGES), before, atol=1e-5)


class ReadsWeights(Block):
    """Who reads the maps shows no danger: only the outputs do."""

    def forward(self, images):
        return super().forward(images) * self.conv.weight.abs().sum()


class ReadsNorm(Block):
    def forward(self, images):
        return super().forward(images) + self.norm.weight


class OneInfinite(ReadsWeights):
    def forward(self, images):
        return torch.cat([super().forward(images), torch.full((len(images), 1), torch.inf)], 1)


class FarFromZero(ReadsWeights):
    """A number that is added to all logits changes no prediction, and must hide no change of one."""

    def forward(self, images):
        return 1e4 + super().forward(images)


@pytest.mark.parametrize("kind", [ReadsWeights, ReadsNorm, OneInfinite, FarFromZero])
def test_a_network_whose_outputs_would_change_stays_as_it_is(kind):
    network = after_a_plain_pair(kind())
    before, state = outputs(network, IMAGES), {name: value.clone() for name, value in network.state_dict().items()}
    assert fold_norms(network, IMAGES) == 0
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(outputs(network, IMAGES), before)


def test_a_plain_block_is_folded_with_and_without_bias_and_affine_numbers():
    for block in (Block(), Block(conv=nn.Conv2d(2, 2, 3, bias=False)), Block(conv=nn.Conv2d(2, 2, 3, groups=2))):
        before = outputs(with_trained_norms(block), IMAGES)
        assert fold_norms(block, IMAGES) == 1
        assert torch.allclose(outputs(block, IMAGES), before, atol=1e-5)
        assert isinstance(block.norm, nn.Identity)
    plain = Block(norm=nn.BatchNorm2d(2, affine=False)).eval()
    plain.norm.running_mean.fill_(0.3)
    before = outputs(plain, IMAGES)
    assert fold_norms(plain, IMAGES) == 1
    assert torch.allclose(outputs(plain, IMAGES), before, atol=1e-5)


def test_a_fold_that_fails_half_way_is_taken_back(monkeypatch):
    network = with_trained_norms(nn.Sequential(Block(), nn.Unflatten(1, (2, 1, 1)), Block(conv=nn.Conv2d(2, 2, 1))))
    before, real, calls = outputs(network, IMAGES), folding.fuse_conv_bn_weights, []

    def fails_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError
        return real(*args)

    monkeypatch.setattr(folding, "fuse_conv_bn_weights", fails_second)
    assert fold_norms(network, IMAGES) == 0
    assert len(calls) == 2
    assert torch.equal(outputs(network, IMAGES), before)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == 2


# -- where it is done --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "device", "norms"), [(FEWEST_IMAGES - 1, CPU, 1), (FEWEST_IMAGES, CPU, 0), (FEWEST_IMAGES, GPU, 1)]
)
def test_only_a_large_test_split_on_a_cpu_is_worth_it(images, device, norms):
    network = Block(conv=nn.Conv2d(1, 2, 3))
    test = Split.of_arrays(np.zeros((images, 8, 8, 1), np.uint8), np.zeros(images, np.int64))
    augmentation = Augmentation(Recipe().augment, False, [0.5], [0.5], CPU)
    folded = fold_for_many(network, test, augmentation, Device(device, "fp32", 1, deterministic=True))
    assert folded == 1 - norms
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == norms


def test_the_outputs_are_compared_on_normalised_images_of_all_parts_of_the_split(monkeypatch):
    tried = []
    monkeypatch.setattr(folding, "fold_norms", lambda _network, images: tried.append(images) or 0)
    pixels = np.arange(FEWEST_IMAGES) * 255 // FEWEST_IMAGES
    test = Split.of_arrays(np.tile(pixels.astype(np.uint8)[:, None, None, None], (1, 8, 8, 1)), pixels)
    augmentation = Augmentation(Recipe().augment, False, [0.5], [0.5], CPU)
    fold_for_many(Block(), test, augmentation, Device(CPU, "fp32", 1, deterministic=True))
    assert tried[0].shape == (8, 1, 8, 8)
    assert -1 <= tried[0].min() < -0.5
    assert 0.5 < tried[0].max() <= 1


def norms_at_prediction(monkeypatch, stage) -> list[int]:
    """Note how many norms the network has whenever a stage predicts."""
    found, predict = [], stage.predict

    def noting(model, *args, **kwargs):
        found.append(sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()))
        return predict(model, *args, **kwargs)

    monkeypatch.setattr(stage, "predict", noting)
    return found


def test_evaluation_and_robustness_predict_test_images_by_the_same_folded_network(data, copy, monkeypatch):
    logits, _ = load_tensors(copy / "predictions.safetensors")
    monkeypatch.setattr(folding, "FEWEST_IMAGES", 21)
    of_evaluation, of_robustness = (norms_at_prediction(monkeypatch, stage) for stage in (evaluation, robustness))
    evaluate(data, copy)
    call(evaluate_robustness, JOB, data, copy, gpus=0, log=copy / "log")
    assert of_evaluation == [51, 0, 0]  # validation images as in training, whose logits are not there any more
    assert set(of_robustness) == {0}
    folded, _ = load_tensors(copy / "predictions.safetensors")
    assert torch.equal(folded["validation_logits"], logits["validation_logits"])
    difference, spread = (folded["test_logits"] - logits["test_logits"]).abs().max(), logits["test_logits"].std(0).max()
    assert 0 < difference < spread
    accuracy = read_json(copy / "metrics.json")["test"]["accuracy"]
    assert read_json(copy / "robustness.json")["accuracy"] == accuracy
    for file in ("metrics.json", "robustness.json"):
        assert read_json(copy / file)["evaluated_on"]["norms_folded"] == 51


def test_a_repeated_evaluation_with_a_folded_network_writes_the_same_bytes(data, tmp_path, monkeypatch):
    monkeypatch.setattr(folding, "FEWEST_IMAGES", 21)
    train(data, tmp_path)
    evaluate(data, tmp_path)
    files = [tmp_path / name for name in ("predictions.safetensors", "metrics.json", "predictions.csv")]
    once = [file.read_bytes() for file in files]
    evaluate(data, tmp_path)  # training's validation logits are gone with the checkpoints
    assert [file.read_bytes() for file in files] == once


def test_mirrored_validation_images_are_predicted_as_in_training_too(data, copy, monkeypatch):
    monkeypatch.setattr(folding, "FEWEST_IMAGES", 21)
    of_evaluation = norms_at_prediction(monkeypatch, evaluation)
    evaluate(data, copy, JOB | {"test_time_augmentation": "mirror"})
    assert of_evaluation == [51, 51, 0, 0, 0]
    assert read_json(copy / "metrics.json")["mirror_averaged"].keys() == {"validation", "test"}
