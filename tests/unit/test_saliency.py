"""Grad-CAM: which maps of a network are used, what they show, and scripts/explain.py."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_experiment import JOB, NAME, SPEC, error_line, experiment_folder
from torch import nn

import explain as explain_script
import saliency as saliency_script
from deepnets import load, models
from deepnets.comparison.statistics_file import Answer
from deepnets.data.pictures import Form
from deepnets.evaluation.predictions import read_examples
from deepnets.evaluation.predictor import Model
from deepnets.evaluation.saliency import find_last_maps, saliency_maps
from deepnets.figures import overlay_files
from deepnets.figures.overlay import overlay
from deepnets.figures.saliency import draw
from deepnets.planning.code_digest import digests
from deepnets.training.augmentation import Augmentation
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.specs import read_head, settings_sha256

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture(scope="module")
def trained(finished):
    return load(finished, device="cpu")


@pytest.fixture
def with_network(trained):
    """Put another network into the model: `with_network(network, size=32, channels=3) -> Model`."""

    def change(network, size=32, channels=3):
        statistics = [0.5] * channels, [0.25] * channels
        changed = Augmentation(trained.augmentation.augment, False, *statistics, torch.device("cpu"))
        return replace(trained, network=network.eval(), form=Form(size, channels), augmentation=changed)

    return change


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("torchvision/resnet18", "layer4"),
        ("torchvision/densenet121", "features"),
        ("torchvision/mobilenet_v3_small", "features"),
        ("torchvision/convnext_tiny", "features"),
        ("torchvision/squeezenet1_1", "1"),  # a convolution in the head, after dropout
    ],
)
def test_last_maps_are_those_of_the_last_block(with_network, architecture, name):
    network = models.build({"architecture": architecture}, 5, 3, (64, 64))
    found, module = find_last_maps(with_network(network, 64), "a")
    assert found.split(".")[-1] == name
    assert module is network.get_submodule(found)


def test_a_block_whose_branches_end_in_one_pixel_is_skipped_as_a_whole(with_network):
    network = models.build({"architecture": "resnet50", "stem_pool": False}, 5, 1, (8, 8))
    assert find_last_maps(with_network(network, 8, 1), "a")[0] == "layer3"


def test_maps_of_one_pixel_are_skipped(with_network):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.Conv2d(4, 4, 3, stride=8), nn.Flatten(), nn.Linear(4, 3))
    assert find_last_maps(with_network(network), "a")[0] == "0"


@pytest.mark.parametrize(
    "architecture", ["torchvision/vit_b_32", "torchvision/swin_t", "timm/cait_xxs24_224", "timm/mixer_s16_224"]
)
def test_a_network_that_ends_in_layers_of_tokens_is_refused_with_the_reason(with_network, architecture):
    network = models.build({"architecture": architecture}, 5, 3, (64, 64))
    with pytest.raises(UserError, match="a/b: attention, or another layer of tokens, follows its last convolution"):
        find_last_maps(with_network(network, 64), "a/b")


class Tokens(nn.Module):
    """Patches of 8 pixels, a layer of tokens, and the mean of these."""

    def __init__(self, layer):
        super().__init__()
        self.patches, self.layer, self.head = nn.Conv2d(3, 8, 8, stride=8), layer, nn.Linear(8, 3)

    def forward(self, images):
        return self.head(self.layer(self.patches(images).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("layer", [nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)])
def test_a_layer_of_tokens_need_not_be_called_attention(with_network, layer):
    with pytest.raises(UserError, match="another layer of tokens, follows"):
        find_last_maps(with_network(Tokens(layer)), "a/b")


class ChannelWeights(nn.Module):
    """Weight the channels of maps by a convolution over their means (N, 1, C), as of Wang et al. 2020 (ECA-Net)."""

    def __init__(self):
        super().__init__()
        self.over_channels = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, maps):
        return maps * self.over_channels(maps.mean((2, 3))[:, None])[:, 0, :, None, None].sigmoid()


def test_weights_of_channels_are_no_layer_of_tokens(with_network):
    network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), ChannelWeights(), nn.Flatten(), nn.Linear(64, 3))
    assert find_last_maps(with_network(network), "a")[0] == "0"


class ChannelsLast(nn.Module):
    """A convolution whose maps are turned to (N, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 8, 8, stride=8)

    def forward(self, images):
        return self.maps(images).permute(0, 2, 3, 1)


def test_maps_with_their_channels_last_are_refused_with_the_reason(with_network):
    network = nn.Sequential(ChannelsLast(), nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(UserError, match=r"a/b: its last maps are \(N, H, W, C\), not \(N, C, H, W\)"):
        find_last_maps(with_network(network), "a/b")


def test_a_network_without_maps_is_refused_with_the_reason(with_network):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    with pytest.raises(UserError, match="a/b: no convolution of it has maps of several pixels, so that Grad-CAM"):
        find_last_maps(with_network(network), "a/b")


class BrightSpots(nn.Module):
    """The first class is where red is, the second one where green is."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.maps.weight.data = torch.eye(3)[:2].reshape(2, 3, 1, 1)

    def forward(self, images):
        return nn.functional.relu_(self.maps(images)).mean((2, 3))


def test_map_is_bright_where_the_class_is(with_network):
    images = np.full((2, 32, 32, 3), 128, np.uint8)
    images[0, 4:8, 20:24, 0] = images[1, 25:29, 2:6, 1] = 255
    model = with_network(BrightSpots())
    maps = saliency_maps(model, model.network.maps, list(images))
    assert maps.dtype == np.float32
    assert maps.max((1, 2)).tolist() == [1, 1]
    assert maps[0, 4:8, 20:24].min() > 0.99
    assert maps[1, 25:29, 2:6].min() > 0.99
    assert maps[0, 12:, :].max() < 0.1
    of_second = saliency_maps(model, model.network.maps, list(images), [1, 1])
    assert np.array_equal(of_second[1], maps[1])
    assert of_second[0].min() > 0.99, "green is everywhere the same in the first picture"


def test_picture_without_anything_for_its_class_has_an_empty_map(with_network):
    model = with_network(BrightSpots())
    assert saliency_maps(model, model.network.maps, [np.zeros((32, 32, 3), np.uint8)]).max() == 0
    assert saliency_maps(model, model.network.maps, []).shape == (0, 32, 32)


def test_explaining_changes_no_prediction(trained, data):
    images = list(np.load(data.parent / "test_images.npy"))
    before = [each.probabilities for each in trained.of_pixels(images, [""] * len(images))]
    _, layer = find_last_maps(trained, "a")
    maps = saliency_maps(trained, layer, images)
    assert maps.shape == (len(images), 8, 8)
    assert np.isfinite(maps).all()
    assert np.array_equal(before, [each.probabilities for each in trained.of_pixels(images, [""] * len(images))])


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_shows_the_picture_and_next_to_it_the_map(channels):
    pixels = np.full((8, 8, channels), 100, np.uint8)
    saliency = np.zeros((8, 8))
    saliency[:, 4:] = 1
    drawn = np.asarray(overlay(pixels, saliency))
    assert drawn.shape == (224, 448, 3)
    assert (drawn[:, :224] == 100).all()
    assert (drawn[:, 224:310] == 100).all()
    assert drawn[:, 400:, 0].min() > 150


@pytest.fixture
def explain(finished, tmp_path):
    """Call scripts/explain.py: `explain(*pictures)`; the overlays are in tmp_path/out."""
    options = ["--output", str(tmp_path / "out"), "--gpus", "0", "--threads", "1"]
    return lambda *pictures: explain_script.main([str(finished), *map(str, pictures), *options])


def test_a_picture_whose_answer_is_not_a_number_is_reported_and_the_others_are_explained(
    explain, data, tmp_path, capfd, monkeypatch
):
    (tmp_path / "a").mkdir()
    for name, image in zip("123", np.load(data.parent / "test_images.npy"), strict=False):
        pixels = np.full_like(image, 255) if name == "2" else image
        Image.fromarray(pixels[..., 0]).save(tmp_path / "a" / f"{name}.png")
    logits = Model.logits

    def lost(model, images):
        return np.where((images == 255).all((1, 2)), np.float32(np.nan), logits(model, images))

    monkeypatch.setattr(Model, "logits", lost)
    with pytest.raises(SystemExit):
        explain(tmp_path / "a")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"1.grad-cam.png", "3.grad-cam.png"}
    assert capfd.readouterr().err.splitlines()[-1].startswith(f"{tmp_path}/a/2.png: the network's answer is not a")


def test_script_writes_an_overlay_for_each_picture_and_reports_the_broken_ones(explain, data, tmp_path, capfd):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    images = np.load(data.parent / "test_images.npy")
    for name, image in zip(("a/1.png", "a/2.png", "b/1.png"), images, strict=False):
        Image.fromarray(image[..., 0]).save(tmp_path / name)
    (tmp_path / "b/3.png").write_text("no picture")
    shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path / "a")
    with pytest.raises(SystemExit) as end:
        explain(tmp_path / "a", tmp_path / "b", tmp_path / "c.zip", "missing.png")
    assert end.value.code == 1
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {f"{stem}.grad-cam.png" for stem in ("1", "1-2", "1-3", "2", "2-2")}
    with Image.open(tmp_path / "out/1.grad-cam.png") as drawn:
        assert drawn.size == (448, 224)
    lines = capfd.readouterr().err.splitlines()
    assert ": temperature " in lines[0]
    assert "Grad-CAM of " in lines[1]
    assert f"{tmp_path}/a/1.png: " in lines[2]
    assert lines[2].endswith(f", see {tmp_path}/out/1.grad-cam.png")
    assert {line.partition(": ")[0] for line in lines[-2:]} == {"missing.png", f"{tmp_path}/b/3.png"}


def test_an_empty_map_is_reported_in_the_line_of_its_picture(explain, tmp_path, monkeypatch, capfd):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(overlay_files, "saliency_maps", lambda model, layer, images, labels: np.zeros((1, 8, 8)))
    explain(tmp_path / "a.png")
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("/out/a.grad-cam.png; its map is empty, as no place in it speaks for this class")


def test_an_output_that_is_a_file_is_a_line(explain, data, tmp_path, caplog):
    (tmp_path / "out").touch()
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert "out" in error_line(caplog, explain, tmp_path / "a.png")


# -- the surest mistakes of an experiment ------------------------------------------------------------------------------


@pytest.fixture
def draw_mistakes(finished, tmp_path, root):
    """Call scripts/saliency.py on a copy of the experiment: `draw_mistakes(spec=...) -> file`."""
    shutil.copytree(finished, experiment_folder(tmp_path))

    def call(**changes):
        write_json(tmp_path / "job.json", JOB | {"code": digests(["scripts/saliency.py"], root)} | changes)
        saliency_script.main([NAME, "--job", str(tmp_path / "job.json"), "--root", str(tmp_path)])
        return experiment_folder(tmp_path) / "figures/saliency.png"

    return call


def test_figure_has_the_surest_mistakes_and_is_known_by_its_settings(draw_mistakes, monkeypatch, finished):
    drawn = []
    monkeypatch.setattr("deepnets.figures.saliency.draw", lambda *given: drawn.append(given) or draw(*given))
    file = draw_mistakes()
    assert read_head(file, "settings_sha256") == {"settings_sha256": settings_sha256(JOB)}
    [(pictures, answers, _classes, _names, layer, shape)] = drawn
    assert (layer, shape) == ("features.4.conv.0", (2, 2))
    kept = read_examples(finished / "predictions.safetensors")
    assert len(pictures) == len(answers) > 0
    assert all(each.label != each.predicted for each in answers)
    assert [each.probability for each in answers] == sorted((each.probability for each in answers), reverse=True)
    for picture, each in zip(pictures, answers, strict=True):
        assert picture.shape == (224, 448, 3)
        assert np.array_equal(picture[::28, :224:28, 0], kept[each.index][..., 0])
    assert file.read_bytes() == draw_mistakes().read_bytes()


def test_mistakes_of_other_settings_are_refused(draw_mistakes, caplog):
    line = error_line(caplog, lambda: draw_mistakes(spec=SPEC | {"seed": 4}))
    assert "model.safetensors: made with other settings (seed was 3, is 4)" in line


def test_a_network_without_mistakes_has_a_figure_that_names_none():
    names = {"dataset": "a", "model": "b", "recipe": "quick", "seed": 0}
    title, none = draw([], [], ["x"], names, "layer3", (2, 3)).texts
    assert title.get_text().endswith("bright where it found its answer; maps of layer3: 2 x 3 places")
    assert none.get_text() == "none"
    answer = Answer(index=0, label=0, predicted=1, probability=0.75)
    tile = draw([np.zeros((2, 4, 3), np.uint8)], [answer], ["x", "y"], names, "layer3", (2, 3)).axes[0]
    assert tile.get_title() == "x\nas y\n75.0 %"
