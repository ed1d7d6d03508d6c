"""Networks of torchvision and timm: logits for any image, no auxiliary head, small stems, resizing, clear refusals."""

import fnmatch
import gc
import re
import warnings
from functools import partial

import pytest
import torch
from torch import nn

from deepnets import models
from deepnets.config.recipe import ProgressiveResizing
from deepnets.evaluation.network_summary import summarize
from deepnets.models import _named, _stem
from deepnets.models._check import build_checked
from deepnets.models._sizes import _weightless
from deepnets.training.resizing import image_size_at
from deepnets.utils.errors import UserError
from deepnets.utils.machine import usable_memory_mb

# One of each of 30 families; small ones, as each takes a training step.
TIMM = (
    *("beit_base_patch16_224", "cait_xxs24_224", "coat_tiny", "convmixer_768_32", "convnext_atto", "crossvit_tiny_240"),
    *(
        "cspresnet50",
        "densenet121",
        "dla34",
        "edgenext_xx_small",
        "efficientformer_l1",
        "efficientnet_b0",
        "fastvit_t8",
    ),
    *("ghostnet_100", "hrnet_w18_small", "lcnet_050", "maxvit_rmlp_pico_rw_256", "mixer_s16_224", "mixnet_s"),
    *("mobilenetv3_small_050", "mobilevit_xxs", "nfnet_l0", "poolformer_s12", "regnety_002", "repvgg_a0", "res2net50d"),
    *("resnet10t", "rexnet_100", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"),
)
QUICK = {
    "torchvision": ("mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_32"),
    "timm": ("convnext_atto", "mobilenetv3_small_050", "resnet10t", "vit_tiny_patch16_224"),
}
SIZES = (32, 64)


def build(architecture: str, size: int = 32, channels: int = 3, classes: int = 5, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.build({"architecture": architecture, **options}, classes, channels, (size, size))


def weightless(architecture: str, size: int = 32, channels: int = 3, classes: int = 5, **options) -> nn.Module:
    """Build it on the meta device: it has shapes but no numbers."""
    return _weightless({"architecture": architecture, **options}, channels, size, classes)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def trains_one_step(architecture: str, size: int, channels: int = 3) -> None:
    """Take one step of SGD, enlarging the images where `summarize` asks for it, and see that it changes weights."""
    options = {}
    try:
        summarize({"architecture": architecture}, (channels, size, size), 5)
    except UserError as error:
        options = {"resize": int(str(error).partition("the smallest that it takes are ")[2].partition("x")[0])}
    network = build(architecture, size, channels, **options).train()
    before = [parameter.detach().clone() for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    logits = network(torch.rand(2, channels, size, size))
    assert logits.shape == (2, 5)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    optimizer.step()
    after = [parameter for parameter in network.parameters() if parameter.requires_grad]
    changed = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert changed > 0  # a ViT starts with a head of zeros, behind which nothing learns in the first step


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"{library}/{name}" for library, names in QUICK.items() for name in names])
def test_a_few_networks_train_a_step_on_gray_images_of_32_pixels(name):
    trains_one_step(name, 32, channels=1)


@pytest.mark.full
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", sorted(_named.networks("torchvision")))
def test_every_network_of_torchvision_that_fits_into_memory_trains_a_step(name, size):
    gigabytes = 16 * parameters(weightless(f"torchvision/{name}", 224)) / 1e9  # weights twice, gradients, temporary
    if gigabytes > (usable_memory_mb() or 8000) / 2000:
        pytest.skip(f"needs {gigabytes:.0f} GB")
    trains_one_step(f"torchvision/{name}", size)
    gc.collect()


@pytest.mark.full
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TIMM)
def test_networks_of_30_families_of_timm_train_a_step(name, size):
    trains_one_step(f"timm/{name}", size)


def test_the_30_networks_of_timm_are_of_different_source_files_or_families():
    assert len(TIMM) == 30
    assert len({models.display_name(f"timm/{name}").split()[0].rstrip("0123456789") for name in TIMM}) == 30


# Channels


@pytest.mark.parametrize(
    "name", ["torchvision/resnet18", "torchvision/vit_b_32", "torchvision/densenet121", "timm/convnext_atto"]
)
@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_any_number_of_channels_are_taken(name, channels):
    network = weightless(name, channels=channels).eval()
    assert network(torch.empty(1, channels, 32, 32, device="meta")).shape == (1, 5)


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(3, 256, 7, bias=False), nn.Conv2d(3, 256, 16, 16), nn.Conv2d(3, 256, 3, padding=1)]
)
@pytest.mark.parametrize("changes", [{"in_channels": 1}, {"kernel_size": 3, "stride": 1, "padding": 1}])
def test_replaced_convolution_puts_out_the_variance_of_the_original(conv, changes):
    torch.manual_seed(0)
    new = _stem.like(conv, **changes)
    before, after = (each.weight.var() * each.weight[0].numel() for each in (conv, new))
    assert after.item() == pytest.approx(before.item(), rel=0.05)
    assert (new.bias is None) == (conv.bias is None)
    assert (new.kernel_size == (3, 3)) or changes == {"in_channels": 1}


def test_three_channels_leave_torchvisions_network_as_it_is():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    expected = resnet18(num_classes=5).state_dict()
    found = build("torchvision/resnet18").state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_timms_network_has_the_weights_that_timm_draws():
    import timm

    torch.manual_seed(0)
    expected = timm.create_model("resnet10t", num_classes=5).state_dict()
    found = build("timm/resnet10t").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# Heads and options


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = weightless(f"torchvision/{name}", 96)
    assert not [each for each, _ in network.named_parameters() if "aux" in each.lower()]
    assert network.train()(torch.empty(2, 3, 96, 96, device="meta")).shape == (2, 5)


def test_options_reach_the_network():
    rates = {
        layer.p
        for layer in weightless("torchvision/efficientnet_b0", dropout=0.125).modules()
        if isinstance(layer, nn.Dropout)
    }
    assert rates == {0.125}
    assert weightless("timm/resnet10t", drop_rate=0.125).drop_rate == 0.125


def test_an_option_that_only_other_networks_of_the_source_file_have_is_refused_when_it_is_built():
    with pytest.raises(UserError, match=r"^torchvision/resnet18 has no option 'dilation' \(got 2\); "):
        summarize({"architecture": "torchvision/resnet18", "dilation": 2}, (3, 32, 32), 5)


def test_a_value_that_the_network_refuses_is_one_line():
    with pytest.raises(UserError, match=r"^torchvision/efficientnet_b0: .*; correct its options in config.yaml$"):
        summarize({"architecture": "torchvision/efficientnet_b0", "dropout": "much"}, (3, 32, 32), 5)


def test_a_network_that_returns_something_other_than_logits_is_refused(monkeypatch):
    monkeypatch.setattr("torchvision.models.resnet.ResNet.forward", lambda _self, images: (images, images))
    with pytest.raises(
        UserError, match=r"^torchvision/resnet18: the network returns a tuple .*, not a tensor of logits"
    ):
        summarize({"architecture": "torchvision/resnet18"}, (3, 32, 32), 5)


# Image sizes


@pytest.mark.parametrize(
    ("architecture", "size", "smallest"),
    [
        ("torchvision/alexnet", 28, 63),
        ("torchvision/inception_v3", 32, 75),
        ("torchvision/densenet121", 8, 29),
        ("torchvision/vit_b_16", 28, 32),
        ("timm/vit_tiny_patch16_224", 8, 16),
    ],
)
def test_images_that_are_too_small_are_refused_with_the_smallest_size_and_what_to_do(architecture, size, smallest):
    with pytest.raises(UserError) as refusal:
        summarize({"architecture": architecture}, (1, size, size), 5)
    said = (
        f"{architecture}: images of {size}x{size} pixels are too small for it, the smallest that it takes are"
        f" {smallest}x{smallest}; give the model in config.yaml resize: {smallest} (images are enlarged inside the"
        " network)"
    )
    assert str(refusal.value).startswith(said)
    assert ("stem: small" in str(refusal.value)) == ("densenet" in architecture)
    counted, _ = summarize({"architecture": architecture, "resize": smallest}, (1, size, size), 5)
    assert counted["input_size"] == [1, 1, size, size]


@pytest.mark.parametrize(
    ("architecture", "size", "start", "smallest", "larger"),
    [
        ("torchvision/inception_v3", 96, 48, 75, ", or its start to 0.79 or more"),
        ("timm/vit_tiny_patch16_224", 32, 16, 32, ""),
    ],
)
def test_images_that_are_too_small_at_the_start_alone_are_refused_with_what_to_do(
    architecture, size, start, smallest, larger
):
    check = partial(build_checked, input_shape=(1, size, size), num_classes=5)
    with pytest.raises(UserError) as refusal:
        check({"architecture": architecture}, smallest_image=start)
    assert str(refusal.value) == (
        f"{architecture}: images of {start}x{start} pixels, with which progressive_resizing starts, are too small for"
        f" it, the smallest that it takes are {smallest}x{smallest}; set progressive_resizing of the recipe to null"
        f"{larger}, or give the model in config.yaml resize: {smallest} (images are enlarged inside the network)"
    )
    check({"architecture": architecture, "resize": smallest}, smallest_image=start)
    full_size = ProgressiveResizing(start=float(larger.split()[5])) if larger else None
    check({"architecture": architecture}, smallest_image=image_size_at(0, 1, size, full_size))


def test_refusal_has_the_number_of_parameters_with_a_small_stem():
    with pytest.raises(UserError) as refusal:
        summarize({"architecture": "timm/convnext_atto"}, (1, 8, 8), 5)
    stated = str(refusal.value).partition("small images; ")[2].partition(" parameters")[0]
    assert int(stated.replace(",", "")) == parameters(weightless("timm/convnext_atto", 8, 1, stem="small"))


def test_another_mistake_is_not_called_one_of_the_size():
    with pytest.raises(UserError, match=r"has no small stem, which the families resnet, .* have"):
        summarize({"architecture": "torchvision/squeezenet1_1", "stem": "small"}, (3, 32, 32), 5)


def test_images_are_enlarged_inside_the_network_and_its_state_keeps_its_names():
    seen = []
    network = weightless("torchvision/resnet18", resize=48)
    network.conv1.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape[-1]))
    for size in (32, 64):
        network(torch.empty(2, 3, size, size, device="meta"))
    assert seen == [48, 64]
    assert list(network.state_dict()) == list(weightless("torchvision/resnet18").state_dict())


# Small stems: (parameters without, with) is the difference of the first convolution

STEMS = {
    "torchvision/resnet18": 3 * 64 * (9 - 49),
    "torchvision/resnext50_32x4d": 3 * 64 * (9 - 49),
    "torchvision/wide_resnet50_2": 3 * 64 * (9 - 49),
    "torchvision/densenet121": 3 * 64 * (9 - 49),
    "torchvision/mobilenet_v2": 0,
    "torchvision/mobilenet_v3_small": 0,
    "torchvision/efficientnet_b0": 0,
    "torchvision/efficientnet_v2_s": 0,
    "torchvision/convnext_tiny": 3 * 96 * (9 - 16),
    "torchvision/regnet_y_400mf": 0,
    "timm/resnet18": 3 * 64 * (9 - 49),
    "timm/resnet18d": 0,
    "timm/resnetblur18": 3 * 64 * (9 - 49),  # blurs after the pooling
    "timm/resnetv2_50x1_bit": 3 * 64 * (9 - 49),  # pads before the pooling
    "timm/resnext50_32x4d": 3 * 64 * (9 - 49),
    "timm/wide_resnet50_2": 3 * 64 * (9 - 49),
    "timm/densenet121": 3 * 64 * (9 - 49),
    "timm/densenetblur121d": 0,
    "timm/mobilenetv2_100": 0,
    "timm/mobilenetv3_small_050": 0,
    "timm/mobilenetv4_conv_small": 0,
    "timm/mobilenetv4_conv_blur_medium": 0,
    "timm/efficientnet_b0": 0,
    "timm/efficientnet_blur_b0": 0,
    "timm/tf_efficientnetv2_b0": 0,
    "timm/convnext_atto": 3 * 40 * (9 - 16),
    "timm/convnextv2_atto": 3 * 40 * (9 - 16),
    "timm/regnety_002": 0,
}


@pytest.mark.parametrize(("name", "difference"), STEMS.items())
def test_small_stem_is_a_3x3_convolution_and_quadruples_the_side_of_the_maps(name, difference):
    plain, small = weightless(name), weightless(name, stem="small")
    assert parameters(small) - parameters(plain) == difference
    conv = next(layer for layer in small.modules() if isinstance(layer, nn.Conv2d))
    assert (conv.kernel_size, conv.stride) == ((3, 3), (1, 1))
    assert last_side(small) == 4 * last_side(plain)
    assert small(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 5)


def last_side(network: nn.Module) -> int:
    """The side of the last maps of an image of 128 px."""
    sides = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    network.eval()(torch.empty(1, 3, 128, 128, device="meta"))
    return min(side for side in sides if side > 1)


@pytest.mark.parametrize("name", ["torchvision/vgg11", "torchvision/swin_t", "timm/vit_tiny_patch16_224"])
def test_other_families_have_no_small_stem(name):
    with pytest.raises(UserError, match=f"^{name}: has no small stem, which the families .* have; leave out stem"):
        weightless(name, stem="small")


@pytest.mark.parametrize("name", ["timm/bat_resnext26ts", "timm/tresnet_m"])
def test_a_network_whose_first_layers_cannot_be_changed_is_refused_with_what_to_do(name):
    refusal = f"^{name}: its first layers cannot be changed into a small stem; leave out stem, and write resize: with 4"
    with pytest.raises(UserError, match=refusal):
        weightless(name, stem="small")


@pytest.mark.full
def test_of_all_networks_of_timm_only_those_that_the_page_excludes_have_no_small_stem(root):
    names = [f"timm/{name}" for name in _named.networks("timm") if _named.HAS_SMALL_STEM.search(name)]
    refused = []
    for name in names:
        try:
            with torch.device("meta"):
                models.build({"architecture": name, "stem": "small"}, 5, 3, (32, 32))
        except UserError:
            refused.append(name)
    page = (root / "docs/how-to/networks.md").read_text(encoding="utf-8")
    [paragraph] = [each for each in page.split("\n\n") if "networks with such a name are refused" in each]
    excluded = re.findall(r"`(timm/[^`]+)`", paragraph)
    assert len(names) > 300
    assert sorted(refused) == sorted({name for each in excluded for name in fnmatch.filter(names, each)})


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnetblur18"])
def test_small_stem_trains_a_step(name):
    network = build(name, channels=1, stem="small").train()
    nn.functional.cross_entropy(network(torch.rand(2, 1, 16, 16)), torch.tensor([0, 1])).backward()
    assert network.conv1.weight.grad.any()
