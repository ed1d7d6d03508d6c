"""Networks named by their place in config.yaml: names and options are checked without loading torch."""

import subprocess
import sys

import pytest
import yaml
from config_files import ROOT, load, refused, write

from deepnets import models
from deepnets.config.yaml_reader import read
from deepnets.figures.looks import COLORS, LOOKS, look_indices
from deepnets.models import _named
from deepnets.models._readable import readable

NETS = """
from torch import nn
from torchvision.models import resnet18 as borrowed
import blocks

if True:
    alias = nn.Linear

def small_net(num_classes, in_channels, width=8):
    def hidden(): ...

class SmallNet(nn.Module):
    def __init__(self, num_classes, in_channels, *, depth=2): ...

class Anything(SmallNet):
    def __init__(self, **options): ...
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A file with networks next to config.yaml, which is in the working directory."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)


def model(**options):
    return {"models/new": options}


ACCEPTED = {
    "torchvision": {"architecture": "torchvision/efficientnet_b0", "dropout": 0.1, "stochastic_depth_prob": 0},
    "timm": {"architecture": "timm/convnext_atto", "drop_rate": 0.1, "head_hidden_size": None},
    "for one dataset": {"architecture": "timm/convnext_atto", "on": {"digits": {"stem": "small", "drop_rate": 0.5}}},
    "an option that a parent class has": {"architecture": "timm/deit_tiny_distilled_patch16_224", "drop_rate": 0.1},
    "a small stem": {"architecture": "torchvision/resnet18", "stem": "small", "resize": 64},
    "a function": {"architecture": "nets.py:small_net", "width": 4, "resize": 16},
    "a class": {"architecture": "nets.py:SmallNet", "depth": 3},
    "any options": {"architecture": "nets.py:Anything", "anything": [1, "two", False, None]},
    "what is imported": {"architecture": "nets.py:borrowed"},
    "what is assigned": {"architecture": "nets.py:alias"},
}


@pytest.mark.parametrize("options", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_network_that_exists_is_accepted_with_its_own_options(nets, tmp_path, options):
    spec = load(tmp_path, model(**options)).models["new"].model_dump(exclude_unset=True)
    assert spec == options


REFUSED = {
    "architecture: torchvision has no network 'resnet81'; did you mean 'resnet18'?": {
        "architecture": "torchvision/resnet81"
    },
    "architecture: timm has no network 'convnext_ato'; did you mean 'convnext_atto'?": {
        "architecture": "timm/convnext_ato"
    },
    "architecture: timm has no weights 'a1_in1' of resnet18; did you mean 'a1_in1k'?": {
        "architecture": "timm/resnet18.a1_in1"
    },
    "architecture: unknown architecture (got 'resnet18'); did you mean torchvision/resnet18 or timm/resnet18?": {
        "architecture": "resnet18"
    },
    "architecture: unknown architecture (got 'ConvNeXt-Atto'); did you mean timm/convnext_atto?": {
        "architecture": "ConvNeXt-Atto"
    },
    "architecture: torchvision has no network 'fcn_resnet50'; did you mean 'resnet50'?": {
        "architecture": "torchvision/fcn_resnet50"
    },
    "architecture: unknown architecture (got 'torchvison/resnet18'); did you mean 'torchvision/<name>'?": {
        "architecture": "torchvison/resnet18"
    },
    "timm/convnext_atto has no option 'drop_rat' (got 0.1); did you mean 'drop_rate'?": {
        "architecture": "timm/convnext_atto",
        "drop_rat": 0.1,
    },
    "torchvision/resnet18 has no option 'zero_init_residul' (got True); did you mean 'zero_init_residual'?": {
        "architecture": "torchvision/resnet18",
        "on": {"digits": {"zero_init_residul": True}},
    },
    "torchvision/resnet18 has no option 'stme' (got 'small'); did you mean 'stem'?": {
        "architecture": "torchvision/resnet18",
        "stme": "small",
    },
    "num_classes is not an option (got 3): the workflow sets it; leave it out": {
        "architecture": "timm/convnext_atto",
        "num_classes": 3,
    },
    "drop_rate: must be a finite number": {"architecture": "timm/convnext_atto", "drop_rate": float("inf")},
    "drop_rate: must be a number, text, true, false or a list of these": {
        "architecture": "timm/convnext_atto",
        "drop_rate": {"a": 1},
    },
    "resize: must be at most 4096 (got 5000)": {"architecture": "timm/convnext_atto", "resize": 5000},
    "architecture: nets.py has no 'SmalNet'; did you mean 'SmallNet'?": {"architecture": "nets.py:SmalNet"},
    "architecture: nets.py has no 'hidden'; valid: nn, borrowed, blocks, alias, small_net, SmallNet, Anything": {
        "architecture": "nets.py:hidden"
    },
    "nets.py:SmallNet has no option 'blocks' (got 3); valid: depth, freeze, mean, on, resize, std, weights": {
        "architecture": "nets.py:SmallNet",
        "blocks": 3,
    },
    "nets.py:SmallNet has no option 'stem' (got 'small'); valid: depth, freeze, mean, on, resize, std, weights": {
        "architecture": "nets.py:SmallNet",
        "stem": "small",
    },
    "architecture: ../nets.py: must be in the folder of config.yaml or in one below it, other than scripts/": {
        "architecture": "../nets.py:SmallNet"
    },
    "architecture: broken.py:1: not valid Python ('(' was never closed); fix it": {"architecture": "broken.py:Net"},
}


@pytest.mark.parametrize(("said", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_mistake_is_one_line_with_the_nearest_name_when_the_configuration_is_read(nets, tmp_path, said, options):
    (tmp_path / "broken.py").write_text("broken(")
    [line] = refused(tmp_path, model(**options))
    path, _, text = line.removeprefix("config.yaml: models.new").partition(" ")
    assert f"{path.removeprefix('.').removesuffix(':')}: {text}".removeprefix(": ") == said


def test_small_stem_is_refused_where_the_name_shows_no_such_family(nets, tmp_path):
    [line] = refused(tmp_path, model(architecture="torchvision/squeezenet1_1", stem="small"))
    assert "models.new.stem: torchvision/squeezenet1_1 has no small stem, which the families resnet, " in line
    assert line.endswith("; leave out stem, or choose another network")
    vit = {"architecture": "timm/vit_tiny_patch16_224", "on": {"mnist": {"stem": "small"}}}
    [line] = refused(tmp_path, model(**vit))
    assert "models.new.on.mnist.stem: timm/vit_tiny_patch16_224 has no small stem" in line


def test_the_tag_of_weights_is_not_part_of_the_network(tmp_path):
    config = load(tmp_path, model(architecture="timm/resnet18.a1_in1k", drop_rate=0.1))
    spec = config.models["new"].spec("digits", config.datasets["digits"])
    assert spec["architecture"] == "timm/resnet18"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("timm/tinynet_a", "tinynet_a: {architecture: timm/tinynet_a}"),
        ("timm/resnet18.a1_in1k", "resnet18_a1_in1k: {architecture: timm/resnet18.a1_in1k}"),
        ("nets.py:SmallNet", "SmallNet: {architecture: nets.py:SmallNet}"),
        ("tinynet_a", "tinynet_a: {architecture: timm/tinynet_a}"),
    ],
)
def test_network_that_a_study_names_by_its_place_belongs_below_models(nets, tmp_path, name, line):
    [message] = refused(tmp_path, {"studies/demo/0/models": [name]})
    new = line.partition(":")[0]
    assert message == (
        f"config.yaml: studies.demo[0].models[0]: unknown model (got {name!r}); add a line below `models:`, {line}, and"
        f" write {new} here"
    )
    assert yaml.safe_load(line) == {new: {"architecture": name if "/" in name or ":" in name else f"timm/{name}"}}


def test_file_that_is_missing_is_named_with_its_folder(nets, tmp_path):
    [line] = refused(tmp_path, model(architecture="net.py:SmallNet"))
    assert "no file net.py in " in line


def test_numbers_and_flags_of_a_networks_options_may_be_text(tmp_path):
    options = {"architecture": "timm/convnext_atto", "drop_rate": "1e-1", "ls_init_value": "1", "conv_mlp": "true"}
    assert load(tmp_path, model(**options)).models["new"].model_extra == {
        "drop_rate": 0.1,
        "ls_init_value": 1,
        "conv_mlp": True,
    }


def test_options_that_are_left_out_are_no_part_of_the_spec_but_those_of_the_project_are(tmp_path):
    config = load(tmp_path, model(architecture="timm/convnext_atto", on={"cifar10": {"drop_rate": 0.5}}))
    digits, photos = (config.models["new"].spec(name, config.datasets[name]) for name in ("digits", "photos"))
    assert digits == {"architecture": "timm/convnext_atto", "resize": None, "stem": None}
    assert photos == digits | {"drop_rate": 0.5}


def test_reading_a_configuration_with_named_networks_loads_neither_torch_nor_the_libraries_nor_the_file(nets, tmp_path):
    (tmp_path / "nets.py").write_text(NETS + "\nraise SystemExit('the file was run')\n")
    document = read(ROOT / "config.yaml").content
    document["models"] |= {f"new{index}": options for index, options in enumerate(ACCEPTED.values())}
    document["datasets"]["digits"] = {"source": "sklearn_digits"}
    code = (
        "import sys; from deepnets.config.loader import load_config; load_config(sys.argv[1]);"
        "print(*{'torch', 'torchvision', 'timm', 'nets'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(write(tmp_path, document))],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.slow
def test_names_are_those_that_the_libraries_list():
    import timm
    import torchvision

    assert sorted(_named.networks("torchvision")) == sorted(torchvision.models.list_models(module=torchvision.models))
    assert sorted(_named.networks("timm")) == sorted(timm.list_models())
    assert len(_named.networks("timm")) > 1000


def test_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    _named.networks.cache_clear()
    assert "timm is not installed; run: make setup" in refused(tmp_path, model(architecture="timm/resnet18"))[0]


# Names and looks for readers


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("convnext_atto", "ConvNeXt Atto"),
        ("efficientnet_b0", "EfficientNet B0"),
        ("mobilenet_v3_small", "MobileNet V3 Small"),
        ("mnasnet0_75", "MnasNet0.75"),
        ("regnet_y_400mf", "RegNet Y 400MF"),
        ("regnet_x_1_6gf", "RegNet X 1.6GF"),
        ("resnet18", "ResNet18"),
        ("resnext50_32x4d", "ResNeXt50 32x4d"),
        ("shufflenet_v2_x0_5", "ShuffleNet V2 x0.5"),
        ("vgg11_bn", "VGG-11 BN"),
        ("vit_tiny_patch16_224", "ViT Tiny Patch16 224"),
        ("wide_resnet50_2", "Wide ResNet50 2"),
    ],
)
def test_a_library_s_name_is_written_as_papers_do(name, shown):
    assert models.display_name(name) == models.display_name(f"timm/{name}") == shown


@pytest.mark.parametrize("name", ["my_net", "resnet50_full", "small_cnn", "resnetty", "net-18", "effnet"])
def test_a_name_that_the_user_chose_stays_as_it_is(name):
    assert models.display_name(name) == name


@pytest.mark.parametrize(
    ("name", "architecture", "shown"),
    [
        ("resnet50", "resnet50", "ResNet50"),
        ("resnet50", "vgg16", "resnet50"),
        ("vgg16", "torchvision/vgg16_bn", "VGG-16"),
        ("mobilenetv2", "mobilenet_v2", "MobileNet V2"),
        ("convnext", "timm/convnext_atto.d2_in1k", "ConvNeXt"),
        ("convnext", "timm/convnextv2_atto", "convnext"),
        ("convnext", "resnet50", "convnext"),
        ("convnext", "nets/mine.py:ConvNeXt", "ConvNeXt"),
        ("convnext", "nets/convnext.py:SmallNet", "convnext"),
        ("resnet", "timm/resnet10t", "ResNet"),
        ("mine", "resnet50", "mine"),
    ],
)
def test_a_model_with_the_name_of_another_network_is_shown_as_the_user_wrote_it(name, architecture, shown):
    assert models.display_name(name, architecture) == shown


def test_a_network_in_a_file_is_shown_by_its_own_name():
    assert models.display_name("nets/mine.py:SmallNet") == "SmallNet"


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_no_two_networks_of_a_library_are_shown_alike(library):
    shown = [readable(name) or name for name in _named.networks(library)]
    assert len(set(shown)) == len(shown)


def test_every_network_of_torchvision_has_a_name_for_readers():
    assert [name for name in _named.networks("torchvision") if readable(name) is None] == []


def test_a_name_has_the_same_look_in_every_study_unless_an_earlier_model_has_its_colour():
    alone = look_indices(["convnext_atto"])["convnext_atto"]
    assert look_indices(["convnext_atto", "resnet18", "mine"])["convnext_atto"] == alone
    others = {f"net{index}": look_indices([f"net{index}"])[f"net{index}"] for index in range(50)}
    for name, look in others.items():
        assert (look_indices([name, "convnext_atto"])["convnext_atto"] == alone) is (
            look % len(COLORS) != alone % len(COLORS)
        )


def test_models_have_different_colours_while_there_are_some_and_then_different_looks():
    names = [f"net{index}" for index in range(LOOKS)]
    looks = list(look_indices(names).values())
    of_colours = [{look % len(COLORS) for look in looks[start : start + 8]} for start in range(0, 80, 8)]
    assert of_colours == [set(range(8))] * 10
    assert sorted(looks) == list(range(LOOKS))
    assert list(look_indices(names[:30]).values()) == looks[:30]
