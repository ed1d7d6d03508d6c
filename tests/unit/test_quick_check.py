"""A wrong path or number of classes is found when the configuration is read, unless no job needs the images."""

import errno
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from deepnets.config.loader import load_config
from deepnets.data import quick_check
from deepnets.data import sources as datasets
from deepnets.data.download import download
from deepnets.data.file_kinds import ARCHIVES, BZIP2, GZIP, TAR, XZ, kind_by_name
from deepnets.data.prepare import prepare
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json

NAMES = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("owl", "wren")]


def image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 6)).save(file, "PNG")
    return file.getvalue()


def write_folder(folder: Path, names: list[str] = NAMES) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image())
    return folder


def write_archive(path: Path, names: list[str] = NAMES) -> Path:
    folder = write_folder(path.with_name("packed"), names)
    formats = {ARCHIVES[".zip"]: "zip", TAR: "tar", GZIP: "gztar", BZIP2: "bztar", XZ: "xztar"}
    shutil.move(shutil.make_archive(str(path.with_name("made")), formats[kind_by_name(path.name)], folder), path)
    shutil.rmtree(folder)
    return path


def jobs_of(tmp_path: Path, root: Path, other: dict | None = None, **keys) -> Jobs:
    """Return the jobs of a study of one dataset, birds, in a folder of its own."""
    birds = {"source": "folder", "path": str(tmp_path / "birds"), "classes": 2, "size": 32, **keys}
    entry = {"datasets": ["birds"], "models": ["vgg16"], "recipe": "quick"}
    config = {
        "study": "mine",
        "datasets": {"birds": birds, "other": other or birds},
        "models": {"vgg16": {"architecture": "vgg16"}},
        "recipes": {"quick": {"epochs": 1}},
        "studies": {"mine": [entry], "others": [{**entry, "datasets": ["other"]}]},
    }
    write_json(tmp_path / "config.yaml", config)
    return Jobs(load_config(tmp_path / "config.yaml"), root, tmp_path)


@pytest.fixture
def check(tmp_path: Path, root: Path):
    """Check the data of a study: `check(classes=3)` returns what is wrong, None if nothing is."""

    def call(**keys) -> str | None:
        try:
            jobs_of(tmp_path, root, **keys).check_data()
        except UserError as error:
            message = str(error)
        else:
            return None
        assert "\n" not in message
        assert message.startswith("config.yaml: datasets.birds.") or "FIFO" in message
        return message

    return call


@pytest.mark.parametrize("top", ["", "2023/"])
def test_right_folder_is_accepted(tmp_path, check, top):
    write_folder(tmp_path / "birds", [top + name for name in NAMES] + [".DS_Store", "notes/read me.txt"])
    assert check() is None


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_classes_of_every_archive_are_counted(tmp_path, check, suffix):
    path = write_archive(tmp_path / f"birds{suffix}")
    assert check(path=str(path)) is None
    assert f"{path}: 2 class folders, but `classes` is 3 in config.yaml; write `classes: 2`" in check(
        path=str(path), classes=3
    )


def test_wrong_number_of_class_folders_is_named_with_the_right_one(tmp_path, check):
    write_folder(tmp_path / "birds")
    assert "2 class folders, but `classes` is 12 in config.yaml; write `classes: 2`" in check(classes=12)


def test_folder_that_is_not_there_is_named_with_the_places_searched(tmp_path, check):
    assert f"which does not exist (searched: {tmp_path}/birds)" in check()


def test_folder_without_classes_is_named_with_what_is_there(tmp_path, check):
    write_folder(tmp_path / "birds", ["1.png", "2.png"])
    assert (
        f"{tmp_path}/birds: no images found: 2 images, but no folders of classes; expected <class>/<image>" in check()
    )


@pytest.mark.parametrize("kind", ["birds", "birds.zip"])
def test_folder_of_classes_is_accepted_and_counted(tmp_path, check, kind):
    names = ["owl/1.png", "wren/1.png", "wren/2023/2.png"]
    (write_folder if kind == "birds" else write_archive)(tmp_path / kind, names)
    path = str(tmp_path / kind)
    assert check(path=path) is None
    assert check(path=path, classes=None, size=None) is None
    assert "2 class folders, but `classes` is 3" in check(path=path, classes=3)


def test_images_directly_in_train_and_test_are_no_classes(tmp_path, check):
    write_folder(tmp_path / "birds", ["train/1.png", "train/2.png", "test/1.png", "train.csv"])
    assert (
        f"{tmp_path}/birds: test has 1 image and train has 2 images, but no class folders; move the images of each"
        " class into a folder (test/<class>/<image>), or give a table of the images and their labels"
        " (`path: .../train.csv`)." in check()
    )


def test_images_without_classes_next_to_a_split_with_classes_are_counted(tmp_path, check):
    write_folder(tmp_path / "birds", ["train/owl/1.png", "train/wren/1.png", "test/1.png"])
    assert "test has 1 image, but no class folders; " in (message := check())
    assert "rename test if their classes are not known" in message


def test_splits_without_images_are_named(tmp_path, check):
    write_folder(tmp_path / "birds", ["train/", "test/", "owl/1.png"])
    assert "no images found in test and train; expected train/<class>/<image>" in (message := check())
    assert "test is read as a split: rename it if it is a class" in message


def test_images_behind_links_below_the_classes_are_found_and_a_link_in_a_circle_is_left_to_its_job(tmp_path, check):
    write_folder(tmp_path, ["one/1.png", "two/deep/1.png"])
    for link, target in (("land/p1", "one"), ("sea/p2", "two")):
        (tmp_path / "birds" / link).parent.mkdir(parents=True)
        (tmp_path / "birds" / link).symlink_to(tmp_path / target)
    assert check() is None
    assert "no images found: 2 images in land/p1, sea/p2/deep, but none in a folder at the top" in check(classes=3)
    (tmp_path / "birds/sea/p3").symlink_to(tmp_path / "birds")
    assert check() is None


def test_images_two_folders_below_the_top_are_counted(tmp_path, check):
    write_folder(tmp_path / "birds", ["sea/gull/1.png", "sea/tern/deep/1.png", "land/owl/1.png"])
    assert check() is None
    assert (
        "no images found: 3 images in land/owl, sea/gull, sea/tern/deep, but none in a folder at the top; expected"
        " <class>/<image>, or train/<class>/<image> and test/<class>/<image>: write `classes: 2` if land, sea are the"
        " classes; else write at the end of `path` the folder that holds the classes, move them up, or give a table"
        in check(classes=3)
    )


@pytest.mark.parametrize("name", ["birds.zip", "birds.tar", "birds.tar.gz", "birds.tbz", "birds.tar.xz"])
@pytest.mark.parametrize("size", [0, 100, 2**21])
def test_file_that_is_no_archive_is_named_whatever_its_size(tmp_path, check, name, size):
    (tmp_path / name).write_bytes(b"text" * (size // 4))
    assert f"{tmp_path}/{name}: " in check(path=str(tmp_path / name))


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo], ids=["text", "pipe"])
@pytest.mark.parametrize("name", ["birds.txt", "birds.rar", "birds"])
def test_file_that_is_neither_is_named(tmp_path, check, name, make):
    make(tmp_path / name)
    refusal = "not a file but a FIFO" if make is os.mkfifo else "neither a folder nor an archive"
    assert refusal in check(path=str(tmp_path / name))


def test_pipe_with_the_name_of_an_archive_does_not_hang(tmp_path, check):
    os.mkfifo(tmp_path / "birds.zip")
    assert "not a file but a FIFO" in check(path=str(tmp_path / "birds.zip"))


def test_mirror_that_is_no_folder_is_named(tmp_path, check):
    write_folder(tmp_path / "elsewhere")
    assert "mirror" in check(path="elsewhere", mirror=str(tmp_path / "nowhere"))


def test_archive_that_is_to_be_downloaded_need_not_be_there(check):
    assert check(path="birds.zip", mirror="https://example.invalid", sha256="0" * 64) is None


@pytest.mark.parametrize("name", ["birds.tar", "birds.tar.gz", "birds.tbz2", "birds.txz"])
def test_large_archive_is_left_to_its_job(tmp_path, check, monkeypatch, name):
    path = write_archive(tmp_path / name)
    monkeypatch.setattr(quick_check, "_MAX_TAR", 10)
    monkeypatch.setattr(quick_check, "_MAX_PACKED_TAR", 10)
    assert check(path=str(path), classes=3) is None


def test_zip_of_too_many_members_is_left_to_its_job(tmp_path):
    path = tmp_path / "birds.zip"
    record = b"PK\x05\x06" + bytes(4) + b"\xff\xff" * 2 + bytes(8) + b"\x05\x00" + b"words"
    path.write_bytes(record)
    assert quick_check.find_classes(path, "birds") is None


def test_dataset_of_another_study_is_not_looked_at(tmp_path, check):
    write_folder(tmp_path / "birds")
    assert check(other={"source": "folder", "path": "nowhere", "classes": 2, "size": 32}) is None


@pytest.fixture
def listed(monkeypatch) -> list[str]:
    """Names of the folders that are listed. Those called "closed" cannot be, even by root, who may list all."""
    names, scandir = [], os.scandir

    def scan(folder):
        names.append(os.path.basename(folder))
        if names[-1] in ("closed", "lost+found"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    return names


def test_large_folder_is_looked_at_in_its_upper_levels_only(tmp_path, check, listed):
    write_folder(tmp_path / "birds", [*NAMES, "train/owl/2023/1.png", "photos/owl/1.png"])
    assert check() is None
    assert set(listed) == {"birds", "train", "test"}


@pytest.mark.parametrize("top", ["", "2023/"])
def test_folder_of_the_disk_that_cannot_be_read_does_not_matter(tmp_path, root, check, listed, top):
    write_folder(tmp_path / "birds", [*(top + name for name in NAMES), "lost+found/1", "System Volume Information/1"])
    assert check() is None
    options = jobs_of(tmp_path, root).config.datasets["birds"]
    download("birds", options.raw_spec(), None, tmp_path / "raw.json", options.local_state("birds"))
    assert len(json.loads((tmp_path / "raw.json").read_text())["files"]) == len(NAMES)


def test_folder_that_may_hold_the_images_and_cannot_be_read_is_named(tmp_path, check, listed):
    write_folder(tmp_path / "birds", ["closed/train/owl/1.png"])
    assert f"{tmp_path}/birds/closed: Permission denied; correct or remove it." in check()


@pytest.mark.parametrize("top", ["", "2023/"])
@pytest.mark.parametrize("target", ["loop", "."])
def test_link_to_itself_next_to_the_splits_does_not_matter(tmp_path, root, check, top, target):
    write_folder(tmp_path / "birds", [top + name for name in NAMES])
    (tmp_path / "birds" / "loop").symlink_to(target)
    assert check() is None
    options = jobs_of(tmp_path, root).config.datasets["birds"]
    download("birds", options.raw_spec(), None, tmp_path / "raw.json", options.local_state("birds"))


@pytest.mark.parametrize("keys", [{"path": "b" * 300}, {"path": "x", "mirror": "b" * 300}])
def test_path_that_is_too_long_for_the_system_is_named(tmp_path, check, monkeypatch, keys):
    monkeypatch.chdir(tmp_path)
    assert "b" * 300 in check(**keys)
    options = datasets.source("folder").Options(source="folder", classes=2, size=4, **keys)
    with pytest.raises(UserError, match="bbb") as error:
        download("birds", options.raw_spec(), options.mirror, tmp_path / "raw.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["birds", "birds.zip"])
def test_classes_that_look_the_same_are_named_before_their_number_is(tmp_path, check, kind):
    names = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("\u00e9", "e\u0301")]
    path = write_archive(tmp_path / kind, names) if kind.endswith("zip") else write_folder(tmp_path / kind, names)
    with pytest.raises(UserError, match="look the same") as error:
        datasets.source("folder").Options(source="folder", path=str(path), classes=2, size=4).check_files(
            "birds", tmp_path
        )
    assert "class folders, but" not in str(error.value)


# -- images that no job needs ------------------------------------------------------------------------------------------


def prepare_birds(tmp_path: Path, root: Path) -> None:
    write_folder(tmp_path / "birds")
    jobs = jobs_of(tmp_path, root)
    options, folder = jobs.config.datasets["birds"], tmp_path / "data" / "birds"
    state = options.local_state("birds")
    download("birds", options.raw_spec(), None, folder / "raw.json", state)
    prepare("birds", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")


def test_images_may_be_deleted_once_the_arrays_are_there(tmp_path, root, check):
    prepare_birds(tmp_path, root)
    shutil.rmtree(tmp_path / "birds")
    assert check() is None
    assert "does not exist" in check(size=48)  # other arrays need the images


def test_images_and_arrays_may_be_deleted_once_all_is_evaluated(tmp_path, root, check):
    (experiment,) = jobs_of(tmp_path, root).study
    write_json(tmp_path / experiment.directory / "metrics.json", {"spec": experiment.spec})
    assert check() is None
    assert "does not exist" in check(size=48)


def test_images_that_changed_into_something_wrong_are_named_though_the_arrays_are_there(tmp_path, root, check):
    prepare_birds(tmp_path, root)
    shutil.rmtree(tmp_path / "birds")
    write_folder(tmp_path / "birds", ["1.png"])
    assert "no images found" in check()
