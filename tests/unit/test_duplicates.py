"""Images that are the same: audit.json counts and names them, the audit's log and the report warn of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dataset import build, build_audit

from deepnets.data.duplicates import count_duplicates
from deepnets.data.image_rows import ImageRows
from deepnets.reporting.audit import Audit
from deepnets.reporting.duplicates import counted, leakage
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json


def draw(folder: Path, **of_color: list[str]) -> None:
    """Write images of one colour each: `draw(folder, red=["train/owl/1.png"])`."""
    for color, names in of_color.items():
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 6), color).save(folder / name)


def audit_of(tmp_path: Path, **of_color: list[str]) -> dict:
    draw(tmp_path / "birds", **of_color)
    keys = {"path": str(tmp_path / "birds"), "classes": 2, "size": 4}
    return build_audit(build(tmp_path, "folder", **keys), "folder", **keys)


def sizes(audit: dict) -> dict[str, dict[str, int]]:
    return {split: {key: each[key] for key in ("images", "distinct")} for split, each in audit["splits"].items()}


def files(groups: list[dict]) -> list[list[str]]:
    return [[member["file"] for member in group["members"]] for group in groups]


DISTINCT = {
    "red": ["train/owl/1.png"],
    "green": ["train/wren/1.png"],
    "blue": ["test/owl/1.png"],
    "white": ["test/wren/1.png"],
}


def test_images_that_differ_are_no_duplicates(tmp_path):
    audit = audit_of(tmp_path, **DISTINCT)
    assert sizes(audit) == {"train": {"images": 2, "distinct": 2}, "test": {"images": 2, "distinct": 2}}
    assert set(audit["duplicates"].values()) == {0}
    assert not any(audit["groups"].values())


def test_copies_within_a_split_are_counted_with_their_files(tmp_path):
    more = {"red": ["train/owl/1.png", "train/owl/2.bmp.png", "train/owl/3.png"]}
    audit = audit_of(tmp_path, **DISTINCT | more)
    assert audit["duplicates"] == {"within_train": 2, "within_test": 0, "across_splits": 0, "across_labels": 0}
    assert sizes(audit)["train"] == {"images": 4, "distinct": 2}
    (group,) = audit["groups"]["within_train"]
    assert group["images"] == 3
    assert group["members"][1] == {"split": "train", "index": 1, "class": "owl", "file": "train/owl/2.bmp.png"}


def test_test_image_that_is_a_training_image_is_named_in_audit_and_log(tmp_path, caplog):
    audit = audit_of(tmp_path, **DISTINCT | {"red": ["train/owl/1.png", "test/owl/copy.png"]})
    assert audit["duplicates"] == {"within_train": 0, "within_test": 0, "across_splits": 1, "across_labels": 0}
    assert files(audit["groups"]["across_splits"]) == [["train/owl/1.png", "test/owl/copy.png"]]
    assert "tiny: 1 test images are also training images, and 0 images are in more than one class" in caplog.text


def test_one_photo_under_two_classes_is_named(tmp_path):
    audit = audit_of(tmp_path, **DISTINCT | {"red": ["train/owl/1.png", "train/wren/2.png"]})
    assert audit["duplicates"] == {"within_train": 1, "within_test": 0, "across_splits": 0, "across_labels": 2}
    assert files(audit["groups"]["across_labels"]) == [["train/owl/1.png", "train/wren/2.png"]]


def test_copies_in_a_validation_split_of_the_dataset_are_counted_apart(tmp_path, caplog):
    more = {"red": ["train/owl/1.png", "val/owl/1.png"], "yellow": ["val/wren/2.png", "test/wren/2.png"]}
    audit = audit_of(tmp_path, **DISTINCT | more)
    assert {split: each["images"] for split, each in audit["splits"].items()} == {
        "train": 2,
        "validation": 2,
        "test": 3,
    }
    nonzero = {kind: count for kind, count in audit["duplicates"].items() if count}
    assert nonzero == {"validation_in_train": 1, "across_splits": 1}
    assert files(audit["groups"]["validation_in_train"]) == [["train/owl/1.png", "val/owl/1.png"]]
    assert files(audit["groups"]["across_splits"]) == [["val/wren/2.png", "test/wren/2.png"]]
    line = (
        "tiny: 1 test images are also training or validation images, 1 validation images are also training images, and"
    )
    assert line in caplog.text
    checked = Audit.model_validate(audit)
    words = "1 test images are training or validation images; 1 validation images are training images; 0 are in more"
    assert words in counted("tiny", checked)
    sentences = leakage(checked)
    assert sentences[0].startswith("1 of 3 test images is also a training or validation image (test/wren/2.png is val/")
    assert sentences[1].startswith("1 validation images are also training images (val/owl/1.png is train/owl/1.png)")


def test_test_image_that_is_in_all_three_splits_is_named(tmp_path):
    images = {"red": ["train/owl/1.png", "val/owl/1.png", "test/owl/1.png"], "green": ["train/wren/2.png"]}
    sentences = leakage(Audit.model_validate(audit_of(tmp_path, **images, blue=["test/wren/3.png", "val/wren/4.png"])))
    assert "(test/owl/1.png is " in sentences[0]
    assert "(val/owl/1.png is train/owl/1.png)" in sentences[1]


def test_test_split_that_is_a_copy_of_the_training_split_is_taken_and_counted_whole(tmp_path):
    names = {"red": "owl/1.png", "green": "owl/2.png", "blue": "wren/1.png"}
    audit = audit_of(tmp_path, **{color: [f"train/{name}", f"test/{name}"] for color, name in names.items()})
    assert audit["duplicates"]["across_splits"] == audit["splits"]["test"]["images"] == 3


def test_digits_have_no_duplicates(tmp_path):
    audit = build_audit(build(tmp_path, "sklearn_digits"), "sklearn_digits")
    assert sizes(audit) == {"train": {"images": 1437, "distinct": 1437}, "test": {"images": 360, "distinct": 360}}
    assert set(audit["duplicates"].values()) == {0}


def test_lists_are_short_however_many_images_are_the_same():
    content = np.concatenate([np.repeat(np.arange(count // 2), 2) for count in (5000, 500)])
    content[:1250] = content[5000:5125] = 0  # one large group, and hundreds of pairs
    label = np.concatenate([np.arange(count) % 7 for count in (5000, 500)])
    found = count_duplicates(ImageRows({"train": 5000, "test": 500}, label, content, list("abcdefg")))
    assert {len(groups) for groups in found["groups"].values()} <= {1, 100}
    largest = found["groups"]["across_splits"][0]
    assert largest["images"] == 1250 + 125
    assert {member["split"] for member in largest["members"]} == {"train", "test"}
    assert "file" not in largest["members"][0]
    assert len(json.dumps(found)) < 200_000


# -- in the report -----------------------------------------------------------------------------------------------------


def report_with(tmp_path: Path, experiment, write_report, **counts: int) -> str:
    members = [
        {"split": "train", "index": 3, "class": "owl", "file": "train/owl/a|b.png"},
        {"split": "test", "index": 4, "class": "wren"},
    ]
    zero = dict.fromkeys(("within_train", "within_test", "across_splits", "across_labels"), 0)
    groups = {kind: [{"images": 2, "members": members}] * counts.get(kind, 0) for kind in zero}
    none = {"across_splits": [], "across_labels": []}
    audit = {
        "classes": ["owl", "wren"],
        "splits": {
            "train": {"images": 10, "distinct": 9, "per_class": [5, 5]},
            "test": {"images": 5, "distinct": 5, "per_class": [2, 3]},
        },
        "duplicates": zero | counts,
        "groups": groups,
        "near_duplicates": {"bits": 4, "across_splits": 0, "across_labels": 0, "pairs": none},
        "blank": {"images": 0, "members": []},
        "files": None,
    }
    write_json(tmp_path / "data/digits/audit.json", audit)
    return write_report(experiment())


def test_report_warns_of_test_images_in_the_training_split_with_file_names(tmp_path, experiment, write_report):
    text = report_with(tmp_path, experiment, write_report, across_splits=1)
    assert "> [!WARNING]\n> - **digits**: 1 of 5 test images is also a training image" in text
    assert "(test image 4 (wren) is train/owl/a&#124;b.png)" in text
    assert "<code>data/digits/audit.json</code> lists them." in text


def test_report_warns_of_a_photo_under_two_classes_and_shortens_a_long_list(tmp_path, experiment, write_report):
    text = report_with(tmp_path, experiment, write_report, across_labels=4)
    assert "> - **digits**: 4 images are in more than one class (" in text
    assert text.count("test image 4 (wren) is train") == 3
    assert "; ...), so no network" in text


def test_report_counts_harmless_copies_without_a_warning(tmp_path, experiment, write_report):
    text = report_with(tmp_path, experiment, write_report, within_train=7)
    assert "[!WARNING]" not in text
    assert "pixel for pixel at this size: 7 repeat one within the training split, 0 within the test split" in text


def test_report_without_the_data_says_that_duplicates_are_not_known(experiment, write_report):
    assert "Duplicate images are not known: <code>data/digits/audit.json</code> is missing." in write_report(
        experiment()
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"duplicates": {}}', '{"classes": []}'])
def test_damaged_audit_is_named(tmp_path, experiment, write_report, content):
    path = tmp_path / "data/digits/audit.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r"audit\.json: damaged.*; delete it"):
        write_report(experiment())
