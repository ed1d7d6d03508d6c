"""Weights of earlier training runs: what fits a network, what is refused, and what freezing trains."""

import io
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_trainer import network as small_network
from small_trainer import separable
from torch import nn

from deepnets.config.recipe import Recipe
from deepnets.evaluation.schemas import StartedFrom
from deepnets.models._pretrained import freeze_backbone, head_of, is_frozen, match, set_training_mode
from deepnets.models._weight_files import read_weights
from deepnets.training.features import changes_images, divide
from deepnets.training.layer_decay import layers_of
from deepnets.training.optim import build_optimizer
from deepnets.training.start import Start, normalisation, prepare_network, read_start
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file

HEAD = {"fc.weight", "fc.bias"}


def net(channels: int = 3, classes: int = 5) -> nn.Module:
    layers = {
        "conv": nn.Conv2d(channels, 4, 3, bias=False),
        "norm": nn.BatchNorm2d(4),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "fc": nn.Linear(4, classes),
    }
    made = nn.Sequential()
    for name, layer in layers.items():
        made.add_module(name, layer)
    return made


# Matching


def test_all_but_the_head_fits_a_network_for_other_classes():
    weights = net(classes=9).state_dict()
    found = match(net(), weights, HEAD)
    assert found.tensors.keys() == weights.keys() - HEAD
    assert (found.parameters, found.of) == (4 * 27 + 8, 4 * 27 + 8)
    assert found.replaced == ["fc.weight", "fc.bias"]
    assert found.adapted == found.initialised == found.unused == []


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.net."])
def test_a_prefix_of_all_names_does_not_matter(prefix):
    weights = net().state_dict()
    longer = {f"{prefix}{name}": each for name, each in weights.items()} | {"optimizer.step": torch.zeros(1)}
    found = match(net(), longer, HEAD)
    assert found.tensors.keys() == weights.keys() - HEAD
    assert found.unused == ["optimizer.step"]
    inside = nn.ModuleDict({"body": net()})
    assert set(match(inside, weights, set()).tensors) == {f"body.{name}" for name in weights}


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (1, 3)])
def test_first_convolution_gives_for_gray_images_what_it_gave(given, wanted):
    torch.manual_seed(0)
    source, target = net(given), net(wanted)
    found = match(target, source.state_dict(), HEAD)
    assert found.adapted == ["conv.weight"]
    target.load_state_dict(found.tensors, strict=False)
    gray = torch.rand(2, 1, 8, 8)
    maps = (each.conv(gray.expand(-1, channels, -1, -1)) for each, channels in ((source, given), (target, wanted)))
    torch.testing.assert_close(*maps)


def test_layers_of_another_shape_and_missing_ones_are_named():
    weights = net().state_dict()
    weights["norm.bias"] = torch.zeros(7)
    del weights["norm.running_mean"], weights["norm.num_batches_tracked"]
    found = match(net(), weights | {"aux.weight": torch.zeros(1)}, HEAD)
    assert found.initialised == ["norm.bias", "norm.running_mean"]
    assert found.unused == ["aux.weight", "norm.bias"]


def test_weights_of_another_network_are_refused_with_names_of_both():
    weights = {"layer.weight": torch.zeros(2, 3)}
    with pytest.raises(
        UserError, match=r"only 0 of 116 parameters fit: the weights have layer.weight \(2, 3\); the net"
    ):
        match(net(), weights, HEAD)


# Files


def test_tensors_are_read_from_a_checkpoint_of_torch(tmp_path):
    weights = net().state_dict()
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.pth")
    tensors, metadata = read_weights(tmp_path / "a.pth")
    assert all(torch.equal(tensors[name], each) for name, each in weights.items())
    assert metadata == {}


def test_averaged_weights_of_a_checkpoint_come_first(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": {"a": torch.ones(1)}}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")[0] == {"a": torch.ones(1)}


def test_what_another_program_writes_next_to_its_weights_means_nothing_here(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"format": "pt", "mean": "0.5 0.5 0.5"})
    assert read_weights(tmp_path / "a.safetensors")[1] == {}


class Bomb:
    def __reduce__(self):
        return exec, ("import builtins; builtins.exploded = True",)


@pytest.mark.parametrize("save", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
def test_code_in_a_pickle_is_not_run(save, tmp_path):
    save({"conv.weight": Bomb()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a.pth: not read .* only tensors are"):
        read_weights(tmp_path / "a.pth")
    import builtins

    assert not hasattr(builtins, "exploded")


def test_a_whole_module_and_a_damaged_file_are_refused(tmp_path):
    torch.save(net(), tmp_path / "whole.pt")
    buffer = io.BytesIO()
    torch.save(net().state_dict(), buffer)
    (tmp_path / "cut.pth").write_bytes(buffer.getvalue()[:300])
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"student": {}, "epoch": 3}, tmp_path / "table.pth")
    texts = {
        "whole.pt": "not read",
        "cut.pth": "not read",
        "list.pth": "holds no tensors by name but a list;",
        "table.pth": "holds no tensors by name but a dict of student, epoch;",
    }
    for name, text in texts.items():
        with pytest.raises(UserError, match=f"{name}: {text}"):
            read_weights(tmp_path / name)


# Heads, freezing


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("resnet50", {"fc.weight", "fc.bias"}),
        ("vgg16", {"classifier.6.weight", "classifier.6.bias"}),
        ("torchvision/squeezenet1_1", {"classifier.1.weight", "classifier.1.bias"}),
    ],
)
def test_head_is_what_depends_on_the_number_of_classes(architecture, head):
    from deepnets import models

    spec = {"architecture": architecture}
    with torch.device("meta"):
        made = models.build(spec, 5, 1, (32, 32))
    assert head_of(made, spec, 5, (1, 32, 32)) == head


def test_frozen_layers_stay_in_evaluation_while_the_head_trains():
    network = net()
    assert not is_frozen(network)
    freeze_backbone(network, HEAD, "resnet50")
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["fc.weight", "fc.bias"]
    network.eval()
    set_training_mode(network, network)
    assert [name for name, layer in network.named_modules() if layer.training] == ["fc"]
    before = network.norm.running_mean.clone()
    network(torch.rand(2, 3, 8, 8))
    assert torch.equal(network.norm.running_mean, before)


def test_a_network_without_head_cannot_be_frozen():
    with pytest.raises(UserError, match="no layer depends on num_classes, so freeze: backbone would leave nothing"):
        freeze_backbone(net(), set(), "resnet50")


# Features


def test_features_are_computed_once_only_where_nothing_changes_an_image():
    plain = Recipe(augment={"horizontal_flip": False})
    assert not changes_images(plain, flips=True)
    assert not changes_images(Recipe(), flips=False)
    assert changes_images(Recipe(), flips=True)
    assert changes_images(Recipe(augment={"cutout": 2}), flips=False)
    assert changes_images(Recipe(progressive_resizing={"start": 0.5}), flips=False)
    network = small_network()
    assert divide(network, plain, True, separable()) is None  # not frozen
    freeze_backbone(network, {"6.weight", "6.bias"}, "resnet50")
    assert divide(network, plain, True, separable()).head == "6"
    assert divide(network, Recipe(augment={"cutout": 2}), False, separable()) is None
    followed = nn.Sequential(network, nn.Softmax(1))
    assert divide(followed, plain, True, separable()) is None


@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
def test_training_on_features_gives_what_training_on_images_gives(averaging, tmp_path, monkeypatch):
    from small_trainer import CPU, DEVICE, MEAN, STD, checkpoints_in, trainer

    from deepnets.training import features
    from deepnets.training.augmentation import Augmentation
    from deepnets.training.features import FeatureAugmentation
    from deepnets.training.trainer import Trainer

    def frozen():
        made = small_network()
        freeze_backbone(made, {"6.weight", "6.bias"}, "resnet50")
        return made

    on_images = trainer(frozen(), augment={"horizontal_flip": False}, weight_averaging=averaging)
    expected = on_images.fit(checkpoints_in(tmp_path / "images")).state_dict()
    whole = frozen()
    divided = divide(whole, on_images.recipe, False, separable())
    augmentation = Augmentation(on_images.recipe.augment, False, [MEAN], [STD], CPU)
    monkeypatch.setattr(features, "EVALUATION_BATCH", 10)
    train, validation = (
        divided.features(split, augmentation, DEVICE) for split in (on_images.train_split, on_images.validation_split)
    )
    once = Trainer(divided.trained_part(), on_images.recipe, train, validation, FeatureAugmentation(), 7, DEVICE)
    found = divided.with_head_of(once.fit(checkpoints_in(tmp_path / "features"))).state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
    assert not torch.equal(found["6.weight"], small_network().state_dict()["6.weight"])


# Learning rates by layer


def test_a_block_is_a_layer_and_a_norm_is_of_the_convolution_before_it():
    from torchvision.models import resnet18

    with torch.device("meta"):
        layers = layers_of(resnet18())
    assert layers["conv1.weight"] == layers["bn1.weight"] == 0
    assert layers["layer1.0.conv1.weight"] == layers["layer1.0.bn2.bias"] == 1
    assert layers["layer4.1.conv2.weight"] == 8
    assert layers["fc.weight"] == layers["fc.bias"] == 9


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_each_layer_learns_at_a_fraction_of_the_next_ones_rate(optimizer):
    network = small_network(hidden=True)
    kept = build_optimizer(network, Recipe(optimizer=optimizer, lr=0.1, sgd_lr=0.1, classifier_lr=0.1))
    assert {group["peak_lr"] for group in kept.param_groups} == {0.1}
    recipe = Recipe(optimizer=optimizer, lr=0.1, sgd_lr=0.1, classifier_lr=0.1, layer_decay=0.5)
    groups = build_optimizer(network, recipe).param_groups
    rates = {id(parameter): group["peak_lr"] for group in groups for parameter in group["params"]}
    by_name = {name: rates[id(parameter)] for name, parameter in network.named_parameters()}
    assert by_name["0.weight"] == by_name["2.weight"] == pytest.approx(0.025)
    assert by_name["4.weight"] == pytest.approx(0.05)
    assert by_name["8.weight"] == by_name["8.bias"] == pytest.approx(0.1)
    if optimizer == "muon":
        assert all(len(group["params"]) == len(group["matrix_counts"]) for group in groups if "matrix_counts" in group)


# Images that were made smaller


@pytest.mark.parametrize(("found", "warned"), [("64, as ...; for all of them write `size: 300`", True), ("64", False)])
def test_images_that_are_made_smaller_and_enlarged_again_are_named_with_the_size_to_write(found, warned, caplog):
    from deepnets import models

    spec = {"model": {"architecture": "torchvision/shufflenet_v2_x0_5", "resize": 224}}
    network = models.build(spec["model"], 2, 3, (64, 64))
    metadata = {"classes": ["a", "b"], "input_shape": [3, 64, 64], "found": {"size": found}}
    weights = Start(Path("a.pth"), {"sha256": ""}, "", network.state_dict(), None, None, None)
    prepare_network(network, spec, metadata, weights, "birds/net/quick/seed0")
    assert any("write `size: 224` for datasets.birds" in line for line in caplog.messages) == warned


# Normalisation


def start(mean, std):
    return Start(None, {}, "", {}, None, mean, std)


def test_mean_and_std_of_the_weights_are_taken_over_where_they_are_known():
    metadata = {"mean": [0.1], "std": [0.2], "input_shape": [1, 8, 8]}
    own = {"mean": [0.1], "std": [0.2]}
    assert normalisation(None, metadata) == own
    assert normalisation(start(None, None), metadata) == own
    assert normalisation(start([0.3], [0.4]), metadata) == {"mean": [0.3], "std": [0.4]}
    gray = normalisation(start([0.3, 0.4, 0.5], [0.2, 0.2, 0.5]), metadata)
    assert gray == {"mean": [pytest.approx(0.4)], "std": [pytest.approx(0.3)]}


def test_mean_and_std_of_config_yaml_are_used_and_recorded(tmp_path):
    from deepnets import models

    model = {"architecture": "torchvision/shufflenet_v2_x0_5", "resize": None}
    network = models.build(model, 2, 3, (64, 64))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    known = {"sha256": sha256_file(tmp_path / "a.pth"), "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    spec = {"model": model, "weights": known}
    metadata = {"classes": ["a", "b"], "input_shape": [3, 64, 64], "mean": [0.1] * 3, "std": [0.2] * 3}
    found = read_start(spec, tmp_path / "a.pth")
    assert normalisation(found, metadata) == {"mean": known["mean"], "std": known["std"]}
    record = prepare_network(network, spec, metadata, found, "birds/net/quick/seed0")
    how = "by mean 0.485, 0.456, 0.406 and standard deviation 0.229, 0.224, 0.225, as config.yaml says"
    assert record["normalised"] == how
    assert StartedFrom(**record).weights == {"file": "a.pth", **known}
    unknown = read_start({**spec, "weights": {"sha256": known["sha256"]}}, tmp_path / "a.pth")
    assert normalisation(unknown, metadata) == {"mean": [0.1] * 3, "std": [0.2] * 3}
