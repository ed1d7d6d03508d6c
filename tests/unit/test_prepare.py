"""The prepare stage: which files it writes, and when."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest
from config_files import changed, write
from sklearn.datasets import load_digits
from tiny_dataset import assert_nothing_prepared, build

import prepare as prepare_script
from deepnets.data import prepare as prepare_stage
from deepnets.data.arrays import open_dataset
from deepnets.utils.paths import SPLITS


def test_digits_are_prepared_whole(tmp_path):
    dataset = build(tmp_path, "sklearn_digits")
    (train, train_labels, info), (test, test_labels, _) = (open_dataset(dataset, split) for split in SPLITS)
    assert info["splits"] == {"train": 1437, "test": 360}
    assert info["input_shape"] == [1, 8, 8]
    assert info["classes"] == list("0123456789")
    assert sorted([*train_labels, *test_labels]) == sorted(load_digits().target)
    assert np.bincount(test_labels).min() >= 34
    assert np.concatenate([train, test]).max() == 255


def test_digits_keep_their_sixteen_steps(tmp_path):
    images, _, _ = open_dataset(build(tmp_path, "sklearn_digits"), "train")
    assert np.unique(images).tolist() == [round(step * 255 / 16) for step in range(17)]  # 127.5 rounds to 128


def test_digits_are_resized_and_coloured_on_request(tmp_path):
    images, _, info = open_dataset(build(tmp_path, "sklearn_digits", size=12, channels=3), "test")
    assert images.shape == (360, 12, 12, 3)
    assert (images[..., 0] == images[..., 1]).all()
    assert info["input_shape"] == [3, 12, 12]


def test_mean_and_std_are_those_of_the_training_split(tmp_path):
    images, _, info = open_dataset(build(tmp_path, "sklearn_digits", channels=3), "train")
    pixels = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(info["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(info["std"], pixels.std(0), rtol=1e-12)


def test_two_runs_write_the_same_bytes(tmp_path):
    files = build(tmp_path / "1", "sklearn_digits").parent.iterdir()
    again = build(tmp_path / "2", "sklearn_digits").parent
    assert all((again / file.name).read_bytes() == file.read_bytes() for file in files if file.is_file())


def test_leftovers_of_a_killed_prepare_are_removed(tmp_path):
    leftover = tmp_path / "data" / "tiny" / ".train_images.deepnets-x1y2z3_0.npy"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    build(tmp_path, "sklearn_digits")
    assert not leftover.exists()


def test_no_array_has_its_name_before_all_are_on_the_disk(tmp_path, monkeypatch):
    flushed = []

    def end_at_the_last(file: Path) -> None:
        flushed.append(file.name)
        if len(flushed) == 4:
            raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(prepare_stage, "flush", end_at_the_last)
    with pytest.raises(OSError, match="Input/output error"):
        build(tmp_path, "sklearn_digits")
    assert flushed == [f"{split}_{kind}.npy" for split in SPLITS for kind in ("images", "labels")]
    assert_nothing_prepared(tmp_path)


def test_full_disk_while_writing_leaves_no_array(tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepnets.data.array_writer.open", FullDisk, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        build(tmp_path, "sklearn_digits")
    assert_nothing_prepared(tmp_path)


@pytest.mark.parametrize(("option", "given"), [([], True), (["--horizontal-flip", "0"], False)])
def test_an_option_by_hand_counts_more_than_config_yaml_though_it_is_zero(tmp_path, monkeypatch, option, given):
    write(tmp_path, changed({"datasets/digits/horizontal_flip": True}))
    monkeypatch.chdir(tmp_path)
    found = {}
    monkeypatch.setattr(prepare_script, "prepare", lambda *_arguments, **options: found.update(options))
    prepare_script.main(["digits", *option])
    assert found == {"horizontal_flip": given}
