"""The four architectures: exact sizes, sound surgery, any image, no torch before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_networks import OWN
from pydantic import ValidationError
from torch import nn
from torchvision.models import VGG, inception_v3, mobilenet_v2, resnet50, vgg16_bn

from deepnets import models
from deepnets.models import _resize, _stem
from deepnets.models._about import About, Cost
from deepnets.models._vgg16 import _RepeatedInputLinear
from deepnets.utils.errors import UserError

ARCHITECTURES = models.available()
CIFAR_STRIDES = [1, 1, 1, 2, 2]
SCRIPTS = str(Path(models.__file__).parents[2])


def network(architecture: str, num_classes: int = 10, in_channels: int = 1, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"architecture": architecture, **options}, num_classes, in_channels)


def weightless(architecture: str, num_classes: int = 10, in_channels: int = 1, **options) -> nn.Module:
    """Build the network on the meta device: it has shapes but no numbers, and takes no memory."""
    with torch.device("meta"):
        return network(architecture, num_classes, in_channels, **options)


def output_sides(net: nn.Module, images: torch.Tensor, *layers: str) -> list[int]:
    """The width in pixels of what the named layers put out."""
    sides = {}
    for name in layers:
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: sides.update({name: out.shape[-1]})
        )
    net.eval()(images)
    return [sides[name] for name in layers]


# The registry


def test_the_four_architectures_of_the_study_are_available():
    assert {"inception_v3", "mobilenet_v2", "resnet50", "vgg16"} <= set(ARCHITECTURES)


def test_unknown_architecture_is_answered_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown architecture 'resnet5'; did you mean 'resnet50'\?"):
        models.architecture("resnet5")


def test_a_module_of_the_user_is_an_architecture(own_module):
    own_module(OWN)
    assert "my_net" in models.available()
    assert models.architecture("my_net").Options().width == 8


def test_a_module_may_leave_out_its_name_look_and_cost(own_module):
    own_module(OWN)
    assert models.about("my_net") == About()
    assert models.display_name("my_net") == "my_net"


def test_a_module_declares_its_name_look_and_cost(own_module):
    about = "from deepnets.models._about import About, Cost\n"
    about += "ABOUT = About('My Net', color='#000000', marker='o', cost=Cost(1, 2, 3, 4))\n"
    own_module(OWN + about)
    assert models.display_name("my_net") == "My Net"
    assert models.about("my_net").color == "#000000"
    assert models.about("my_net").cost == Cost(1, 2, 3, 4)


@pytest.mark.parametrize("name", ["my-net", "my_net (copy)", "2_nets", "_my_net"])
def test_a_file_that_python_cannot_import_is_no_architecture(own_module, name):
    own_module("broken(", name)
    assert models.available() == ARCHITECTURES


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("= 4", "= (", r":3: SyntaxError: '\(' was never closed"),
        ("= 4", "= 4 / 0", ":3: ZeroDivisionError: division by zero"),
        ("= 4", "= 4; import no_such_package", ":3: ModuleNotFoundError: No module named 'no_such_package'"),
        ("= 4", "= 4; raise SystemExit", ":3: SystemExit: "),
        ("width: PositiveInt = 8", "width = 8", ":4: PydanticUserError: A non-annotated attribute was detected"),
        ("Options(StrictModel)", "Options", r": has no class Options\(StrictModel\)"),
        ("Options", "Option", r": has no class Options\(StrictModel\)"),
        ("= 8", "= 0", r": Options.width has no valid default \(Input should be greater than 0\)"),
        (" = 8", "", r": Options.width has no valid default \(Field required\)"),
        ("width", "architecture", ": Options.architecture is a name that every model uses"),
        ("MIN_IMAGE_SIZE = 4", "", r": MIN_IMAGE_SIZE must be a whole number of pixels above 0 \(got None\)"),
        ("= 4", "= 4.5", r": MIN_IMAGE_SIZE must be a whole number of pixels above 0 \(got 4.5\)"),
        ("def build", "ABOUT = 'My Net'\ndef build", r": ABOUT must be an About\(...\)"),
        ("def build", "def built", r": has no function build\(num_classes, in_channels, options\)"),
    ],
)
def test_a_mistake_in_a_module_of_the_user_is_one_line_with_its_file(own_module, old, new, said):
    own_module(OWN.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"^\S+/my_net\.py{said}[^\n]*; fix it or move the file away$"):
        models.architecture("my_net")


def test_every_helper_module_is_of_the_project_or_of_a_network():
    """An error in one of the project is not reported as a mistake in a user's network."""
    helpers = {file.stem for file in Path(models.__file__).parent.glob("_*.py")}
    assert helpers - {f"_{name}" for name in models.available()} == set(models._PROJECT)


def test_an_error_in_a_shared_layer_is_not_one_of_a_network():
    with pytest.raises(AttributeError) as error:
        _stem.replace(None)
    assert models.location_of(error.value) is None


def test_options_are_read_without_loading_torch():
    code = (
        "import sys; from deepnets import models\n"
        "for name in models.available(): module = models.architecture(name); module.Options(); models.about(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": SCRIPTS}, check=False).returncode == 0


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("mobilenet_v2", {"strides": [2, 2, 2, 2]}),
        ("mobilenet_v2", {"strides": [1, 1, 1, 2, 3]}),
        ("mobilenet_v2", {"strides": "22222"}),
        ("mobilenet_v2", {"dropout": 1}),
        ("inception_v3", {"min_image_size": 36}),
        ("inception_v3", {"dropout": -0.1}),
        ("resnet50", {"stem_pool": "no"}),
        ("vgg16", {"dropout": float("nan")}),
        ("vgg16", {"droput": 0.5}),
    ],
)
def test_impossible_options_are_refused(architecture, options):
    with pytest.raises(ValidationError):
        models.architecture(architecture).Options(**options)


# The published parameter counts


@pytest.mark.parametrize(
    ("architecture", "in_channels", "parameters"),
    [
        ("vgg16", 1, 134_308_810),
        ("inception_v3", 1, 21_805_226),
        ("resnet50", 1, 23_519_690),
        ("resnet50", 3, 23_520_842),
        ("mobilenet_v2", 1, 1_814_346),
        ("mobilenet_v2", 3, 1_814_922),
    ],
)
def test_parameter_count_is_the_published_one(architecture, in_channels, parameters):
    net = weightless(architecture, in_channels=in_channels)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("resnet50", {"stem_pool": False}),
        ("resnet50", {"zero_init_residual": True}),
        ("mobilenet_v2", {"strides": CIFAR_STRIDES}),
        ("inception_v3", {"min_image_size": 75}),
    ],
)
def test_options_leave_state_dict_as_it_is(architecture, options):
    shapes = [
        {name: value.shape for name, value in weightless(architecture, **kwargs).state_dict().items()}
        for kwargs in ({}, options)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("architecture", "torchvision_model", "left_out"),
    [
        ("vgg16", vgg16_bn, "-"),
        ("inception_v3", lambda: inception_v3(init_weights=True), "AuxLogits."),
        ("resnet50", resnet50, "-"),
        ("mobilenet_v2", mobilenet_v2, "features.18."),
    ],
)
def test_state_dict_names_are_torchvisions(architecture, torchvision_model, left_out):
    with torch.device("meta"):
        expected = [name for name in torchvision_model().state_dict() if not name.startswith(left_out)]
    assert list(weightless(architecture).state_dict()) == expected


# Any image, any number of channels and classes


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("side", "in_channels", "num_classes"),
    [(8, 1, 10), (28, 1, 2), (32, 3, 100), (33, 4, 10), (64, 3, 10), (224, 3, 1000)],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batch_of_two_gives_logits(architecture, side, in_channels, num_classes, training):
    net = weightless(architecture, num_classes, in_channels).train(training)
    logits = net(torch.empty(2, in_channels, side, side, device="meta"))
    assert logits.shape == (2, num_classes)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_min_image_size_is_accepted_and_a_single_image_can_be_classified(architecture):
    side = models.architecture(architecture).MIN_IMAGE_SIZE
    assert weightless(architecture).eval()(torch.empty(1, 1, side, side, device="meta")).shape == (1, 10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_images_need_not_be_square(architecture):
    assert weightless(architecture)(torch.empty(2, 1, 20, 40, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("architecture", "options", "side", "expected"),
    [
        # the stem, then the last feature maps
        ("vgg16", {}, 8, {"features.0": 32, "features": 1}),
        ("vgg16", {}, 28, {"features.0": 32, "features": 1}),
        ("vgg16", {}, 63, {"features.0": 63, "features": 1}),
        ("vgg16", {}, 64, {"features.0": 64, "features": 2, "avgpool": 7}),
        ("inception_v3", {}, 28, {"Conv2d_1a_3x3": 37, "Mixed_7c": 1}),
        ("inception_v3", {}, 52, {"Conv2d_1a_3x3": 52, "Mixed_7c": 1}),
        ("inception_v3", {"min_image_size": 75}, 28, {"Conv2d_1a_3x3": 75, "Mixed_7c": 3}),
        ("resnet50", {}, 28, {"conv1": 28, "layer1": 14, "layer4": 2}),
        ("resnet50", {}, 16, {"conv1": 16, "layer1": 8, "layer4": 1}),
        ("resnet50", {"stem_pool": False}, 28, {"conv1": 28, "layer1": 28, "layer4": 4}),
        ("mobilenet_v2", {}, 32, {"features.0": 16, "features.2": 8, "features": 1}),
        ("mobilenet_v2", {"strides": CIFAR_STRIDES}, 32, {"features.0": 32, "features.6": 32, "features": 8}),
    ],
)
def test_maps_have_the_documented_size(architecture, options, side, expected):
    images = torch.empty(1, 1, side, side, device="meta")
    assert output_sides(weightless(architecture, **options), images, *expected) == list(expected.values())


def test_images_that_are_large_enough_are_not_resized():
    images = torch.rand(2, 3, 32, 40)
    assert _resize.at_least(images, 32) is images


def test_small_images_are_enlarged_in_proportion_and_keep_their_layout():
    images = torch.rand(2, 3, 8, 12).to(memory_format=torch.channels_last)
    enlarged = _resize.at_least(images, 32)
    assert enlarged.shape == (2, 3, 32, 48)
    assert enlarged.is_contiguous(memory_format=torch.channels_last)


# Training


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_reaches_every_parameter(architecture):
    net = network(architecture)
    nn.functional.cross_entropy(net(torch.rand(4, 1, 28, 28)), torch.arange(4)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("architecture", ["inception_v3", "mobilenet_v2", "resnet50"])
def test_same_seed_gives_same_weights(architecture):
    first, second = network(architecture).state_dict(), network(architecture).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


# Initialisation: what was replaced starts as torchvision starts its neighbours


@pytest.mark.parametrize(
    ("architecture", "stem", "std"),
    [
        ("vgg16", "features.0", (2 / (64 * 9)) ** 0.5),
        ("inception_v3", "Conv2d_1a_3x3.conv", 0.1),
        ("resnet50", "conv1", (2 / (64 * 9)) ** 0.5),
        ("mobilenet_v2", "features.0.0", (2 / (32 * 9)) ** 0.5),
    ],
)
def test_stem_has_the_networks_own_initialisation(architecture, stem, std):
    weight = network(architecture, in_channels=64).get_submodule(stem).weight
    assert weight.std().item() == pytest.approx(std, rel=0.05)
    assert weight.mean().item() == pytest.approx(0, abs=0.05 * std)


def test_replaced_convolution_keeps_what_is_not_changed():
    stem = _stem.replace(nn.Conv2d(3, 64, 3, padding=1), in_channels=64)
    assert (stem.in_channels, stem.out_channels, stem.padding, stem.stride) == (64, 64, (1, 1), (1, 1))
    assert stem.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert not stem.bias.any()


def test_mobilenet_classifier_has_the_networks_own_initialisation():
    classifier = network("mobilenet_v2").classifier[1]
    assert (classifier.in_features, classifier.weight.std().item()) == (320, pytest.approx(0.01, rel=0.05))
    assert not classifier.bias.any()


def test_inception_starts_from_truncated_normal_weights():
    assert network("inception_v3").Mixed_7c.branch1x1.conv.weight.std().item() == pytest.approx(0.1, rel=0.01)


def test_strides_change_no_weight():
    first, second = network("mobilenet_v2"), network("mobilenet_v2", strides=CIFAR_STRIDES)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_zero_init_residual_starts_branches_at_zero():
    assert not network("resnet50", zero_init_residual=True).layer3[1].bn3.weight.any()
    assert network("resnet50").layer3[1].bn3.weight.all()


@pytest.mark.parametrize("architecture", ["inception_v3", "mobilenet_v2", "vgg16"])
def test_dropout_is_the_configured_one(architecture):
    rates = {m.p for m in weightless(architecture, dropout=0.125).modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.125}


# VGG's first linear layer, when all its inputs are one pixel repeated


def test_repeated_input_linear_equals_linear_on_repeated_input():
    plain = nn.Linear(6 * 49, 5)
    layer = _RepeatedInputLinear.in_place_of(plain)
    pixel = torch.randn(3, 6)
    torch.testing.assert_close(layer(pixel), plain(pixel.repeat_interleave(49, dim=1)))
    assert layer.weight is plain.weight


def test_vgg16_computes_torchvisions_logits_and_gradients():
    """On 32 px, plain VGG.forward pools to 7x7 and multiplies by all weights; ours must give the same."""
    net, images, labels = network("vgg16"), torch.rand(4, 1, 32, 32), torch.arange(4)
    results = []
    for forward in (net.forward, lambda x: VGG.forward(net, x)):
        net.zero_grad()
        torch.manual_seed(0)  # the same units dropped
        logits = forward(images)
        nn.functional.cross_entropy(logits, labels).backward()
        first_linear, last_convolution = net.classifier[0], net.features[40]
        results.append([logits, first_linear.weight.grad[:64], first_linear.bias.grad, last_convolution.weight.grad])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)


def test_vgg16_trains_in_bfloat16():
    net = network("vgg16")
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(net(torch.rand(4, 1, 28, 28)), torch.arange(4))
    loss.backward()
    gradient = net.classifier[0].weight.grad[:64]
    assert gradient.dtype == torch.float32
    assert gradient.any()
    assert gradient.isfinite().all()
