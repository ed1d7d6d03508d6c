"""Files that hold the spec that they were made by, and those of another one, which are refused."""

import pytest
import torch
from tiny_dataset import build, prepare_again

from deepnets.data import sources
from deepnets.data.arrays import open_dataset
from deepnets.evaluation.results import check_specs, read_result
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json
from deepnets.utils.specs import check_made_by, differences, read_head
from deepnets.utils.tensors import save_tensors


def test_first_keys_are_read_of_json_and_of_weights(tmp_path):
    content = {"version": 1, "spec": {"size": 32}, "classes": ["a", "b"]}
    write_json(tmp_path / "dataset.json", content)
    save_tensors(tmp_path / "model.safetensors", {"x": torch.zeros(2)}, content)
    for name in ("dataset.json", "model.safetensors"):
        assert read_head(tmp_path / name, "spec", "classes", "none") == {"spec": {"size": 32}, "classes": ["a", "b"]}


@pytest.mark.parametrize("content", [b"", b"[1]", b"no", b"{}", b'{"spec": 1', b'{"a": [1, 2', b"\xff" * 20])
@pytest.mark.parametrize("name", ["dataset.json", "model.safetensors", "missing.json"])
def test_a_damaged_or_missing_file_has_no_first_keys(tmp_path, name, content):
    if "missing" not in name:
        (tmp_path / name).write_bytes(content)
    assert read_head(tmp_path / name, "spec") == {}


def test_a_long_list_after_the_spec_is_not_read(tmp_path):
    write_json(tmp_path / "raw.json", {"spec": 1, "files": ["x" * 1000] * 2000, "state": 2})
    assert read_head(tmp_path / "raw.json", "spec", "state") == {"spec": 1}


def test_weights_of_many_classes_with_long_names_have_their_keys(tmp_path):
    content = {"classes": [f"{place} {'x' * 2000}" for place in range(1000)], "spec": {"size": 32}}
    file = tmp_path / "model.safetensors"
    save_tensors(file, {f"layer{place}.weight": torch.zeros(1) for place in range(1000)}, content)
    assert read_head(file, "spec", "classes") == content
    too_long = (100_000_001).to_bytes(8, "little")  # safetensors refuses it
    file.write_bytes(too_long + file.read_bytes()[8:])
    assert read_head(file, "spec") == {}


def test_differences_have_both_values():
    old, new = {"size": 32, "augment": {"mixup": 0}, "names": ["a"]}, {"size": 48, "augment": {"mixup": 1}}
    assert differences(old, new) == [
        "size was 32, is 48",
        "augment.mixup was 0, is 1",
        'names was ["a"], is not there',
    ]


def test_a_file_of_another_spec_is_refused_with_both_values_and_what_to_do():
    check_made_by("data/raw.json", {"size": 48}, {"size": 48})
    message = r"^data/raw\.json: made with other settings \(size was 32, is 48\); start Snakemake, which rebuilds it"
    with pytest.raises(UserError, match=message):
        check_made_by("data/raw.json", {"size": 32}, {"size": 48})


def test_a_file_without_a_spec_is_refused():
    with pytest.raises(UserError, match=r"^data/raw\.json: .*\(unknown settings, as in a file of version 0\.1\.0\)"):
        check_made_by("data/raw.json", None, {"size": 48})


def test_prepare_refuses_raw_files_of_another_spec(tmp_path):
    options = sources.source("torchvision").Options(source="torchvision", name="KMNIST")
    build(tmp_path, "sklearn_digits")
    with pytest.raises(UserError, match=r'raw\.json: made with other settings \(source was "sklearn_digits", is'):
        prepare_again(tmp_path, options)


def test_arrays_of_another_size_are_refused(tmp_path):
    dataset = build(tmp_path, "sklearn_digits", size=12)
    spec = sources.source("sklearn_digits").Options(source="sklearn_digits", size=8).spec()
    with pytest.raises(UserError, match=r"dataset\.json: made with other settings \(size was 12, is 8\)"):
        open_dataset(dataset, "train", spec)
    open_dataset(dataset, "train", {**spec, "size": 12, "horizontal_flip": True})
    content = read_json(dataset)
    del content["spec"]  # as version 0.1.0 wrote it
    write_json(dataset, content)
    with pytest.raises(UserError, match=r"dataset\.json: made with other settings \(unknown settings"):
        open_dataset(dataset, "train", spec)


def test_results_of_other_specs_are_refused(experiment):
    result = read_result(experiment())
    check_specs([result], None)
    check_specs([result], [result.metrics.spec_sha256])
    with pytest.raises(UserError, match=r"metrics\.json: made with other settings than config\.yaml has now"):
        check_specs([result], ["0" * 64])
