"""The audit of a dataset's images: how many, which files, which are odd or look alike; and the report of it."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dataset import build, build_audit

from deepnets.data import sources as datasets
from deepnets.data.near_duplicates import near_pairs
from deepnets.figures import sample_sheet
from deepnets.reporting.audit import Audit
from deepnets.reporting.image_audit import describe
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json


def picture(number: int, size: int = 48) -> Image.Image:
    """Draw a picture of soft shapes, each number another one."""
    coarse = np.random.default_rng(number).integers(256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def write_pictures(folder: Path, pictures: dict[str, Image.Image]) -> None:
    for name, image in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, quality=80)


NAMES = [
    *(f"train/owl/{index}.png" for index in range(8)),
    *(f"train/wren/{index}.png" for index in range(4)),
    *(f"test/{name}/{index}.png" for name in ("owl", "wren") for index in range(2)),
]
DIFFERENT = {name: picture(number) for number, name in enumerate(NAMES)}


def audit_of(tmp_path: Path, pictures: dict[str, Image.Image], **keys) -> dict:
    write_pictures(tmp_path / "birds", pictures)
    keys = {"path": str(tmp_path / "birds"), "size": 48, **keys}
    return build_audit(build(tmp_path, "folder", **keys), "folder", **keys)


def per_class(audit: dict) -> dict[str, list[int]]:
    return {split: each["per_class"] for split, each in audit["splits"].items()}


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_images_of_each_class_and_split_are_counted(tmp_path):
    audit = audit_of(tmp_path, DIFFERENT)
    assert audit["classes"] == ["owl", "wren"]
    assert per_class(audit) == {"train": [8, 4], "test": [2, 2]}


def test_images_of_a_validation_split_are_counted_apart(tmp_path):
    more = {"val/owl/0.png": picture(100), "val/wren/0.png": picture(101)}
    audit = audit_of(tmp_path, DIFFERENT | more)
    assert per_class(audit) == {"train": [8, 4], "validation": [1, 1], "test": [2, 2]}


def test_formats_and_sizes_of_the_files_are_counted(tmp_path):
    files = audit_of(tmp_path, DIFFERENT | {"train/owl/large.jpg": picture(100, 200)})["files"]
    assert files["formats"] == {"PNG": 16, "JPEG": 1}
    assert files["sizes"] == [
        {"width": 48, "height": 48, "images": 16},
        {"width": 200, "height": 200, "images": 1},
    ]
    assert files["shorter_side"] == [48, 200]


def test_blank_and_tiny_images_are_named(tmp_path):
    odd = {"train/owl/blank.png": Image.new("RGB", (48, 48), "navy"), "train/owl/tiny.png": picture(100, 12)}
    audit = audit_of(tmp_path, DIFFERENT | odd)
    assert audit["blank"]["images"] == 1
    assert audit["blank"]["members"][0] == {"split": "train", "index": 8, "class": "owl", "file": "train/owl/blank.png"}
    assert audit["files"]["tiny"] == {"images": 1, "files": ["train/owl/tiny.png"]}


@pytest.mark.parametrize(("non_square", "is_tiny"), [("crop", True), ("squash", True), ("pad", False)])
def test_image_that_is_padded_is_as_tiny_as_its_longer_side(tmp_path, non_square, is_tiny):
    narrow = {"train/owl/narrow.png": picture(100).resize((20, 90)), "train/owl/tiny.png": picture(101, 12)}
    tiny = audit_of(tmp_path, DIFFERENT | narrow, non_square=non_square)["files"]["tiny"]
    assert tiny["files"] == ["train/owl/narrow.png"] * is_tiny + ["train/owl/tiny.png"]


def test_pictures_that_differ_do_not_look_alike(tmp_path):
    near = audit_of(tmp_path, DIFFERENT)["near_duplicates"]
    assert (near["across_splits"], near["across_labels"]) == (0, 0)


def test_picture_that_was_saved_again_looks_like_the_first(tmp_path):
    again = {"test/owl/again.jpg": picture(0, 64), "train/wren/again.jpg": picture(9, 50)}
    near = audit_of(tmp_path, DIFFERENT | again)["near_duplicates"]
    assert near["across_splits"] == 1
    ((one, other),) = near["pairs"]["across_splits"]
    assert (one["file"], other["file"]) == ("test/owl/again.jpg", "train/owl/0.png")
    assert near["across_labels"] == 0


def test_validation_picture_that_looks_like_a_training_picture_is_named(tmp_path):
    more = {"val/owl/0.png": picture(100), "val/wren/0.png": picture(101), "val/owl/again.jpg": picture(0)}
    audit = audit_of(tmp_path, DIFFERENT | more | {"test/owl/again.jpg": picture(100)})
    near = audit["near_duplicates"]
    assert (near["across_splits"], near["validation_in_train"]) == (1, 1)
    ((one, other),) = near["pairs"]["validation_in_train"]
    assert (one["file"], other["file"]) == ("val/owl/again.jpg", "train/owl/0.png")
    assert "1 validation image looks like a training image (val/owl/again.jpg is like train/owl/0.png)" in words(audit)


def test_picture_in_two_classes_is_named_and_an_exact_copy_counts_as_no_look_alike(tmp_path):
    again = {"train/wren/again.jpg": picture(0), "train/wren/copy.png": picture(1)}
    near = audit_of(tmp_path, DIFFERENT | again)["near_duplicates"]
    assert near["across_labels"] == 2
    files = {frozenset(image["file"] for image in pair) for pair in near["pairs"]["across_labels"]}
    assert files == {frozenset({"train/owl/0.png", "train/wren/again.jpg"})}


def test_blank_images_do_not_look_alike(tmp_path):
    blank = {
        f"{split}/owl/blank.png": Image.new("RGB", (48, 48), color) for split, color in (("train", 0), ("test", 9))
    }
    assert audit_of(tmp_path, DIFFERENT | blank)["near_duplicates"]["across_splits"] == 0


def test_near_pairs_are_those_of_a_comparison_of_all():
    rng = np.random.default_rng(0)
    hashes = rng.integers(2**64, size=200, dtype=np.uint64)
    for bits in range(1, 7):  # neighbours with this many other bits
        flips = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in range(20)]
        hashes = np.concatenate([hashes, hashes[:20] ^ np.array(flips, np.uint64)])
    hashes = np.unique(hashes)
    expected = [
        [first, second]
        for first, second in itertools.combinations(range(len(hashes)), 2)
        if (int(hashes[first]) ^ int(hashes[second])).bit_count() <= 4
    ]
    assert len(expected) >= 80
    assert near_pairs(hashes, 4).tolist() == expected


def test_one_image_alone_has_no_pair():
    assert near_pairs(np.array([], np.uint64)).tolist() == near_pairs(np.array([7], np.uint64)).tolist() == []


# -- where images have no files, or none any more ----------------------------------------------------------------------


def test_images_without_files_are_audited_by_their_index(tmp_path):
    audit = build_audit(build(tmp_path, "sklearn_digits"), "sklearn_digits")
    assert audit["files"] is None
    assert sum(per_class(audit)["train"]) == 1437
    assert audit["blank"]["images"] == 0


def test_images_whose_files_are_gone_are_audited_without_names(tmp_path, caplog):
    write_pictures(tmp_path / "birds", DIFFERENT | {"train/owl/blank.png": Image.new("RGB", (48, 48))})
    keys = {"path": str(tmp_path / "birds"), "size": 48}
    info = build(tmp_path, "folder", **keys)
    (tmp_path / "birds").rename(tmp_path / "elsewhere")
    audit = build_audit(info, "folder", **keys)
    assert audit["files"] is None
    assert "file" not in audit["blank"]["members"][0]
    assert "the audit is of the arrays alone" in caplog.text


def test_images_in_an_archive_are_audited_as_those_in_a_folder(tmp_path):
    import shutil

    write_pictures(tmp_path / "birds", DIFFERENT)
    archive = shutil.make_archive(str(tmp_path / "birds"), "zip", tmp_path / "birds")
    keys = {"path": archive, "size": 48}
    of_archive = build_audit(build(tmp_path / "zip", "folder", **keys), "folder", **keys)
    of_folder = audit_of(tmp_path, DIFFERENT)
    assert {**of_archive, "spec": None} == {**of_folder, "spec": None}


def test_audit_of_arrays_of_other_settings_is_refused(tmp_path):
    write_pictures(tmp_path / "birds", DIFFERENT)
    info = build(tmp_path, "folder", path=str(tmp_path / "birds"), size=48)
    with pytest.raises(UserError, match="size was 48, is 32"):
        build_audit(info, "folder", path=str(tmp_path / "birds"), size=32)


# -- the sample sheet and the report -----------------------------------------------------------------------------------


def test_sample_sheet_shows_images_of_each_class(tmp_path):
    write_pictures(tmp_path / "birds", DIFFERENT)
    keys = {"source": "folder", "path": str(tmp_path / "birds"), "size": 48}
    info = build(tmp_path, **keys)
    spec = datasets.source("folder").Options(**keys).prepared_spec()
    sample_sheet.write_sample_sheet(info, {"spec": spec}, tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as image:
        assert image.info["settings_sha256"]
        width, height = image.size
    assert width > height > 100


@pytest.mark.parametrize(("side", "way"), [(4, "nearest"), (300, "antialiased")])
def test_sample_sheet_smooths_only_what_it_shrinks(side, way):
    figure = sample_sheet.draw([np.zeros((1, side, side, 3), np.uint8)], ["a"], 1)
    assert figure.axes[0].images[0].get_interpolation() == way


def test_sample_sheet_of_many_classes_shows_some_and_their_number():
    images = [np.zeros((2, 4, 4, 1), np.uint8)] * 3
    figure = sample_sheet.draw(images, ["a", "b", "$5"], 300)
    assert "3 of 300 classes" in figure.get_suptitle()
    (axes,) = figure.axes
    names = [(label.get_text(), label.get_position()[1]) for label in axes.get_yticklabels()]
    assert names == [("a", 0.5), ("b", 1.5), ("$5", 2.5)]


def test_each_image_of_the_sample_sheet_is_in_its_own_square_in_its_proportions_and_upright():
    images = [np.full((2, 20, 40, 1), value, np.uint8) for value in (50, 100)]
    (axes,) = sample_sheet.draw(images, ["a", "b"], 2).axes
    share = sample_sheet._SHARE
    assert len(axes.images) == 4
    for index, image in enumerate(axes.images):
        row, column = divmod(index, 2)
        assert image.get_array()[0, 0] == (50, 100)[row]
        left, right, bottom, top = image.get_extent()
        assert (left + right) / 2 == pytest.approx(column + 0.5)
        assert (top + bottom) / 2 == pytest.approx(row + 0.5)
        assert (right - left, bottom - top) == pytest.approx((share, share / 2))
    assert axes.get_ylim() == (2, 0)  # downwards, as rows are counted
    assert axes.get_aspect() == 1


def words(audit: dict) -> str:
    return " ".join(describe("birds", Audit.model_validate(audit))["sentences"])


def test_report_says_what_the_audit_found(tmp_path, experiment, write_report):
    more = {
        "train/owl/blank.png": Image.new("RGB", (48, 48)),
        "train/owl/tiny.png": picture(100, 12),
        "test/owl/again.jpg": picture(0),
    }
    audit = audit_of(tmp_path, DIFFERENT | more)
    text = words(audit)
    assert "Classes have from 4 (wren) to 10 (owl) training and validation images." in text
    assert "The files are 18 PNG and 1 JPEG, of 2 sizes, the shorter side from 12 to 48 pixels." in text
    assert "1 image is blank (train/owl/blank.png)." in text
    assert "1 image is tiny, enlarged more than twice (train/owl/tiny.png)." in text
    assert "1 test image looks like a training or validation image (test/owl/again.jpg is like train/owl/0.png)" in text
    write_json(tmp_path / "data/digits/audit.json", audit)
    page = write_report(experiment())
    assert "from 4 (wren) to 10 (owl) training and validation images" in page
    assert "| Class | Training and validation | Test |" in page
    assert "digits/images/samples.png" in page
    assert "| owl | 10 | 3 |" in page


def test_report_says_what_the_images_of_a_class_are_for(tmp_path, experiment, write_report):
    """The validation images are drawn from the training split, unless there is one of them; with folds, from all."""
    more = {f"valid/{name.partition('/')[2]}": picture(200 + n) for n, name in enumerate(DIFFERENT) if "train/" in name}
    audit = audit_of(tmp_path, DIFFERENT | more)
    file = tmp_path / "data/digits/audit.json"
    write_json(file, audit)
    page = write_report(experiment())
    counts = [audit["splits"][name]["per_class"] for name in ("train", "validation", "test")]
    assert "| Class | Training | Validation | Test |" in page
    assert f"| owl | {' | '.join(str(count[0]) for count in counts)} |" in page
    assert "training and validation images" not in words(audit)
    with_folds = audit_of(tmp_path / "more", DIFFERENT) | {"folds": 5}
    write_json(file, with_folds)
    page = write_report(experiment())
    assert "| Class | Images |" in page
    in_all = sum(with_folds["splits"][name]["per_class"][0] for name in ("train", "test"))
    assert f"| owl | {in_all} |" in page
    assert "training" not in words(with_folds).partition(" images.")[0]


@pytest.mark.parametrize(
    ("flips", "said"),
    [
        ([False], "No image was mirrored in training."),
        ([True], "Half of the images were mirrored left to right in training."),
        ([True, False], "Half of the images were mirrored left to right in some training runs."),
    ],
)
def test_report_says_whether_images_were_mirrored(experiment, write_report, flips, said):
    runs = [experiment(model=model, flips=each) for model, each in zip(("resnet50", "vgg16"), flips, strict=False)]
    assert f"#### Images of digits\n\n{said}\n" in write_report(*runs)


def test_report_says_what_became_of_images_that_are_not_square_only_where_there_may_be_some(
    tmp_path, experiment, write_report
):
    directory = experiment()
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["dataset"]["source"] = "folder"
    write_json(directory / "metrics.json", metrics)

    def is_shown(audit):
        write_json(tmp_path / "data/digits/audit.json", audit)
        return "Images that are not square were cropped" in write_report(directory)

    audit = audit_of(tmp_path, DIFFERENT)
    assert not is_shown(audit)
    assert is_shown(audit | {"files": audit["files"] | {"distinct_sizes": 99}}), "the most frequent sizes are kept"
    assert is_shown(audit_of(tmp_path, DIFFERENT | {"train/owl/wide.png": picture(100).resize((64, 48))}))


def test_report_says_what_was_found_where_config_yaml_left_it_out(tmp_path, experiment, write_report):
    pictures = {f"{name}/{index}.png": picture(index) for name in ("owl", "wren") for index in range(10)}
    audit = audit_of(tmp_path, pictures, size=None)
    write_json(tmp_path / "data/digits/audit.json", audit)
    section = write_report(experiment()).partition("#### Images of digits")[2].partition("<details>")[0]
    choices = [
        "test: 20 % of each class, the same for every experiment, as there are 2 class folders with 20 images, but no",
        "classes: 2, as many as there are",
        "size: 48, as all images have 48x48 pixels",
        "channels: 3, as 20 of 20 images are in colour",
    ]
    shown = [line[2:].replace("<span>&#37;</span>", "%") for line in section.splitlines() if line.startswith("- ")]
    assert len(shown) == len(choices)
    assert all(line.startswith(choice) for line, choice in zip(shown, choices, strict=True))
    assert "write" not in section


def test_hashes_that_tell_no_images_apart_say_nothing(tmp_path):
    audit = audit_of(tmp_path, DIFFERENT)
    tested = audit["splits"]["test"]["images"] = 200
    audit["near_duplicates"]["across_splits"] = tested // 20
    assert "By perceptual hash" in words(audit)
    assert "No image is blank or tiny." in words(audit)
    audit["near_duplicates"]["across_splits"] += 1
    assert "11 of 200 test images have nearly the same perceptual hash" in words(audit)
    assert "is like" not in words(audit)
    audit["folds"], audit["splits"]["train"]["images"] = 5, 800  # then each of 1,000 images is a test image once
    assert "11 test images look like a training or validation image" in words(audit)
    audit["near_duplicates"]["across_splits"] = 51
    assert "51 of 1,000 test images have nearly" in words(audit)


def test_report_without_an_audit_says_nothing_of_it(experiment, write_report):
    assert "perceptual hash" not in write_report(experiment())
