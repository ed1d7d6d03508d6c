"""A folder or an archive of the user's images: from files to arrays, and what is refused."""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dataset import assert_nothing_prepared, build, prepare_again

from deepnets.data import folder_tree
from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.download import download
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file


def image_file(color=(200, 100, 50), size=(6, 6), mode="RGB", format="PNG", **save) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, format, **save)
    return file.getvalue()


RED, GREEN = image_file((255, 0, 0)), image_file((0, 255, 0))
BIRDS = {
    "train/owl/1.png": RED,
    "train/owl/2.jpg": image_file(format="JPEG"),
    "train/wren/1.jpeg": image_file(format="JPEG"),
    "train/wren/2.webp": image_file(format="WEBP"),
    "test/owl/1.PNG": GREEN,
    "test/wren/1.png": RED,
}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def build_birds(tmp_path: Path, files: dict[str, bytes], archive: bool = False, **keys) -> Path:
    path = write_zip(tmp_path / "birds.zip", files) if archive else write_folder(tmp_path / "birds", files)
    return build(tmp_path, "folder", **{"path": str(path), "classes": 2, "size": 4, **keys})


def refusal(tmp_path: Path, files: dict[str, bytes], **keys) -> str:
    """The message with which these files are refused; nothing is left of an attempt."""
    with pytest.raises(UserError) as error:
        build_birds(tmp_path, files, **keys)
    assert_nothing_prepared(tmp_path)
    return str(error.value)


@pytest.mark.parametrize("archive", [False, True])
def test_own_images_are_prepared_by_class_then_name(tmp_path, archive):
    dataset = build_birds(tmp_path, dict(reversed(BIRDS.items())), archive)
    images, labels, info = open_dataset(dataset, "test")
    assert info["classes"] == ["owl", "wren"]
    assert labels.tolist() == [0, 1]
    assert images[:, 0, 0].tolist() == [[0, 255, 0], [255, 0, 0]]
    assert info["splits"] == {"train": 4, "test": 2}
    assert info["test_files"] == ["test/owl/1.PNG", "test/wren/1.png"]


def test_folder_and_archives_give_the_same_arrays(tmp_path):
    folder = write_folder(tmp_path / "birds", BIRDS)
    with tarfile.open(tmp_path / "birds.tar.xz", "w:xz") as packed:
        packed.add(folder, "birds")  # one folder deeper
    write_zip(tmp_path / "birds.zip", BIRDS)
    infos = []
    for name in ("birds", "birds.zip", "birds.tar.xz"):
        dataset = build(tmp_path / name[5:], "folder", path=str(tmp_path / name), classes=2, size=5)
        infos.append(json.loads(dataset.read_text())["arrays"])
    assert infos[0] == infos[1] == infos[2]


def test_dataset_json_of_a_folder_holds_the_hash_of_every_image(tmp_path):
    raw = json.loads(build_birds(tmp_path, BIRDS).read_text())["raw"]
    assert raw == {name: hashlib.sha256(content).hexdigest() for name, content in BIRDS.items()}


def test_folder_is_read_in_place(tmp_path):
    assert not (build_birds(tmp_path, BIRDS).parent / "raw").exists()


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_folder_that_changed_after_the_download_is_named(tmp_path, change):
    build_birds(tmp_path, BIRDS)
    name = "test/owl/0.png" if change == "added" else "test/owl/1.PNG"
    (tmp_path / "birds" / name).unlink() if change == "removed" else (tmp_path / "birds" / name).write_bytes(RED)
    if change == "removed":
        (tmp_path / "birds" / "test/owl/2.png").write_bytes(RED)  # so that the class is not empty
        name = "test/owl/"
    options = datasets.source("folder").Options(source="folder", path=str(tmp_path / "birds"), classes=2, size=4)
    with pytest.raises(UserError, match=rf"{name}.*not the file that .*raw\.json lists; delete"):
        prepare_again(tmp_path, options)


@pytest.mark.parametrize(
    "make", [Path.touch, lambda _path: None, lambda path: path.symlink_to(path)], ids=["file", "gone", "loop"]
)
def test_folder_that_is_gone_after_the_download_is_named(tmp_path, make):
    build_birds(tmp_path, BIRDS)
    shutil.rmtree(tmp_path / "birds")
    make(tmp_path / "birds")
    options = datasets.source("folder").Options(source="folder", path=str(tmp_path / "birds"), classes=2, size=4)
    with pytest.raises(UserError, match=rf"^{tmp_path}/birds: not the folder of images that .*raw\.json lists; put it"):
        prepare_again(tmp_path, options)


def test_hidden_files_and_files_next_to_the_splits_do_not_count(tmp_path):
    extra = [".DS_Store", "train/.hidden/1.png", "train/owl/Thumbs.db", "train/owl/.x", "README.txt", "more/owl/1.png"]
    dataset = build_birds(tmp_path, {**BIRDS, **dict.fromkeys(extra, b"junk")})
    assert json.loads(dataset.read_text())["splits"] == {"train": 4, "test": 2}


@pytest.mark.parametrize("name", ["猫", "a;touch x", "$(x)", "<script>", "|", "x" * 200, "👨‍👩‍👧", " "])
def test_class_may_have_any_printable_name(tmp_path, name):
    files = {**BIRDS, f"train/{name}/1.png": RED, f"test/{name}/1.png": RED}
    assert name in json.loads(build_birds(tmp_path, files, classes=3).read_text())["classes"]


def test_class_whose_name_is_composed_differently_is_one_class(tmp_path):
    files = {**BIRDS, "train/\u00e9/1.png": RED, "test/e\u0301/1.png": RED}
    assert "\u00e9" in json.loads(build_birds(tmp_path, files, classes=3).read_text())["classes"]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"train/emu/1.png": RED}, ["test/emu is missing"]),
        ({"test/emu/1.png": RED}, ["train/emu is missing"]),
        ({"train/owl/notes.txt": b""}, ["train/owl/notes.txt", ".jpg, .jpeg, .jpe, .jfif, .png, .webp"]),
        ({"train/owl/1.heic": b""}, ["train/owl/1.heic"]),
        ({"train/list.csv": b""}, ["train/list.csv", "train/<class>/<image>"]),
        ({f"train/{'a/' * 17}1.png": RED}, ["a/a/a", "more than 16 folders below train"]),
        ({"train/a\nb/1.png": RED}, [r"'train/a\nb/1.png'", "rename"]),
        ({"train/emu/1.png": RED, "train/list.csv": b""}, ["test/emu is missing", "train/list.csv"]),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_what_is_out_of_place_is_named(tmp_path, changes, fragments, archive):
    message = refusal(tmp_path, {**BIRDS, **changes}, archive=archive)
    assert all(fragment in message for fragment in fragments)
    assert all(str(tmp_path / "birds") in line for line in message.splitlines())


@pytest.mark.parametrize(
    "files", [{}, {"1.png": RED}, {"a/train/x/1.png": RED, "b/test/x/1.png": RED}, {"a/b/c/1.png": RED}]
)
def test_folder_without_classes_is_refused(tmp_path, files):
    (tmp_path / "birds").mkdir()
    assert "or train/<class>/<image> and test/<class>/<image>" in refusal(tmp_path, files)


def test_folder_of_one_class_is_refused(tmp_path):
    assert "1 class folder; give 2 to 10,000" in refusal(tmp_path, {"cats/1.png": RED, "cats/2.png": GREEN})


def test_splits_without_classes_are_refused(tmp_path):
    (tmp_path / "birds" / "train").mkdir(parents=True)
    (tmp_path / "birds" / "test").mkdir()
    assert "expected train/<class>/<image> and test/<class>/<image>" in refusal(tmp_path, {})


def test_empty_class_is_named(tmp_path):
    (tmp_path / "birds" / "train" / "emu").mkdir(parents=True)
    message = refusal(tmp_path, {**BIRDS, "test/emu/1.png": RED})
    assert "train/emu has no images" in message


def test_number_of_classes_is_checked_with_the_right_number(tmp_path):
    assert "`classes: 2`" in refusal(tmp_path, BIRDS, classes=3)


def test_archive_that_leads_outside_is_refused(tmp_path):
    message = refusal(tmp_path, {**BIRDS, "train/owl/../../../../evil.png": RED}, archive=True)
    assert "has '..' in its name" in message
    assert not list(tmp_path.rglob("evil.png"))


def packed_badly(path: Path, damage: str) -> None:
    """An archive at `path` that has a fault which the download can see."""
    write_zip(path, {**BIRDS, **({"train/owl/notes.txt": b""} if damage == "layout" else {})})
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 9)


@pytest.mark.parametrize("damage", ["layout", "truncated"])
def test_archive_is_refused_at_the_download_and_accepted_once_fixed(tmp_path, damage):
    path = tmp_path / "birds.zip"
    packed_badly(path, damage)
    spec = {"source": "folder", "path": str(path)}
    with pytest.raises(UserError, match=f"^{path}"):
        download("tiny", spec, None, tmp_path / "data/tiny/raw.json")
    left = [file.name for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert left == [".download.lock"]
    assert build_birds(tmp_path, BIRDS, archive=True).is_file()


def test_archive_with_damaged_content_is_named(tmp_path):
    files = {**BIRDS, "train/owl/9.png": bytes(range(256))}
    path = write_zip(tmp_path / "birds.zip", files)
    path.write_bytes(path.read_bytes().replace(bytes(range(100, 200)), bytes(100)))  # its checksum is now another
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: a damaged archive.*; fetch it again\.$"):
        build(tmp_path, "folder", path=str(path), classes=2, size=4)


def test_long_lists_of_problems_are_shortened(tmp_path):
    message = refusal(tmp_path, {**BIRDS, **{f"train/owl/{i}.txt": b"" for i in range(25)}})
    assert message.count("\n") == 20
    assert message.endswith("... and 5 more.")


@pytest.mark.parametrize("archive", [False, True])
def test_every_corrupt_image_is_named_with_its_class(tmp_path, archive):
    files = {**BIRDS, "train/owl/9.png": RED[:-30], "test/wren/8.jpg": b"no image", "test/wren/7.webp": b"RIF"}
    lines = refusal(tmp_path, files, archive=archive).splitlines()
    assert len(lines) == 3
    assert not any("object at 0x" in line for line in lines)
    for name in ("train/owl/9.png", "test/wren/8.jpg", "test/wren/7.webp"):
        assert any(name in line and line.endswith("replace or remove it.") for line in lines)


def test_failed_prepare_keeps_nothing_of_an_earlier_one_out_of_step(tmp_path):
    before = open_dataset(build_birds(tmp_path, BIRDS), "train")[0].copy()
    with pytest.raises(UserError):
        build_birds(tmp_path, {**BIRDS, "train/owl/9.png": b""})
    assert np.array_equal(open_dataset(tmp_path / "data" / "tiny" / "dataset.json", "train")[0], before)


@pytest.mark.parametrize("path", ["missing", "missing.zip", "notes.txt"])
def test_path_that_cannot_be_read_is_named(tmp_path, path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"datasets\.tiny\.path is .*" + path):
        build(tmp_path, "folder", path=str(tmp_path / path), classes=2, size=4)
    assert_nothing_prepared(tmp_path)


def test_archive_that_is_nowhere_is_refused_with_every_folder_searched_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "stick"))
    for folder in ("stick", "mirror"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match=r"DEEPNETS_MIRROR=<folder>, or `mirror:` of datasets\.tiny") as error:
        build(tmp_path, "folder", Path("mirror"), path="birds.zip", classes=2, size=4)
    places = ["birds.zip", *(f"{f}/{name}" for f in ("stick", "mirror") for name in ("tiny/birds.zip", "birds.zip"))]
    assert f"(searched: {', '.join(str(tmp_path / place) for place in places)})" in str(error.value)


def test_archive_of_known_hash_is_not_needed_once_it_is_among_the_raw_files(tmp_path):
    """After `make clean`, which leaves raw files alone, the stick that had them may be gone."""
    archive = write_zip(tmp_path / "birds.zip", BIRDS)
    keys = {"path": str(archive), "classes": 2, "size": 4, "sha256": sha256_file(archive)}
    build(tmp_path, "folder", **keys)
    (tmp_path / "data/tiny/raw.json").unlink()
    archive.unlink()
    assert build(tmp_path, "folder", **keys).exists()


def test_hash_of_a_folder_is_refused(tmp_path):
    assert "sha256 is for archives" in refusal(tmp_path, BIRDS, sha256="0" * 64)


def test_unreadable_folder_is_one_line(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder_tree.os, "scandir", denied)
    assert refusal(tmp_path, BIRDS).startswith(f"{tmp_path / 'birds'}: Permission denied")


@pytest.mark.parametrize("target", ["nowhere.png", "link.png"])
def test_link_that_leads_nowhere_is_named(tmp_path, target):
    write_folder(tmp_path / "birds", BIRDS)
    (tmp_path / "birds/train/owl/link.png").symlink_to(target)
    assert refusal(tmp_path, {}).startswith(f"{tmp_path / 'birds/train/owl/link.png'}: ")
