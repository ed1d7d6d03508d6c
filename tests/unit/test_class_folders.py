"""The layout of a folder of images, and the state by which a change is seen."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_dataset import build

from deepnets.data import sources as datasets
from deepnets.data.class_folders import list_classes, read_layout
from deepnets.utils.errors import UserError


def options(source: str, **keys) -> datasets.DatasetOptions:
    return datasets.source(source).Options(source=source, **keys)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    for name in ("train/owl/1.png", "train/owl/2.png", "test/owl/1.png"):
        (tmp_path / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "birds" / name).write_bytes(b"image")
    return tmp_path / "birds"


def state(path: Path | str, **keys) -> str | None:
    return options("folder", path=str(path), classes=2, size=8, **keys).local_state("birds")


CHANGES = {
    "an image more": lambda folder: (folder / "train/owl/3.png").touch(),
    "an image less": lambda folder: (folder / "train/owl/2.png").unlink(),
    "an image replaced": lambda folder: (folder / "test/owl/1.png").write_bytes(b"another image"),
    "an image renamed": lambda folder: (folder / "train/owl/2.png").rename(folder / "train/owl/3.png"),
    "an empty class": lambda folder: (folder / "train/wren").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_state_of_a_folder_changes_with_its_images(birds, change):
    before = state(birds)
    change(birds)
    assert before != state(birds) is not None


NO_CHANGES = {
    "touched": lambda folder: os.utime(folder / "train/owl/1.png", (0, 0)),
    "an image replaced by one of its size, which README says": lambda folder: (folder / "test/owl/1.png").write_bytes(
        b"egami"
    ),
    "a file that a desktop leaves": lambda folder: (folder / "train/owl/.DS_Store").touch(),
    "a file next to the splits": lambda folder: (folder / "README.txt").touch(),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_state_of_a_folder_changes_with_nothing_else(birds, change):
    before = state(birds)
    change(birds)
    assert before == state(birds) is not None


@pytest.mark.parametrize("place", [0, 99_999, 150_000])
def test_state_of_an_archive_changes_with_its_size_start_and_end(tmp_path, place):
    archive = tmp_path / "birds.zip"
    archive.write_bytes(bytes(100_000))
    before = state(archive)
    os.utime(archive, (0, 0))
    assert state(archive) == before
    with open(archive, "r+b") as file:
        file.seek(place)
        file.write(b"x")
    assert before != state(archive) is not None


def test_state_is_of_the_images_and_not_of_their_place(birds, monkeypatch):
    before = state(birds)
    monkeypatch.setenv("DEEPNETS_MIRROR", str(birds.parent / "mirror"))
    birds.parent.joinpath("mirror").mkdir()
    birds.rename(birds.parent / "mirror" / "birds")
    assert state("birds") == before


@pytest.mark.parametrize("path", ["missing", "~nobody/missing", "broken"])
def test_images_that_cannot_be_read_have_no_state(birds, monkeypatch, path):
    monkeypatch.chdir(birds.parent)
    (birds / "train/owl/link.png").symlink_to("nowhere")
    birds.rename("broken")
    assert state(path) is None


def test_state_is_left_out_where_the_spec_has_the_hash(tmp_path):
    (tmp_path / "birds.zip").touch()
    assert state(tmp_path / "birds.zip", sha256="0" * 64) is None
    assert options("sklearn_digits").local_state("digits") is None


def test_state_is_taken_without_heavy_imports(birds):
    heavy = "{'torch', 'sklearn', 'PIL', 'requests', 'tqdm'}"
    made = f"folder.Options(source='folder', path={str(birds)!r}, classes=2, size=8)"
    taken = f"from deepnets.data.sources import folder; assert {made}.local_state('birds')"
    code = f"import sys; {taken}; assert not {heavy} & sys.modules.keys()"
    scripts = Path(datasets.__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(scripts)}, check=True)


# -- which folders are classes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folders", [("train", "test1"), ("Train_1", "test-a"), ("trainA", "testB"), ("test", "test2")])
def test_folders_that_are_all_named_as_splits_are_no_classes(folders):
    names = [f"{folder}/{index}.jpg" for folder in folders for index in range(5)]
    with pytest.raises(UserError, match="have the names of splits, but would be the classes") as refusal:
        read_layout("birds", names)
    assert all(folder in str(refusal.value) for folder in folders)
    with pytest.raises(UserError, match="if they are classes, rename them"):
        list_classes("birds", names)
    assert len(read_layout("birds", [*names, "bus/1.jpg", "bus/2.jpg"]).classes) == 3


@pytest.fixture(params=["birds", "birds.zip"])
def scans(request, tmp_path: Path) -> Path:
    """Images in folders of patients, these in folders of classes, as an archive, or in a folder in one folder more."""
    for label in ("healthy", "ill"):
        for patient in range(5):
            folder = tmp_path / f"birds/photos/{label}/patient{patient}"
            folder.mkdir(parents=True)
            for shot in range(2):
                Image.new("L", (6, 6), 10 * patient).save(folder / f"{shot}.png")
    if request.param == "birds.zip":
        shutil.make_archive(str(tmp_path / "birds"), "zip", tmp_path / "birds/photos")
    return tmp_path / request.param


def test_folders_at_the_top_are_classes_if_there_are_as_many_as_config_yaml_says(scans, tmp_path):
    info = json.loads(build(tmp_path, "folder", path=str(scans), classes=2, groups="^([^/]+)/").read_text())
    assert info["classes"] == ["healthy", "ill"]
    assert sum(info["splits"].values()) == 20
    assert info["found"]["classes"].startswith("healthy, ill, as there are 2 such folders; their images are in folders")
    message = "write `classes: 2` if healthy, ill are the classes; else write at the end of `path` the folder"
    for classes in (None, 3):
        with pytest.raises(UserError, match=message):
            build(tmp_path, "folder", path=str(scans), classes=classes)


def test_state_of_such_classes_changes_with_their_images(scans, tmp_path):
    options = datasets.source("folder").Options(path=str(scans), classes=2)
    options.check_files("birds", tmp_path)
    before = options.local_state("birds")
    if scans.is_dir():
        (scans / "photos/ill/patient1/new.png").touch()
        assert options.local_state("birds") != before
