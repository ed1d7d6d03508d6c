"""summary.json and summary.txt: the published sizes, no data, the same bytes every time."""

import json

import pytest
import torch
import torchinfo

import summarize as script
from deepnets import models
from deepnets.evaluation.network_summary import summarize, write_summary
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json

DIGITS = {"model": {"architecture": "mobilenet_v2"}, "input_shape": [1, 28, 28], "num_classes": 10}


@pytest.mark.parametrize(
    ("model", "input_shape", "size_mb"),
    [
        ({"architecture": "resnet50"}, (1, 28, 28), 105.987),
        ({"architecture": "resnet50"}, (3, 32, 32), 108.612),
        ({"architecture": "mobilenet_v2"}, (1, 28, 28), 9.114),
        ({"architecture": "mobilenet_v2", "strides": [1, 1, 1, 2, 2]}, (3, 32, 32), 73.955),
        ({"architecture": "vgg16"}, (1, 32, 32), 541.729),
    ],
)
def test_size_is_the_published_one(model, input_shape, size_mb):
    counted, _table = summarize(model, input_shape, num_classes=10)
    assert counted["size_mb"] == pytest.approx(size_mb, abs=0.0005)


def test_counts_are_those_of_a_network_with_weights():
    counted, table = summarize({"architecture": "mobilenet_v2"}, (1, 28, 28), num_classes=10)
    network = models.build({"architecture": "mobilenet_v2"}, num_classes=10, in_channels=1)
    counts = torchinfo.summary(network, (1, 1, 28, 28), device="cpu", verbose=0)
    assert counted["mult_adds"] == counts.total_mult_adds
    assert table == f"{counts}\n"


def test_all_multiplications_of_the_first_linear_layer_of_vgg16_count():
    counted, _table = summarize({"architecture": "vgg16"}, (1, 32, 32), num_classes=10)
    assert (
        counted["mult_adds"] > 25_088 * 4096 + 300_000_000
    )  # the linear layer, and at least as much as the features take


def test_weights_are_four_bytes_a_parameter():
    counted, _table = summarize({"architecture": "resnet50"}, (1, 28, 28), num_classes=10)
    assert counted["weights_mb"] == pytest.approx(4 * counted["parameters"] / 1e6)


@pytest.mark.parametrize(("architecture", "has_maps"), [("mobilenet_v2", True), ("timm/mixer_s16_224", False)])
def test_whether_grad_cam_has_maps_to_show_is_known_before_training(architecture, has_maps):
    counted, _table = summarize({"architecture": architecture}, (3, 64, 64), num_classes=10)
    assert counted["grad_cam"] is has_maps


def test_default_device_is_unchanged():
    summarize({"architecture": "mobilenet_v2"}, (1, 8, 8), num_classes=10)
    assert torch.empty(1).device.type == "cpu"


def test_script_writes_counts_and_table(tmp_path):
    write_json(tmp_path / "job.json", {"spec": DIGITS, "code": {}})
    script.main(["digits/my_net", "--job", str(tmp_path / "job.json"), "--root", str(tmp_path)])
    folder = tmp_path / "results/digits/my_net"
    counted = json.loads((folder / "summary.json").read_text())
    assert counted.pop("spec") == DIGITS
    sizes = ["parameters", "trainable_parameters", "mult_adds", "size_mb", "weights_mb"]
    assert list(counted) == [*sizes, "input_size", "grad_cam"]
    assert counted["parameters"] == counted["trainable_parameters"] == 1_814_346
    assert counted["input_size"] == [1, 1, 28, 28]
    text = (folder / "summary.txt").read_text()
    assert "Estimated Total Size (MB): 9.11" in text
    assert text.endswith(f"MobileNetV2 here: {models.about('mobilenet_v2').differs}.\n")


def test_weights_that_do_not_fit_are_refused_before_training(tmp_path, caplog):
    state = models.build(DIGITS["model"], num_classes=3, in_channels=3).state_dict()
    torch.save(state, tmp_path / "right.pth")
    torch.save({name: each for name, each in state.items() if "classifier" in name}, tmp_path / "wrong.pth")
    last = next(name for name in reversed(state) if name.endswith("weight") and "classifier" not in name)
    torch.save({name: each for name, each in state.items() if name != last}, tmp_path / "most.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    write_json(tmp_path / "job.json", {"spec": DIGITS, "code": {}})

    def check(name):
        arguments = ["--job", str(tmp_path / "job.json"), "--root", str(tmp_path), "--weights", str(tmp_path / name)]
        script.main(["digits/my_net", *arguments])

    for name, message in (
        ("wrong.pth", r"only 0 of .* parameters fit.* \(models\.my_net\.weights\)"),
        ("broken.pth", "not read"),
    ):
        with pytest.raises(UserError, match=f"{name}: {message}"):
            check(name)
        assert not (tmp_path / "results/digits/my_net/summary.json").exists()
    check("right.pth")
    assert not caplog.messages
    check("most.pth")
    assert caplog.messages == [f"{tmp_path}/most.pth: has no weights for {last}, which stay random"]


def test_one_thread_computes(tmp_path):
    torch.set_num_threads(2)
    write_summary(DIGITS, tmp_path / "summary.json", tmp_path / "summary.txt")
    assert torch.get_num_threads() == 1


def test_same_bytes_are_written_every_time(tmp_path):
    for run in "ab":
        write_summary(DIGITS, tmp_path / f"{run}.json", tmp_path / f"{run}.txt")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
