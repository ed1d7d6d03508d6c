"""The accuracy of a trained network on corrupted test images: robustness.json."""

import json

import numpy as np
import pytest
import torch
from tiny_experiment import JOB, call, error_line, job_with

from deepnets.config.loader import load_config
from deepnets.data.arrays import open_dataset
from deepnets.evaluation import robustness
from deepnets.evaluation.corruptions import CORRUPTIONS, corrupt
from deepnets.evaluation.network import load_for_evaluation
from deepnets.evaluation.robustness import CorruptedSplit, evaluate_robustness
from deepnets.evaluation.samples import sample
from deepnets.planning.jobs import Jobs
from deepnets.training.inference import channels_last
from deepnets.training.seeds import derived_seed
from deepnets.utils.files import read_json, sha256_file, write_json
from deepnets.utils.tensors import load_tensors

pytestmark = pytest.mark.usefixtures("process_as_it_was")

EXPERIMENT = {"dataset": "cifar10", "model": "resnet50", "recipe": "paper", "seed": "0"}


def measure(data, folder, job=JOB):
    call(evaluate_robustness, job, data, folder, gpus=0, log=folder / "log")
    return read_json(folder / "robustness.json")


def test_the_accuracy_of_each_kind_and_severity_is_that_of_the_network_on_such_images(data, copy):
    found = measure(data, copy)
    model, _, augmentation, device = load_for_evaluation(copy / "model.safetensors", JOB["spec"], 1, 0)
    pixels, labels, _ = open_dataset(data, "test")
    images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)

    def accuracy(batch):
        with torch.inference_mode(), device.autocast():
            logits = model.eval()(channels_last(augmentation.normalise(batch)))
        return (logits.argmax(1).numpy() == labels).mean()

    assert list(found["corruptions"]) == list(CORRUPTIONS)
    for place, kind in enumerate(CORRUPTIONS):
        for severity in (1, 2, 3):
            generator = torch.Generator().manual_seed(derived_seed(0, place, severity, 0))
            assert found["corruptions"][kind][severity - 1] == accuracy(corrupt(images, kind, severity, generator))
    assert found["corrupted_accuracy"] == pytest.approx(np.mean(list(found["corruptions"].values())))
    assert found["accuracy"] == read_json(copy / "metrics.json")["test"]["accuracy"]
    assert (found["n"], found["of"]) == (21, 21)


def test_the_file_says_what_it_was_made_by_and_is_the_same_byte_for_byte_when_repeated(data, copy):
    found = measure(data, copy)
    assert found["spec"] == JOB["spec"]
    assert found["arrays"] == read_json(data)["arrays"]
    checksum = sha256_file(copy / "robustness.json")
    assert (copy / ".robustness.sha256").read_text() == f"{checksum}  robustness.json\n"
    measure(data, copy)
    assert sha256_file(copy / "robustness.json") == checksum


def test_nothing_is_trained_and_no_other_file_changes(data, copy):
    before = {path.name: sha256_file(path) for path in copy.iterdir() if path.is_file() and path.name != "log"}
    measure(data, copy)
    assert {name: sha256_file(copy / name) for name in before} == before


def test_weights_of_other_settings_and_other_images_are_refused_in_a_line(data, copy, tmp_path, caplog):
    line = error_line(caplog, measure, data, copy, job_with(epochs=2))
    assert "model.safetensors: made with other settings (recipe.epochs was 6" in line
    metadata = read_json(data)
    for split in ("train", "test"):
        for kind in ("images", "labels"):
            name = f"{split}_{kind}.npy"
            (tmp_path / name).write_bytes((data.parent / name).read_bytes())
    write_json(tmp_path / "dataset.json", metadata | {"classes": ["a", "b", "c"]})
    assert "model.safetensors: made with other settings" in error_line(caplog, measure, tmp_path / "dataset.json", copy)
    assert not (copy / "robustness.json").exists()


def test_the_images_do_not_depend_on_the_network_and_each_batch_draws_its_own():
    images = torch.randint(256, (6, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = CorruptedSplit(images, torch.arange(6), kind="noise", severity=3)
    cpu = torch.device("cpu")
    first, labels = split.get_batch(torch.arange(3), cpu)
    again, _ = split.get_batch(torch.arange(3), cpu)
    assert torch.equal(first, again)
    assert torch.equal(labels, torch.arange(3))
    constant = CorruptedSplit(torch.full_like(images, 100), torch.arange(6), kind="noise", severity=3)
    assert not torch.equal(constant.get_batch(torch.arange(3), cpu)[0], constant.get_batch(torch.arange(3, 6), cpu)[0])


def test_of_many_test_images_a_fixed_random_sample_is_taken(data, copy, monkeypatch):
    monkeypatch.setattr(robustness, "TEST_IMAGES", 10)
    found = measure(data, copy)
    assert (found["n"], found["of"]) == (10, 21)
    rows = sample(np.arange(21), 10, seed=0)
    predicted = load_tensors(copy / "predictions.safetensors")[0]["test_logits"].argmax(1).numpy()
    assert found["accuracy"] == (predicted == open_dataset(data, "test")[1])[rows].mean()
    assert measure(data, copy) == found


# -- as a stage --------------------------------------------------------------------------------------------------------


def test_only_the_studies_that_config_names_have_the_stage(root):
    def stages(**overrides) -> set[str]:
        return {job.stage for job in Jobs(load_config(root / "config.yaml", overrides), root).of_study()}

    assert "robustness" not in stages()
    assert "robustness" not in stages(robustness=["sweep"])
    assert stages(robustness=["demo"]) == stages() | {"robustness"}


def test_metrics_and_mirror_averages_are_no_part_of_its_fingerprint_but_corruptions_are(root):
    def fingerprint(option: str) -> str:
        overrides = {"recipes": {"paper": {"test_time_augmentation": option}}}
        return Jobs(load_config(root / "config.yaml", overrides), root).fingerprint("robustness", EXPERIMENT)

    assert fingerprint("none") == fingerprint("mirror")
    code = json.loads(fingerprint("none"))["code"]
    assert "scripts/deepnets/evaluation/corruptions.py" in code
    assert not {f"scripts/deepnets/evaluation/{name}.py" for name in ("metrics", "evaluate", "schemas")} & code.keys()
