"""Folders of images as people have them: nested, with a validation split, with odd names and odd files."""

import io
import json
import os
import socket
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dataset import assert_nothing_prepared, build

from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.splits import split_train_validation
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json
from deepnets.utils.logging import LOG, log_to


def image_file(value: int, **save) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG", **save)
    return file.getvalue()


def deep_file(values: np.ndarray) -> bytes:
    """Write a gray PNG of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


RED = image_file(100)
BIRDS = {f"{split}/{name}/1.png": RED for split in ("train", "test") for name in ("owl", "wren")}
KINDS = ("birds", "birds.zip", "birds.tar")
every_kind = pytest.mark.parametrize("kind", KINDS)


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Write files, and folders whose names end with `/`, into a folder or an archive whose kind its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name.rstrip("/"))
                member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        for name, content in files.items():
            folder = path / name if name.endswith("/") else (path / name).parent
            folder.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                (path / name).write_bytes(content)
    return path


def prepared(tmp_path: Path, files: dict[str, bytes], kind: str = "birds", **keys) -> Path:
    options = {"classes": 2, "size": 4, "channels": 1, **keys}
    return build(tmp_path, "folder", path=str(pack(tmp_path / kind, files)), **options)


def refusal(tmp_path: Path, files: dict[str, bytes], kind: str = "birds", **keys) -> str:
    with pytest.raises(UserError) as error:
        prepared(tmp_path, files, kind, **keys)
    assert_nothing_prepared(tmp_path)
    return str(error.value)


# -- nested folders ----------------------------------------------------------------------------------------------------


@every_kind
def test_images_in_folders_below_their_class_are_taken(tmp_path, kind):
    deep = {"train/owl/2023/06/01/x.png": RED, f"test/wren/{'d/' * 15}x.png": RED, "train/owl/1.png/2.png": RED}
    files = {**{name: content for name, content in BIRDS.items() if name != "train/owl/1.png"}, **deep}
    _, labels, info = open_dataset(prepared(tmp_path, files, kind), "train")
    assert info["splits"] == {"train": 3, "test": 3}
    assert labels.tolist() == [0, 0, 1]


@every_kind
def test_image_too_deep_is_refused_by_name(tmp_path, kind):
    message = refusal(tmp_path, {**BIRDS, f"train/owl/{'d/' * 16}x.png": RED}, kind)
    assert f"train/owl{'/d' * 16}" in message
    assert "more than 16 folders below train; move it up" in message


@pytest.mark.parametrize("target", ["train/owl", "train", "."])
def test_link_that_leads_in_a_circle_is_refused_by_name(tmp_path, target):
    birds = pack(tmp_path / "birds", BIRDS)
    (birds / "train/owl/loop").symlink_to(birds / target)
    message = refusal(tmp_path, {})
    assert "loop" in message
    assert "a link to a folder that holds it" in message


def test_two_links_to_one_folder_are_two_folders_of_images(tmp_path):
    birds = pack(tmp_path / "birds", {**BIRDS, "more/a.png": RED})
    for name in ("train/owl/first", "train/owl/second"):
        (birds / name).symlink_to(birds / "more")
    assert json.loads(prepared(tmp_path, {}).read_text())["splits"]["train"] == 4


# -- a validation split ------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev", "DEV", "eval", "Evaluation_Set"])
def test_validation_folder_is_the_validation_split(tmp_path, kind, name):
    files = {**BIRDS, f"{name}/owl/1.png": image_file(7), f"{name}/wren/2/3.png": image_file(9)}
    images, labels, info = open_dataset(prepared(tmp_path, files, kind), "train")
    assert info["splits"] == {"train": 2, "test": 2, "validation": 2}
    assert info["validation_rows"] == [2, 4]
    assert images[:, 0, 0, 0].tolist() == [100, 100, 7, 9]
    assert labels.tolist() == [0, 1, 0, 1]
    train, validation = split_train_validation(labels, 0.5, 0, info)
    assert train.tolist() == [0, 1]
    assert validation.tolist() == [2, 3]


@every_kind
@pytest.mark.parametrize("top", ["", "2023/"])
def test_folder_with_images_next_to_the_splits_is_named(tmp_path, kind, top, caplog):
    files = {f"{top}{name}": content for name, content in BIRDS.items() if name.startswith("train")}
    files |= {f"{top}{name.replace('owl/', 'owl/more')}": content for name, content in BIRDS.items()}
    names = (f"{top}holdout/owl/deep/1.png", f"{top}notes/owl/1.txt", f"{top}sketch.png", "other/a/1.png", ".git/1.png")
    prepared(tmp_path, files | dict.fromkeys(names, RED), kind)
    said = [line.partition(": the images in ")[2] for line in caplog.messages if "are not used" in line]
    why = "are not used; if they are a split, rename the folder to val or test, next to train"
    assert said == [f"{name} {why}" for name in sorted((f"{top}holdout", "other"))]


def test_mean_and_std_leave_the_validation_split_out(tmp_path):
    files = {**BIRDS, "train/owl/2.png": image_file(0)}
    alone = json.loads(prepared(tmp_path / "alone", files).read_text())
    both = json.loads(prepared(tmp_path / "both", {**files, "val/owl/1.png": image_file(255)}).read_text())
    assert (both["mean"], both["std"]) == (alone["mean"], alone["std"])
    assert "validation_rows" not in alone


def test_class_may_lack_validation_images_but_no_training_images(tmp_path):
    assert prepared(tmp_path / "1", {**BIRDS, "val/owl/1.png": RED}).exists()
    assert "train/emu is missing" in refusal(tmp_path / "2", {**BIRDS, "val/emu/1.png": RED})


@every_kind
@pytest.mark.parametrize("top", ["", "2023/"])
def test_capitals_in_the_names_of_splits_make_no_difference(tmp_path, kind, top):
    files = {
        f"{top}{name.replace('train', 'Train').replace('test', 'TEST')}": content for name, content in BIRDS.items()
    }
    info = prepared(tmp_path, {**files, f"{top}Dev/owl/1.png": RED}, kind)
    assert json.loads(info.read_text())["splits"] == {"train": 2, "test": 2, "validation": 1}


@every_kind
@pytest.mark.parametrize(
    ("first", "second", "split"),
    [
        ("val", "valid", "validation"),
        ("Val", "dev", "validation"),
        ("Train", "train", "train"),
        ("TEST", "test", "test"),
    ],
)
def test_two_folders_of_one_split_are_refused(tmp_path, kind, first, second, split):
    message = refusal(tmp_path, {**BIRDS, f"{first}/owl/1.png": RED, f"{second}/wren/1.png": RED}, kind)
    assert f"{first} and {second} are both {split} splits; keep one." in message


@every_kind
@pytest.mark.parametrize("names", [["val/"], ["val/owl/", "val/wren/"], ["Dev/", "Dev/.DS_Store"]])
def test_validation_folder_without_images_is_refused(tmp_path, kind, names):
    message = refusal(tmp_path, {**BIRDS, **dict.fromkeys(names, b"")}, kind)
    assert f"{names[0].split('/')[0]} has no images; add some or remove it." in message


def test_validation_image_outside_a_class_is_refused(tmp_path):
    files = {**BIRDS, "val/1.png": RED}
    assert "val has 1 image, but no class folders; move the images" in refusal(tmp_path, files)
    assert "val/1.png: expected val/<class>/<image>" in refusal(tmp_path, {**files, "val/owl/2.png": RED})


def test_state_of_a_folder_changes_with_its_validation_split(tmp_path):
    birds = pack(tmp_path / "birds", BIRDS)
    options = datasets.source("folder").Options(source="folder", path=str(birds), classes=2, size=4)
    before = options.local_state("birds")
    pack(birds, {"val/owl/1.png": RED})
    assert before != options.local_state("birds") is not None


# -- files that are no images ------------------------------------------------------------------------------------------

LEFT_BY_DESKTOPS = (
    *("THUMBS.DB", "Thumbs.db", "ehthumbs.db", "DESKTOP.INI", ".ds_store", "._1.png", "Icon\r", "ICON\r"),
    *("@eaDir/1.png/SYNOPHOTO_THUMB.jpg", "__macosx/1.png", "1.png:Zone.Identifier", "1.png:zone.identifier"),
    *("Thumbs.db:encryptable", "Picasa.ini", "$RECYCLE.BIN/1.png"),
)


@every_kind
def test_what_desktops_leave_is_ignored_in_any_spelling(tmp_path, kind):
    left = {f"train/{name}": b"x" for name in LEFT_BY_DESKTOPS} | {
        f"train/owl/{name}": b"x" for name in LEFT_BY_DESKTOPS
    }
    assert json.loads(prepared(tmp_path, {**BIRDS, **left}, kind).read_text())["splits"] == {"train": 2, "test": 2}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD_FILES = pytest.mark.parametrize("make", [fifo, unix_socket, link_to_a_device])


@ODD_FILES
@pytest.mark.parametrize("place", ["train/owl/x.png", "test/wren/x.png", "train/x", "train/owl/more/x.png"])
def test_file_that_would_block_is_refused_by_name_and_never_opened(tmp_path, make, place):
    birds = pack(tmp_path / "birds", {**BIRDS, "train/owl/more/1.png": RED})
    make(birds / place)
    assert refusal(tmp_path, {}).startswith(f"{birds / place}: not a file but a FIFO, a socket or a device")
    options = datasets.source("folder").Options(source="folder", path=str(birds), classes=2, size=4)
    assert options.local_state("birds") is None


@ODD_FILES
def test_archive_that_would_block_is_refused_by_name_and_never_opened(tmp_path, make, monkeypatch):
    (tmp_path / "stick").mkdir()
    make(tmp_path / "stick/birds.zip")
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "stick"))
    options = datasets.source("folder").Options(source="folder", path="birds.zip", classes=2, size=4)
    assert options.local_state("birds") is None
    with pytest.raises(UserError, match=r"stick/birds\.zip: not a file but a FIFO"):
        build(tmp_path, "folder", path="birds.zip", classes=2, size=4)


# -- names of classes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "code_point"),
    [
        ("owl", "o\u200bwl", "U+200B ZERO WIDTH SPACE"),
        ("owl", "owl ", "U+0020 SPACE"),
        ("barn owl", "barn\u00a0owl", "U+00A0 NO-BREAK SPACE"),
        ("owl", "owl\ufe0e", "U+FE0E VARIATION SELECTOR-15"),
        ("ow\u3164l", "owl", "U+3164 HANGUL FILLER"),
        ("owl", "owl\U000e0100", "U+E0100 VARIATION SELECTOR-17"),
        ("\u845b", "\u845b\U000e0101", "U+E0101 VARIATION SELECTOR-18"),
        ("owl\u180b", "owl", "U+180B MONGOLIAN FREE VARIATION SELECTOR ONE"),
        ("owl", "owl\u17b4", "U+17B4 KHMER VOWEL INHERENT AQ"),
        ("owl", "owl\u2065", "U+2065"),
        ("owl", "\U0001d159owl", "U+1D159 MUSICAL SYMBOL NULL NOTEHEAD"),
        ("\U0001f468\U0001f469", "\U0001f468\u200d\U0001f469", "U+200D ZERO WIDTH JOINER"),
    ],
)
@every_kind
def test_classes_that_look_the_same_are_refused_with_both_folders(tmp_path, kind, first, second, code_point):
    files = {f"{split}/{name}/1.png": RED for split in ("train", "test") for name in (first, second)}
    message = refusal(tmp_path, files, kind)
    first, second = sorted((first, second))
    assert f"train/{first!a} and train/{second!a} look the same" in message
    assert code_point in message


def test_class_composed_in_two_ways_in_one_split_is_refused(tmp_path):
    message = refusal(
        tmp_path, {**BIRDS, "train/\u00e9/1.png": RED, "train/e\u0301/1.png": RED, "test/\u00e9/1.png": RED}
    )
    assert r"train/'e\u0301' and train/'\xe9' look the same" in message


@pytest.mark.parametrize("name", ["a\u202egnp", "\u2066owl", "ow\u00adl", "\ufeffowl", "ow\u200dl", "\u200cowl"])
def test_class_with_an_invisible_character_is_refused_with_its_code_point(tmp_path, name):
    message = refusal(tmp_path, {f"{split}/{each}/1.png": RED for split in ("train", "test") for each in ("a", name)})
    hidden = next(character for character in name if not character.isascii())
    assert f"train/{name!a} has U+{ord(hidden):04X} " in message
    assert not any(hidden in line for line in message.splitlines() if "cannot be seen" in line)


def test_joiners_are_letters_where_a_script_needs_them(tmp_path):
    names = ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469\u200d\U0001f467")
    files = {f"{split}/{name}/1.png": RED for split in ("train", "test") for name in names}
    assert json.loads(prepared(tmp_path, files).read_text())["classes"] == sorted(names)


def test_classes_that_differ_in_case_alone_are_two_and_reported(tmp_path, caplog):
    files = {f"{split}/{name}/1.png": RED for split in ("train", "test") for name in ("owl", "Owl")}
    assert json.loads(prepared(tmp_path, files).read_text())["classes"] == ["Owl", "owl"]
    assert any("'Owl' and 'owl' differ in upper and lower case alone" in line for line in caplog.messages)


def test_classes_that_differ_in_a_ligature_are_not_called_the_same_but_for_capitals(tmp_path, caplog):
    prepared(tmp_path, {f"{split}/{name}/1.png": RED for split in ("train", "test") for name in ("fish", "\ufb01sh")})
    assert not any("upper and lower case" in line for line in caplog.messages)


# -- many problems, large images and 12 bits ---------------------------------------------------------------------------


def test_names_of_all_damaged_files_are_in_the_log_and_20_on_the_terminal(tmp_path):
    damaged = {f"train/owl/d{index}.png": b"no image" for index in range(60)}
    log_to(tmp_path / "log")
    try:
        message = refusal(tmp_path, {**BIRDS, **damaged})
    finally:
        for handler in LOG.handlers:
            handler.close()
        LOG.handlers = []
    assert message.count("train/owl/d") == 20
    assert "... and 40 more; the log file has them all." in message
    logged = (tmp_path / "log").read_text()
    assert all(f"train/owl/d{index}.png: " in logged for index in range(60))


def test_large_image_is_refused_with_the_option_that_takes_it(tmp_path):
    large = {**BIRDS, "train/owl/2.png": image_file(1)}
    message = refusal(tmp_path / "1", large, max_megapixels=0.000015)
    assert "train/owl/2.png: 4 x 4 pixels are 1.6e-05 megapixels, more than 1.5e-05" in message
    assert "`max_megapixels: 1` for this dataset in config.yaml" in message


def test_limit_of_the_dataset_is_in_dataset_json_for_pictures_that_are_predicted(tmp_path):
    assert read_json(prepared(tmp_path / "1", BIRDS, max_megapixels=200))["max_megapixels"] == 200
    assert "max_megapixels" not in read_json(prepared(tmp_path / "2", BIRDS))


def test_file_larger_than_any_image_is_named_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("deepnets.data.image_files.MAX_MEMBER_BYTES", 5000)
    assert "owl/1.png: has 5,001 bytes, more than any image; replace" in refusal(
        tmp_path, {**BIRDS, "train/owl/1.png": bytes(5001)}
    )


def test_options_that_change_no_array_are_no_part_of_any_spec():
    options = {"source": "folder", "path": "birds", "classes": 2, "size": 4}
    folder = datasets.source("folder").Options
    silent = folder(**options, max_megapixels=200, bit_depth=16)
    assert silent.spec() == folder(**options).spec()
    assert silent.prepare_arguments() == ["--max-megapixels", "200.0", "--bit-depth", "16"]
    assert folder(**options, bit_depth=12, encoding="gbk").spec() != folder(**options).spec()


def test_loss_of_12_bits_is_reported_until_bit_depth_says_what_is_white(tmp_path, caplog):
    files = {**BIRDS, "train/owl/1.png": deep_file(np.full((4, 4), 4095))}
    images, _, _ = open_dataset(prepared(tmp_path / "1", files), "train")
    assert images[0].max() == 16
    (line,) = (line for line in caplog.messages if "16 bits" in line)
    assert "1 images of 16 bits have hardly a value above 4,095" in line
    assert "`bit_depth: 12`" in line
    assert line.endswith("train/owl/1.png")
    caplog.clear()
    images, _, _ = open_dataset(prepared(tmp_path / "2", files, bit_depth=12), "train")
    assert images[0].min() == 255
    images, _, _ = open_dataset(prepared(tmp_path / "3", files, bit_depth=16), "train")
    assert images[0].max() == 16
    assert not any("16 bits" in line for line in caplog.messages)


def test_number_of_bits_that_is_named_fits_all_dark_images(tmp_path, caplog):
    files = {
        **BIRDS,
        "train/owl/1.png": deep_file(np.full((4, 4), 900)),
        "train/owl/2.png": deep_file(np.full((4, 4), 9000)),
    }
    prepared(tmp_path, files)
    (line,) = (line for line in caplog.messages if "16 bits" in line)
    assert "2 images of 16 bits have hardly a value above 16,383" in line
    assert "If their values have 14 bits, write `bit_depth: 14`" in line


def test_dark_colour_of_16_bits_is_reported_without_bit_depth(tmp_path, caplog):
    ppm = b"P6 4 4 65535\n" + np.full((4, 4, 3), 2000, ">u2").tobytes()
    prepared(tmp_path, {**BIRDS, "train/owl/1.ppm": ppm})
    (line,) = (line for line in caplog.messages if "16 bits" in line)
    assert "1 images of 16 bits in colour or with transparency" in line
    assert "Convert them to 8 bits; if they are really dark, write `bit_depth: 16`" in line
    caplog.clear()
    prepared(tmp_path / "2", {**BIRDS, "train/owl/1.ppm": ppm}, bit_depth=16)
    assert not any("16 bits" in line for line in caplog.messages)
