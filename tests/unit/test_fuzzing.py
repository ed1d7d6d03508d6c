"""Damaged input of every kind is taken, or refused in one line that names it: no traceback, no hang, no other harm.

fuzzing.py says how, and how to repeat a failure.
"""

import contextlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import DAMAGES, SEED, VALUES, assert_names, damaged, files_in, fuzz, harmless, pictures, read_or_refuse
from hypothesis import given, seed
from hypothesis import strategies as st
from safetensors.torch import save_file

from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.decode import decode
from deepnets.data.download import download
from deepnets.data.prepare import prepare
from deepnets.data.splits import split_train_validation
from deepnets.evaluation.history import read_history
from deepnets.evaluation.results import read_metrics, read_timing
from deepnets.training.checkpoints import CheckpointDir
from deepnets.utils.errors import UserError
from deepnets.utils.tensors import load_tensors

pytestmark = [pytest.mark.slow, pytest.mark.full]

# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", pictures())
@pytest.mark.filterwarnings("ignore")  # of decoders, about damage
def test_a_damaged_picture_is_decoded_or_refused(kind):
    @seed(SEED)
    @fuzz
    @given(DAMAGES, st.sampled_from((1, 3)))
    def check(damages, channels):
        with harmless(), contextlib.suppress(ValueError):  # its message becomes a line with the file's name
            image = decode(damaged(pictures()[kind], damages), 6, channels).pixels
            assert (image.shape, image.dtype) == ((6, 6, channels), np.uint8)

    assert decode(pictures()[kind], 6, 3).pixels.shape == (6, 6, 3)
    check()


# -- archives ----------------------------------------------------------------------------------------------------------


@cache
def archives() -> dict[str, bytes]:
    """An archive of each kind with two classes."""
    names = [f"{split}/{name}/{index}.png" for split in ("train", "test") for name in ("a", "b") for index in range(2)]
    picture, files = pictures()["png"], {}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name in names:
                archive.writestr(name, picture)
        files[f"{compression}.zip"] = buffer.getvalue()
    for mode, suffix in (("w", "tar"), ("w:gz", "tar.gz"), ("w:xz", "tar.xz")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as packed:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(picture)
                packed.addfile(member, io.BytesIO(picture))
        files[suffix] = buffer.getvalue()
    return files


@pytest.mark.parametrize("kind", archives())
def test_a_damaged_archive_is_prepared_or_refused(kind, tmp_path):
    path = tmp_path / f"images.{kind}"
    outside = {"note.txt": b"not to be touched"}
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/note.txt").write_bytes(outside["note.txt"])
    folders = iter(range(10**9))

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        folder = tmp_path / f"data{next(folders)}" / "tiny"
        path.write_bytes(damaged(archives()[kind], damages))
        options = datasets.source("folder").Options(source="folder", path=str(path), classes=2, size=4, channels=3)
        with harmless():
            try:
                download("tiny", options.raw_spec(), None, folder / "raw.json", path=options.own_path)
                prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")
            except UserError as error:
                assert_names(error, path.name)
                assert not (folder / "dataset.json").exists()
            else:
                images, _, info = open_dataset(folder / "dataset.json", "train")
                assert images.shape[1:] == (4, 4, 3)
                assert len(info["classes"]) == 2
        assert files_in(tmp_path / "outside") == outside
        assert {each.name.rstrip("0123456789") for each in tmp_path.iterdir()} == {"data", "outside", path.name}

    check()


# -- lists of files and of arrays --------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, datasets.DatasetOptions]:
    """The folder of a prepared dataset with a validation split, whose images lie in a folder; and its options."""
    for name in [f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in ("a", "b")]:
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(pictures()["png"])
    path = str(tmp_path / "images")
    options = datasets.source("folder").Options(source="folder", path=path, classes=2, size=4, channels=3)
    folder = tmp_path / "data/tiny"
    download("tiny", options.raw_spec(), None, folder / "raw.json")
    prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")
    return folder, options


@cache
def keys_of(text: str) -> list[tuple]:
    """The keys and indices that lead to each value of a JSON document."""

    def paths(value, path: tuple) -> Iterator[tuple]:
        yield path
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from paths(value[key], (*path, key))

    return list(paths(json.loads(text), ()))


def with_value(text: str, path: tuple, value: object) -> bytes:
    """Return a JSON document with another value at a place."""
    document = {"": json.loads(text)}
    *parents, last = ("", *path)
    table = document
    for key in parents:
        table = table[key]
    table[last] = value
    return json.dumps(document[""]).encode()


def read_tiny(folder: Path, options: datasets.DatasetOptions) -> None:
    """Open a dataset as training does."""
    _, labels, metadata = open_dataset(folder / "dataset.json", "train")
    train, validation = split_train_validation(labels, 0.5, 0, metadata)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert len(metadata["mean"]) == len(metadata["std"]) == metadata["input_shape"][0] == 3


def prepare_tiny(folder: Path, options: datasets.DatasetOptions) -> None:
    """Prepare a dataset from the list of its files."""
    prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")


@pytest.mark.parametrize(("name", "read"), [("raw.json", prepare_tiny), ("dataset.json", read_tiny)])
def test_a_damaged_list_is_read_or_refused(name, read, tiny):
    folder, options = tiny
    whole = (folder / name).read_text()
    damages = DAMAGES.map(lambda each: damaged(whole.encode(), each))
    values = st.builds(with_value, st.just(whole), st.sampled_from(keys_of(whole)), VALUES)
    before = files_in(folder.parents[1] / "images")

    @seed(SEED)
    @fuzz
    @given(damages | values)
    def check(content):
        (folder / name).write_bytes(content)
        with harmless():
            try:
                read(folder, options)
            except UserError as error:
                assert_names(error, name, "images", json.dumps(str(folder)))
        assert files_in(folder.parents[1] / "images") == before

    check()


# -- results and states ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "read"),
    [("history.csv", read_history), ("metrics.json", read_metrics), ("timing.json", read_timing)],
)
def test_a_damaged_result_is_read_or_refused(name, read, experiment, tmp_path):
    whole = (experiment() / name).read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(read, tmp_path / name, damaged(whole, damages))

    check()


def test_damaged_weights_are_read_or_refused(tmp_path):
    save_file({"layer.weight": torch.arange(12.0).reshape(3, 4)}, tmp_path / "whole", {"spec": "{}"})
    whole = (tmp_path / "whole").read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(load_tensors, tmp_path / "model.safetensors", damaged(whole, damages))

    check()


def test_a_damaged_saved_state_is_used_whole_or_not_at_all(tmp_path):
    saved = {"model.weight": torch.arange(12.0).reshape(3, 4)}
    CheckpointDir(tmp_path / "whole", "key", pytest.fail).save(7, saved, {"epoch": 1})
    names = ("state-7.safetensors", "state-7.json")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in names}

    @seed(SEED)
    @fuzz
    @given(st.sampled_from(names), DAMAGES)
    def check(name, damages):
        lines: list[str] = []
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        for other, content in whole.items():
            (folder / other).write_bytes(damaged(content, damages) if other == name else content)
        with harmless():
            found = CheckpointDir(folder, "key", lines.append).load()
        if found is None:
            assert any("state-7" in line for line in lines) or not json_object(folder / "state-7.json")
        else:
            assert torch.equal(found[0]["model.weight"], saved["model.weight"])
            assert found[1] == {"epoch": 1}

    check()


def json_object(path: Path) -> bool:
    """Return whether a file is a JSON object."""
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except ValueError:
        return False
