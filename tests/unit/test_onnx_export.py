"""model.onnx: the network with its normalisation, as onnxruntime alone runs it."""

import json
import logging
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import onnxruntime
import pytest
import torch
from exported_networks import OF_CONFIG, from_pixels, give_statistics, metadata
from PIL import Image
from scipy.special import softmax
from tiny_experiment import CLASSES, JOB, ROOT, arguments, error_line, experiment_folder, set_temperature
from torch import nn

import export as export_script
from deepnets import load, models
from deepnets.evaluation import onnx_export, timed_calls
from deepnets.evaluation.exported import Comparison, compared_images, largest_differences, open_onnx, runtime_errors
from deepnets.evaluation.network import load_network
from deepnets.evaluation.onnx_export import torch_predictor, write_onnx
from deepnets.planning.code_digest import digests
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json
from deepnets.utils.tensors import load_tensors, save_tensors

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture
def call(copy, data, tmp_path):
    """Put the finished experiment where export.py looks for it; return its folder and the script's arguments."""
    job = JOB | {"code": digests(["scripts/export.py"], ROOT)}
    options = arguments(data, tmp_path, job)[:5]  # without --gpus and --log
    folder = experiment_folder(tmp_path)
    folder.parent.mkdir(parents=True)
    copy.rename(folder)
    return folder, options


def run(file, images):
    return onnxruntime.InferenceSession(file).run(["logits", "probabilities"], {"images": images})


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timed_calls, "LEAST_SECONDS", 0)


def test_onnxruntime_alone_has_the_logits_of_the_network(call, data, caplog):
    folder, options = call
    set_temperature(folder, 2.5)
    with caplog.at_level(logging.INFO):
        export_script.main(options)
    assert ": temperature 2.5, fitted on its validation images" in caplog.text
    assert "model.onnx differs from the network by" in caplog.text
    images = np.load(data.parent / "test_images.npy")
    network, facts = load_network(folder / "model.safetensors")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = network.eval()((pixels - facts["mean"][0]) / facts["std"][0]).numpy()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    texts = session.get_modelmeta().custom_metadata_map
    temperature = json.loads(texts["temperature"])
    assert temperature == pytest.approx(2.5, rel=2e-3)
    for count in (1, 3, len(images)):
        logits, probabilities = run(folder / "model.onnx", images[:count])
        assert logits.dtype == probabilities.dtype == np.float32
        assert np.abs(logits - expected[:count]).max() < 1e-3
        assert np.abs(probabilities - softmax(expected[:count] / temperature, axis=1)).max() < 1e-3
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 1])
    assert json.loads(texts["classes"]) == CLASSES
    assert json.loads(texts["spec"]) == JOB["spec"]
    assert json.loads(texts["preprocessing"])["not_square"] == "the largest centred square"
    assert len(texts["spec_sha256"]) == 64
    assert (folder / ".export.sha256").exists()


@pytest.mark.parametrize("temperature", [0.5, 2.5, None])
def test_probabilities_are_those_that_predict_gives(call, data, temperature):
    folder, options = call
    if temperature is None:
        (folder / "predictions.safetensors").unlink()
    else:
        set_temperature(folder, temperature)
    export_script.main(options)
    images = np.load(data.parent / "test_images.npy")
    expected = np.stack([each.probabilities for each in load(folder, device="cpu").predict(list(images))])
    rounded = 0.02  # predict may multiply in bfloat16
    assert np.abs(run(folder / "model.onnx", images)[1] - expected).max() < rounded


def test_a_file_is_not_exported_with_the_temperature_of_other_settings(call, caplog):
    folder, options = call
    tensors, _ = load_tensors(folder / "predictions.safetensors")
    save_tensors(folder / "predictions.safetensors", tensors, {"spec_sha256": "0"})
    assert "predictions.safetensors: of other settings than" in error_line(caplog, export_script.main, options)
    assert not (folder / "model.onnx").exists()


def test_mean_and_std_may_be_those_of_the_weights_that_a_network_started_from(call, tmp_path, caplog):
    folder, options = call
    job, file = read_json(tmp_path / "job.json"), folder / "model.safetensors"
    job["spec"]["weights"] = {"sha256": "0" * 64}
    write_json(tmp_path / "job.json", job)
    (folder / ".train.sha256").unlink()
    tensors, texts = load_tensors(file)
    texts = texts | {"spec": job["spec"], "mean": [0.5], "std": [0.25]}
    save_tensors(file, tensors, texts)
    export_script.main(options)
    exported = onnxruntime.InferenceSession(folder / "model.onnx").get_modelmeta().custom_metadata_map
    assert (json.loads(exported["mean"]), json.loads(exported["std"])) == ([0.5], [0.25])
    save_tensors(file, tensors, texts | {"arrays": {}})
    assert "made with other settings (arrays" in error_line(caplog, export_script.main, options)


def test_a_file_that_computes_something_else_is_not_written(call, monkeypatch, caplog):
    folder, options = call

    def write_moved(model, *arguments):
        bias = [*model.network.modules()][-1].bias.detach()
        bias[0] += 2e-3
        write_onnx(model, *arguments)
        bias[0] -= 2e-3

    monkeypatch.setattr(onnx_export, "write_onnx", write_moved)
    line = error_line(caplog, export_script.main, options)
    assert re.search(r"would differ from the network by 2\.0e-03, more than 0\.001, and was not written", line)
    assert not [file.name for file in folder.iterdir() if "onnx" in file.name]


def test_files_are_compared_on_images_of_all_classes_also_where_these_are_in_order():
    images = np.repeat(np.arange(10, dtype=np.uint8), 100).reshape(1000, 1, 1, 1)
    found = compared_images(images)
    assert found.shape == (256, 1, 1, 1)
    assert set(found.flatten()) == set(range(10))
    assert np.array_equal(compared_images(images[:20]), images[:20])


def test_differences_are_found(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    facts = metadata(1, 8)
    model = from_pixels(network, facts["mean"], facts["std"])
    file = tmp_path / "model.onnx"
    write_onnx(model, facts, file, "a")
    images = np.random.default_rng(0).integers(256, size=(70, 8, 8, 1), dtype=np.uint8)
    in_torch, in_onnxruntime = torch_predictor(model), open_onnx(file)
    assert largest_differences(in_torch, in_onnxruntime, images).max() < 1e-5
    comparison = Comparison(in_torch, images, onnx_export.LARGEST_DIFFERENCE, of_logits=True)
    with torch.no_grad():
        network[1].bias[2] += 5e-4
    comparison.check(file, in_onnxruntime, "a")  # is near enough
    with torch.no_grad():
        network[1].bias[2] += 1.5e-3
    with pytest.raises(UserError, match=r"would differ from the network by 2\.0e-03, more than 0\.001"):
        comparison.check(file, in_onnxruntime, "a")
    with torch.no_grad():
        network[1].bias[2] += 0.498
    of_logits, of_probabilities = largest_differences(in_torch, in_onnxruntime, images)
    assert of_logits == pytest.approx(0.5, abs=1e-3)
    assert 0.01 < of_probabilities < 0.2
    with torch.no_grad():
        network[1].bias[2] = torch.nan
    assert np.isnan(largest_differences(in_torch, in_onnxruntime, images)).all()
    file.write_bytes(b"no network")
    with pytest.raises(UserError, match=r"model\.onnx: onnxruntime does not run it"), runtime_errors(file.name):
        open_onnx(file)


def test_a_network_that_onnx_cannot_say_is_refused_in_a_line(tmp_path, capfd):
    class Undecided(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5] * (2 if images.sum().item() > 0 else 3)

    facts = metadata(1, 8)
    with pytest.raises(UserError, match=r"a/b: this network cannot be exported to ONNX \(.+\); use model.safetensors"):
        write_onnx(from_pixels(Undecided(), facts["mean"], facts["std"]), facts, tmp_path / "model.onnx", "a/b")
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "channels", "size", "options"),
    [
        *((name, 1, 28, options) for name, options in OF_CONFIG),
        ("torchvision/densenet121", 3, 32, {}),
        ("torchvision/shufflenet_v2_x0_5", 3, 32, {}),
        ("torchvision/squeezenet1_1", 3, 32, {}),
        ("torchvision/swin_t", 3, 64, {}),
        ("torchvision/convnext_tiny", 3, 32, {}),
        ("torchvision/vit_b_32", 3, 32, {}),
        ("timm/mobilenetv3_small_050", 3, 32, {}),
        ("timm/vit_tiny_patch16_224", 3, 32, {}),
    ],
)
def test_networks_of_several_families_are_exported(architecture, channels, size, options, tmp_path):
    torch.manual_seed(0)
    facts = metadata(channels, size)
    network = models.build({"architecture": architecture, **options}, 5, channels, (size, size))
    for zeros in [parameter for parameter in network.parameters() if not parameter.any()]:
        nn.init.normal_(zeros, std=0.1)  # a branch that adds nothing, as of zero_init_residual, shows no difference
    model = from_pixels(network, facts["mean"], facts["std"])
    images = np.random.default_rng(0).integers(256, size=(12, size, size, channels), dtype=np.uint8)
    if architecture == "inception_v3":
        give_statistics(model, images)
    write_onnx(model, facts, tmp_path / "model.onnx", architecture)
    with torch.inference_mode():
        largest = float(model(torch.from_numpy(images))[0].abs().max())
    # Untrained, Inception V3 has logits near 10, and torch's own float32 differs from float64 by 7e-3.
    most = onnx_export.LARGEST_DIFFERENCE * max(1.0, largest)
    found = open_onnx(tmp_path / "model.onnx", threads=2)
    assert largest_differences(torch_predictor(model), found, images).max() <= most


def test_python_of_the_page_predicts_with_onnxruntime_alone(call, data, monkeypatch, capsys):
    folder, options = call
    export_script.main(options)
    found = spec_from_file_location("predict", ROOT / paths.BUNDLE_EXAMPLE)
    found.loader.exec_module(example := module_from_spec(found))
    monkeypatch.setitem(sys.modules, "predict", example)
    [image, *_] = np.load(data.parent / "test_images.npy")
    Image.fromarray(image[..., 0]).save(folder / "photo.png")
    monkeypatch.chdir(folder)
    page = (ROOT / "docs/how-to/export.md").read_text(encoding="utf-8")
    capsys.readouterr()
    exec(re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1], {})
    _, [probabilities] = run(folder / "model.onnx", image[np.newaxis])
    assert capsys.readouterr().out == f"{CLASSES[probabilities.argmax()]} {probabilities.max()!s}\n"
