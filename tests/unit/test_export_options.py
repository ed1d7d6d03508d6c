"""model_fp16.onnx, model_int8.onnx and model.pt2: what they compute, what they cost, and what is refused."""

import json
import logging
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_networks import WITH_OPTIONS, from_pixels, give_statistics, metadata
from scipy.special import softmax
from tiny_experiment import JOB, ROOT, arguments, error_line, experiment_folder, set_temperature
from torch import nn

import export
import export_fp16
import export_int8
import export_program
from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.splits import split_train_validation
from deepnets.evaluation import onnx_fp16, onnx_int8, timed_calls
from deepnets.evaluation.exported import Comparison, largest_differences, open_onnx
from deepnets.evaluation.onnx_export import write_onnx
from deepnets.evaluation.samples import sample
from deepnets.evaluation.torch_program import write_program
from deepnets.planning.code_digest import digests
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file, write_json

pytestmark = pytest.mark.usefixtures("process_as_it_was")

SCRIPTS = {script.__name__: script for script in (export, export_fp16, export_int8, export_program)}
ONNX = ("model_fp16.onnx", "model_int8.onnx")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timed_calls, "LEAST_SECONDS", 0)


def command(home, data, stage, **changes):
    """Return the command line of a script below `home`; `changes` are those of its job."""
    job = JOB | {"code": digests([f"scripts/{stage}.py"], ROOT)} | changes
    return arguments(data, home, job)[:5]  # without --gpus and --log


@pytest.fixture(scope="module")
def home(finished, data, tmp_path_factory):
    """Export the finished experiment in all ways; return the folder of data/ and results/, which tests only read.

    Its temperature is 2.5.
    """
    home = tmp_path_factory.mktemp("exported")
    folder = experiment_folder(home)
    folder.parent.mkdir(parents=True)
    shutil.copytree(finished, folder)
    set_temperature(folder, 2.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timed_calls, "LEAST_SECONDS", 0)
        for stage, script in SCRIPTS.items():
            script.main(command(home, data, stage))
    return home


@pytest.fixture
def folder(home):
    """Return the folder of the experiment."""
    return experiment_folder(home)


@pytest.fixture
def own_home(home, tmp_path):
    """Return a copy of the folder of data/ and results/ that a test may change."""
    return shutil.copytree(home, tmp_path / "home", symlinks=True)


@pytest.fixture
def images(data):
    """Return the test images of the tiny dataset."""
    return np.load(data.parent / "test_images.npy")


def texts_of(file):
    return onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map


# -- what they compute -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONNX)
def test_each_onnx_file_has_the_input_outputs_and_metadata_of_model_onnx(folder, images, name):
    session = onnxruntime.InferenceSession(folder / name)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", 8, 8, 1])
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    for count in (1, 3, len(images)):
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images[:count]})
        assert logits.dtype == probabilities.dtype == np.float32
        assert logits.shape == probabilities.shape == (count, 3)
        assert np.allclose(probabilities, softmax(logits / 2.5, axis=1), atol=5e-3)
    precision = read_json((folder / name).with_suffix(".json"))["measured_on"]["precision"]
    assert texts_of(folder / name) == texts_of(folder / "model.onnx") | {"precision": precision}


def test_half_precision_has_float16_weights_and_almost_the_probabilities_of_float32(folder, images):
    graph = onnx.load(folder / "model_fp16.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    found, expected = (open_onnx(folder / name)(images)[1] for name in ("model_fp16.onnx", "model.onnx"))
    difference = float(np.abs(found - expected).max())
    assert difference <= onnx_fp16.LARGEST_DIFFERENCE
    assert read_json(folder / "model_fp16.json")["largest_difference"] == pytest.approx(difference, abs=2e-3)


def test_int8_has_weights_of_7_bits_per_channel_and_logits_that_are_not_rounded(folder):
    graph = onnx.load(folder / "model_int8.onnx").graph
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    of_layers = [each for each in weights.values() if each.dtype == np.int8 and each.ndim in (2, 4)]
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(of_layers) == len(layers) > 30
    assert 60 <= max(np.abs(each.astype(int)).max() for each in of_layers) <= 64
    makers = {output: node for node in graph.node for output in node.output}
    assert makers["logits"].op_type == "Gemm"
    assert makers["probabilities"].op_type == "Softmax"
    scales = {node.input[0]: weights[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert all(scales[makers[node.input[1]].input[0]].shape[0] > 1 for node in layers)
    (normalised,) = [node for node in graph.node if "images" in node.input]
    assert normalised.op_type != "QuantizeLinear"


def test_torch_alone_runs_the_program_with_any_number_of_images(folder, images):
    texts = {"metadata.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        network = torch.export.load(folder / "model.pt2", extra_files=texts).module()
    assert json.loads(texts["metadata.json"]) == texts_of(folder / "model.onnx")
    expected = open_onnx(folder / "model.onnx")(images)
    for count in (1, 3, len(images)):
        with torch.no_grad():
            found = network(torch.from_numpy(images[:count]))
        for one, other in zip(found, expected, strict=True):
            assert np.abs(one.numpy() - other[:count]).max() < 1e-3


# -- what they cost ----------------------------------------------------------------------------------------------------


def test_smaller_files_are_smaller(folder):
    of_float32, of_fp16, of_int8 = ((folder / name).stat().st_size for name in ("model.onnx", *ONNX))
    assert of_fp16 < 0.6 * of_float32
    assert of_int8 < 0.45 * of_float32


@pytest.mark.parametrize("stage", paths.EXPORTS)
def test_a_json_file_has_size_latency_and_origin(folder, stage):
    file, record = (folder / name for name in paths.EXPORTS[stage])
    found = read_json(record)
    assert (found["file"], found["bytes"], found["test_images"]) == (file.name, file.stat().st_size, 21)
    assert found["latency"]["calls"] >= 30
    assert 0 < found["latency"]["median_seconds"] <= found["latency"]["p95_seconds"] < 1
    assert found["weights_sha256"] == sha256_file(folder / "model.safetensors")
    assert found["spec"] == JOB["spec"]
    assert found["measured_on"]["threads"] == 1
    lines = (folder / f".{stage}.sha256").read_text().splitlines()
    assert lines == [f"{sha256_file(each)}  {each.name}" for each in (file, record)]


def test_accuracy_lost_is_that_of_the_validation_images(folder, data):
    images, labels = (np.load(data.parent / f"train_{kind}.npy") for kind in ("images", "labels"))
    fraction = Recipe(**JOB["spec"]["recipe"]).validation_fraction
    train, validation = split_train_validation(labels, fraction, JOB["spec"]["seed"], read_json(data))
    accuracies = []
    for name in ("model.onnx", "model_int8.onnx"):
        session = onnxruntime.InferenceSession(folder / name)
        logits = [session.run(["logits"], {"images": images[[row]]})[0][0] for row in validation]
        accuracies.append(np.mean(np.argmax(logits, axis=1) == labels[validation]))
    found = read_json(folder / "model_int8.json")
    assert found["calibration_images"] == len(train)
    expected = {"n": len(validation), "float32_accuracy": accuracies[0], "accuracy": accuracies[1]}
    assert found["validation"] == pytest.approx(expected | {"lost": accuracies[0] - accuracies[1]})


def test_a_large_loss_is_a_warning(own_home, data, monkeypatch, caplog):
    assert onnx_int8.warnings(1000, 0.95, 0.94) == []
    (line,) = onnx_int8.warnings(1000, 0.95, 0.925)
    assert "loses 2.50 points of accuracy on 1,000 validation images (95.00 % to 92.50 %), more than 1;" in line
    monkeypatch.setattr(onnx_int8, "MOST_LOST", -2)
    with caplog.at_level(logging.INFO):
        export_int8.main(command(own_home, data, "export_int8"))
    ours = [record for record in caplog.records if record.name == "deepnets"]
    (warned,) = [record.getMessage() for record in ours if record.levelno == logging.WARNING]
    assert read_json(experiment_folder(own_home) / "model_int8.json")["warnings"] == [warned.partition(": ")[2]]


def test_a_sample_is_fixed_and_of_different_rows():
    rows = np.arange(100, 1100)
    drawn = sample(rows, 256, seed=0)
    assert len({*drawn}) == 256
    assert {*drawn} <= {*rows}
    assert np.array_equal(drawn, sample(rows, 256, seed=0))
    assert sample(rows, 1000, seed=0) is rows


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_half_precision_that_is_too_different_is_not_written(own_home, data, monkeypatch, caplog):
    folder = experiment_folder(own_home)
    for name in paths.EXPORTS["export_fp16"]:
        (folder / name).unlink()
    monkeypatch.setattr(onnx_fp16, "LARGEST_DIFFERENCE", -1)
    line = error_line(caplog, export_fp16.main, command(own_home, data, "export_fp16"))
    assert "model_fp16.onnx: would differ from the network by" in line
    assert "in a probability, more than -1, and was not written" in line
    assert not [file.name for file in folder.iterdir() if "fp16" in file.name]


def test_numbers_beyond_the_range_of_half_precision_are_found(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([70_000.0, 65_600.0, 0.0, 0.0, 0.0]))  # both become 65,504
    facts, in_float32, in_half = metadata(1, 8), tmp_path / "model.onnx", tmp_path / "model_fp16.onnx"
    write_onnx(from_pixels(network, facts["mean"], facts["std"]), facts, in_float32, "a")
    onnx_fp16.write_fp16(in_float32, in_half, "a")
    comparison = Comparison(open_onnx(in_float32), np.zeros((9, 8, 8, 1), np.uint8), onnx_fp16.LARGEST_DIFFERENCE)
    with pytest.raises(UserError, match=r"would differ from the network by 5\.0e-01 in a probability, more than 0\.02"):
        comparison.check(in_half, open_onnx(in_half), "a")


@pytest.mark.parametrize("stage", ["export_fp16", "export_int8"])
def test_a_file_of_other_settings_or_a_damaged_one_is_not_converted(own_home, data, stage, caplog):
    folder = experiment_folder(own_home)

    def refusal(**changes):
        return error_line(caplog, SCRIPTS[stage].main, command(own_home, data, stage, **changes))

    assert "model_onnx.json: made with other settings (seed was 3, is 4)" in refusal(spec=JOB["spec"] | {"seed": 4})
    record = read_json(folder / "model_onnx.json")
    write_json(folder / "model_onnx.json", record | {"arrays": {}})
    assert "model_onnx.json: made with other settings (arrays" in refusal()
    write_json(folder / "model_onnx.json", {"spec": {}})
    assert "model_onnx.json: damaged (experiment: Field required); delete it" in refusal()
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "model.onnx: damaged, its checksum has changed" in refusal()
    (folder / "model.onnx").unlink()
    assert "model.onnx: the file is missing; the next run rebuilds it" in refusal()


def test_a_network_that_torch_export_cannot_follow_is_refused_in_a_line(tmp_path):
    class Undecided(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5] * (2 if images.sum().item() > 0 else 3)

    facts = metadata(1, 8)
    model = from_pixels(Undecided(), facts["mean"], facts["std"])
    with pytest.raises(UserError, match=r"a/b: this network cannot be exported to torch\.export \(.+\); use model\.s"):
        write_program(model, facts, tmp_path / "model.pt2", "a/b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "channels", "size", "options"),
    [
        *((name, 1, 28, {}) for name in models.available()),
        ("torchvision/efficientnet_b0", 3, 32, {}),
        ("torchvision/resnet18", 3, 32, {}),
        ("torchvision/squeezenet1_1", 3, 32, {}),
        ("torchvision/convnext_tiny", 3, 32, {}),
        ("timm/convnext_atto", 3, 32, {}),
        ("timm/vit_tiny_patch16_224", 3, 32, {}),
        *WITH_OPTIONS,
    ],
)
def test_networks_of_several_families_are_converted(architecture, channels, size, options, tmp_path):
    torch.manual_seed(0)
    facts = metadata(channels, size)
    model = from_pixels(
        models.build({"architecture": architecture, **options}, 5, channels, (size, size)), facts["mean"], facts["std"]
    )
    images = np.random.default_rng(0).integers(256, size=(40, size, size, channels), dtype=np.uint8)
    if architecture in models.available():
        give_statistics(model, images)
    in_float32, in_half, in_int8 = (tmp_path / name for name in ("model.onnx", *ONNX))
    write_onnx(model, facts, in_float32, architecture)
    onnx_fp16.write_fp16(in_float32, in_half, architecture)
    onnx_int8.write_int8(in_float32, in_int8, images=images, threads=2, name=architecture)
    expected = open_onnx(in_float32, threads=2)
    # Not trained, Inception V3 multiplies rounding errors by thousands, and has logits near 10.
    largest = max(1.0, float(np.abs(expected(images)[0]).max()))
    assert largest_differences(expected, open_onnx(in_half, threads=2), images)[0] <= 0.2 * largest
    assert np.isfinite(largest_differences(expected, open_onnx(in_int8, threads=2), images)).all()
    assert in_half.stat().st_size < 0.6 * in_float32.stat().st_size
    assert in_int8.stat().st_size < 0.6 * in_float32.stat().st_size
