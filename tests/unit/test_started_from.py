"""An experiment that starts from earlier weights: what is loaded, recorded, refused and reported."""

import contextlib
import json
from types import SimpleNamespace

import pytest
import tiny_experiment as tiny
import torch
from made_up_results import write_statistics
from report_pages import tables

from deepnets.figures import comparison_files
from deepnets.reporting.started_from import starts
from deepnets.training.launch import INTERRUPTED_EXIT_CODE
from deepnets.training.start import in_words
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file
from deepnets.utils.tensors import load_tensors

NOTHING = {"crop_padding": 0, "horizontal_flip": False}


def job_from(file, **model):
    """The tiny job, one epoch, started from a file, without augmentation."""
    recipe = tiny.SPEC["recipe"] | {"epochs": 1}
    recipe["augment"] = recipe["augment"] | NOTHING
    spec = tiny.SPEC | {"recipe": recipe, "model": tiny.SPEC["model"] | model}
    return tiny.JOB | {"spec": spec | {"weights": {"sha256": sha256_file(file)}}}


@pytest.fixture(scope="module")
def probed(data, finished, tmp_path_factory):
    """A linear probe of the finished experiment; returns its folder and its source's."""
    file, folder = finished / "model.safetensors", tmp_path_factory.mktemp("probed")
    job = job_from(file, freeze="backbone")
    tiny.train(data, folder, job, weights=file)
    tiny.evaluate(data, folder, job)
    return folder


def test_frozen_layers_keep_their_weights_and_the_head_learns(finished, probed):
    before, after = (load_tensors(folder / "model.safetensors")[0] for folder in (finished, probed))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    assert "outputs are computed once" in (probed / "log").read_text()


def test_an_interrupt_ends_a_run_before_its_first_step(data, finished, tmp_path):
    file = finished / "model.safetensors"
    with pytest.raises(SystemExit) as end:
        tiny.train(data, tmp_path, job_from(file, freeze="backbone"), weights=file, parent=2**22)  # has ended
    assert end.value.code == INTERRUPTED_EXIT_CODE
    assert "interrupted before the first step" in (tmp_path / "log").read_text()


def test_metrics_say_what_the_network_was_started_from(finished, probed):
    started = read_json(probed / "metrics.json")["started_from"]
    assert started["weights"] == {"file": "model.safetensors", "sha256": sha256_file(finished / "model.safetensors")}
    assert started["parameters"] == started["parameters_of"]
    assert started["replaced"] == started["adapted"] == started["initialised"] == started["unused"] == []
    assert started["normalised"] == "as these weights were trained"
    assert read_json(finished / "metrics.json")["started_from"] is None
    assert in_words(started) in (probed / "log").read_text()


def test_a_head_for_other_classes_and_the_weights_of_another_program_are_recorded(data, finished, tmp_path):
    tensors, _ = load_tensors(finished / "model.safetensors")
    file = tmp_path / "weights.pth"
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, file)
    tiny.train(data, tmp_path / "out", job_from(file), weights=file)
    record = json.loads(load_tensors(tmp_path / "out/model.safetensors")[1]["started_from"])
    assert record["replaced"] == ["classifier.1.weight", "classifier.1.bias"]
    assert record["normalised"] == "by the dataset"
    ways = "normalised by the dataset (if the weights learned from others, write their mean and std next to weights in"
    assert ways in (tmp_path / "out/log").read_text()


def test_weights_that_changed_or_are_gone_or_of_another_network_are_refused(data, finished, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, file)
    job = job_from(file)
    with pytest.raises(UserError, match=r"weights.pth: only 0 of .* parameters fit.* \(models\.[a-z0-9_]+\.weights\)$"):
        tiny.train(data, tmp_path / "out", job, weights=file)
    torch.save({"b": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="changed since this job was planned"):
        tiny.train(data, tmp_path / "out", job, weights=file)
    file.unlink()
    with pytest.raises(UserError, match="no such file of weights"):
        tiny.train(data, tmp_path / "out", job, weights=file)


def test_weights_of_an_experiment_with_other_settings_are_refused(data, finished, tmp_path):
    job = job_from(finished / "model.safetensors")
    job["spec"]["weights"] = {"experiment": "digits/mobilenet_v2/quick/seed3", "spec_sha256": "0"}
    with pytest.raises(UserError, match="made with other settings"):
        tiny.train(data, tmp_path / "out", job, weights=finished / "model.safetensors")


# The report


STARTED = {
    "weights": {"file": "resnet18.pth", "sha256": "ab" * 32},
    "sha256": "ab" * 32,
    "tensors": 120,
    "parameters": 999,
    "parameters_of": 1000,
    "replaced": ["fc.weight", "fc.bias"],
    "adapted": ["conv1.weight"],
    "initialised": [],
    "unused": [],
    "normalised": "by the dataset",
}


def start_from_weights(directory, **changes):
    metrics = read_json(directory / "metrics.json")
    (directory / "metrics.json").write_text(json.dumps(metrics | {"started_from": STARTED | changes}))
    return directory


def test_report_warns_of_tensors_that_stayed_random(experiment, write_report):
    warning = "the weights that it starts from lack layer4.0.conv1.weight, which started at random"
    assert warning not in write_report(start_from_weights(experiment(model="resnet50")))
    lacking = start_from_weights(experiment(model="resnet50"), initialised=["layer4.0.conv1.weight"])
    assert warning in write_report(lacking).partition("## Results")[0]


def test_report_says_what_networks_were_started_from(experiment, write_report):
    tuned = start_from_weights(experiment(model="resnet50"))
    text = write_report(tuned)
    assert "classifies digits when trained further from the weights of earlier training runs, with one seed." in text
    assert "- **ResNet50 on digits**: <code>resnet18.pth</code> (SHA-256 abababababab, 99.9" in text
    assert "the last layer was replaced (fc.weight, fc.bias)" in text
    assert "when trained from scratch" not in text
    mixed = write_report(tuned, experiment(model="vgg16"))
    earlier = "when trained from scratch or further from the weights of earlier training runs"
    assert f"classifies digits best {earlier}, with one seed each." in mixed
    assert "- **VGG-16 on digits**: random weights." in mixed


def test_published_numbers_of_training_from_scratch_are_not_compared_with_pretrained_networks(
    experiment, write_report, tmp_path
):
    tuned = start_from_weights(experiment("mnist", "resnet50", "tuned"))
    alone = write_report(tuned)
    assert "trained from scratch, so its numbers are not compared with these" in alone
    assert "published" not in str(tables(alone)[0])
    assert "Best published" not in alone
    mixed = write_report(tuned, experiment("mnist", "resnet50", "quick"))
    assert [row[0] for row in tables(mixed)[0][2:]] == [
        *("**ResNet50 (tuned)**", "ResNet50 (quick)<br><small>not chosen</small>", "ResNet50, published", "difference")
    ]
    statistics = write_statistics(tmp_path, tuned)
    folder = tuned.relative_to(tmp_path).as_posix()
    job = {"spec": {"dataset": "mnist", "variant_of": None, "experiments": [folder], "models": {"resnet50": 0}}}
    drawn = []
    accuracy = SimpleNamespace(draw=lambda comparison: drawn.append(comparison.published))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_files, "load", lambda name: accuracy)
        patch.setattr(comparison_files, "save", lambda *_: None)
        patch.setattr(comparison_files, "record_checksums", lambda *_: contextlib.nullcontext())
        published = paths.REPOSITORY / paths.PUBLISHED
        comparison_files.write_comparison_figure(
            "accuracy", job, tmp_path, published, statistics["mnist"].with_name("a.png")
        )
    assert drawn == [{}]


def test_report_names_the_files_of_weights_that_are_needed_to_reproduce_it(experiment, write_report):
    tuned = [start_from_weights(experiment(seed=seed)) for seed in (0, 1)]
    needed = f"<code>resnet18.pth</code> (SHA-256 <code>{'ab' * 32}</code>) cannot be downloaded: put it where"
    assert write_report(*tuned).count(f"{needed} <code>models.resnet50.weights</code> of config.yaml says.") == 1


def test_report_of_networks_from_scratch_has_no_list_of_starts(experiment, write_report):
    assert starts([]) == []
    assert "started from" not in write_report(experiment())
