"""A table of images and labels: its columns are found, its splits kept or drawn, and what is wrong is named by row."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from tiny_dataset import build, prepare_again

from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.label_table import arrange, read_table
from deepnets.data.layout import Drawing
from deepnets.utils.errors import UserError

ROWS = [(f"pictures/{index}.png", "owl" if index % 3 else "wren") for index in range(30)]


def write_table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def csv_of(rows, heading="path,label") -> str:
    return "\n".join([heading, *map(",".join, rows), ""])


def write_pictures(folder: Path, names) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (number, 0, 0)).save(folder / name)


def layout(tmp_path: Path, text: str, columns=None, **keys):
    path = write_table(tmp_path, text)
    return arrange("labels.csv", read_table(path, "labels.csv", columns or {}), Drawing(**keys))


def refusal(tmp_path: Path, text: str, columns=None, **keys) -> str:
    with pytest.raises(UserError) as refused:
        layout(tmp_path, text, columns, **keys)
    return str(refused.value)


def classes_of(found, split: str) -> list[str]:
    return [found.classes[label] for _, label in found.splits[split]]


def check(path: Path, **keys) -> str:
    options = datasets.source("csv").Options(source="csv", path=str(path), **keys)
    with pytest.raises(UserError) as refused:
        options.check_files("birds", path.parent)
    return str(refused.value)


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", ["path,label", "File Name,Class", "image,TARGET", "filename,category"])
def test_columns_are_found_by_their_usual_names(tmp_path, heading):
    found = layout(tmp_path, csv_of(ROWS, heading))
    assert found.classes == ["owl", "wren"]
    assert sorted(found.names()) == sorted(name for name, _ in ROWS)
    path, label = heading.split(",")
    assert found.found["columns"] == f"image is {path}, label is {label}, by their names"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_columns_may_be_separated_otherwise_and_text_may_start_with_a_mark(tmp_path, separator):
    text = "\ufeff" + csv_of(ROWS).replace(",", separator)
    assert layout(tmp_path, text).classes == ["owl", "wren"]


def test_column_of_another_name_is_asked_for_with_the_line_to_write(tmp_path):
    text = refusal(tmp_path, csv_of(ROWS, "path,diagnosis"))
    assert "none of its columns (path, diagnosis) has a usual name for `label`" in text
    assert "write `label: diagnosis` in config.yaml" in text
    assert layout(tmp_path, csv_of(ROWS, "path,diagnosis"), {"label": "diagnosis"}).classes == ["owl", "wren"]


def test_other_columns_are_named_for_another_choice(tmp_path):
    found = layout(tmp_path, csv_of([(*row, "a") for row in ROWS], "path,label,country"))
    assert found.found["columns"].endswith("for others write `label: country`")


def test_column_that_config_yaml_names_must_be_there(tmp_path):
    text = refusal(tmp_path, csv_of(ROWS), {"label": "kind"})
    assert "no column 'kind', as `label: kind` says; its columns are path, label." in text


@pytest.mark.parametrize("name", ["leaves.csv", "leaves.tsv", "leaves.parquet"])
def test_columns_of_any_name_are_used_as_config_yaml_says(tmp_path, name):
    """The usual names are in the table, too, with values that would be wrong."""
    splits = ["train", "test", "val"]
    heading = ["path", "label", "split", "group", "file", "species", "part", "tree"]
    rows = [
        ["x.png", "x", "x", "x", file, label, splits[index // 3 % 3], str(index // 3)]
        for index, (file, label) in enumerate(ROWS)
    ]
    write_pictures(tmp_path / "pictures", [file for file, _ in ROWS])
    if name.endswith("parquet"):
        columns = dict(zip(heading, map(list, zip(*rows, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(columns), tmp_path / name)
    else:
        separator = "," if name.endswith("csv") else "\t"
        write_table(tmp_path, "\n".join(map(separator.join, [heading, *rows])), name)
    keys = {"image": "file", "label": "species", "split": "part", "group": "tree", "root": str(tmp_path / "pictures")}
    metadata = json.loads(build(tmp_path, "csv", path=str(tmp_path / name), **keys).read_text())
    assert metadata["classes"] == ["owl", "wren"]
    assert metadata["splits"] == {"train": 12, "test": 9, "validation": 9}
    assert keys.items() <= metadata["spec"].items()


def test_table_without_a_heading_is_named(tmp_path):
    assert "add the line `image,label` above it" in refusal(tmp_path, csv_of(ROWS[1:], "pictures/0.png,owl"))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"path": "labels.txt"}, "must be a table"), ({"path": "a.csv", "label": ""}, "at least 1")],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        datasets.source("csv").Options(source="csv", **options)


# -- classes and splits ------------------------------------------------------------------------------------------------


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    rows = [(f"{index}.png", str(index % 11)) for index in range(33)]
    assert layout(tmp_path, csv_of(rows)).classes == [str(number) for number in range(11)]


def test_a_fifth_of_each_class_is_drawn_without_a_column_of_splits(tmp_path):
    found = layout(tmp_path, csv_of(ROWS))
    assert classes_of(found, "test") == ["owl"] * 4 + ["wren"] * 2
    assert "there are 30 images of 2 classes, but none of a test split" in found.found["test"]
    assert len(layout(tmp_path, csv_of(ROWS), test=0.5).splits["test"]) == 15


def test_splits_of_the_table_are_kept(tmp_path):
    splits = ["Train", "testing", "dev"]
    rows = [(*row, splits[index // 3 % 3]) for index, row in enumerate(ROWS)]
    found = layout(tmp_path, csv_of(rows, "path,label,split"))
    for split, written in zip(("train", "test", "validation"), splits, strict=True):
        assert {name for name, _ in found.splits[split]} == {row[0] for row in rows if row[2] == written}
    assert found.found.keys() == {"columns"}


def test_validation_rows_are_the_test_split_where_there_is_no_other(tmp_path):
    rows = [(*row, "val" if index < 6 else "train") for index, row in enumerate(ROWS)]
    found = layout(tmp_path, csv_of(rows, "path,label,split"))
    assert {name for name, _ in found.splits["test"]} == {row[0] for row in rows[:6]}
    assert "the images of split 'val', as there is no test split" in found.found["test"]
    drawn = layout(tmp_path, csv_of(rows, "path,label,split"), test=0.2)
    assert {name for name, _ in drawn.splits["validation"]} == {row[0] for row in rows[:6]}


@pytest.mark.parametrize(("heading", "columns"), [("path,label,group", {}), ("path,label,tree", {"group": "tree"})])
def test_groups_of_the_table_stay_together(tmp_path, heading, columns):
    rows = [(*row, f"patient{index // 3}") for index, row in enumerate(ROWS)]
    found = layout(tmp_path, csv_of(rows, heading), columns)
    group = {name: which for name, _, which in rows}
    seen = [{group[name] for name, _ in found.splits[split]} for split in ("train", "test", "validation")]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 10
    by_name = layout(tmp_path, csv_of(ROWS), groups="([0-9])[.]png")
    last = [{name[-5] for name, _ in by_name.splits[split]} for split in ("train", "test")]
    assert not last[0] & last[1]


@pytest.mark.parametrize("use", ["split", "group"])
def test_column_of_a_usual_name_is_not_used_where_config_yaml_says_none(tmp_path, use):
    rows = [(*row, "AB"[index % 2]) for index, row in enumerate(ROWS)]
    text = csv_of(rows, f"path,label,{'subset' if use == 'split' else 'group'}")
    assert f"`{use}: none`" in refusal(tmp_path, text)
    assert layout(tmp_path, text, {use: "none"}).splits == layout(tmp_path, csv_of(ROWS)).splits


def test_column_that_is_needed_cannot_be_none(tmp_path):
    assert "no column 'none', as `label: none` says" in refusal(tmp_path, csv_of(ROWS), {"label": "none"})


@pytest.mark.parametrize("empty", ["", "nan"])
def test_image_without_a_group_is_a_group_of_its_own(tmp_path, empty):
    rows = [(*row, empty if index < 27 else f"patient{index // 3}") for index, row in enumerate(ROWS)]
    found = layout(tmp_path, csv_of(rows, "path,label,group"))
    alone = {row[0] for row in rows[:27]}
    assert all(alone & {name for name, _ in found.splits[split]} for split in ("train", "test"))
    assert found.found["test"].startswith("about 20 % of each class, in whole groups, the same for every experiment")
    assert found.found["validation"].startswith("about 10 % of each class in train, in whole groups")


def test_group_that_the_splits_of_the_table_divide_is_refused_by_name(tmp_path):
    rows = [(*row, "test" if index >= 20 else "train", f"p{index // 2}") for index, row in enumerate(ROWS)]
    assert layout(tmp_path, csv_of(rows, "path,label,split,group"))
    rows[25] = (*rows[25][:3], "p1")
    text = refusal(tmp_path, csv_of(rows, "path,label,split,group"))
    assert "1 group has images in several splits, such as 'p1' (pictures/" in text
    assert "so that networks would be tested or chosen on what they have seen" in text
    assert "write `split: none` in config.yaml to draw whole groups, or write `group: none`" in text
    assert layout(tmp_path, csv_of(rows, "path,label,split,group"), {"split": "none"})
    assert layout(tmp_path, csv_of(rows, "path,label,split,group"), {"group": "none"})


# -- what cannot be used -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a.png", "")], "row 32: no label; add it or remove the row."),
        ([("a.png", "nan")], "row 32: no label"),
        ([("./pictures/0.png", "owl")], "row 32: path './pictures/0.png' is also in row 2"),
        ([("a.png", "lone")], "label 'lone' has 1 image to draw from"),
        ([("a.png", "owl\x07")], "has characters that cannot be seen"),
        ([("a.png", "o\u200bwl")], "has characters that cannot be seen"),
        ([("", ""), ("a.png", "")], "row 33: no label"),
        ([("a.png", "barn  owl"), ("b.png", "barn owl")], "label 'barn  owl' and label 'barn owl' look the same"),
    ],
)
def test_row_that_cannot_be_used_is_named(tmp_path, rows, words):
    assert words in refusal(tmp_path, csv_of([*ROWS, *rows]))


def test_split_of_another_name_is_refused(tmp_path):
    rows = [(*row, "train") for row in ROWS]
    rows[3] = (*ROWS[3], "holdout")
    text = refusal(tmp_path, csv_of(rows, "path,label,split"))
    assert "row 5: split 'holdout' is no split; write train, test or val, or `split: none` in config.yaml" in text


def test_options_against_the_table_are_refused(tmp_path):
    rows = [(*row, "test" if index % 2 else "train", str(index)) for index, row in enumerate(ROWS)]
    text = csv_of(rows, "path,label,split,group")
    assert "`test: 0.2` draws a test split, but 15 images are in 'test'" in refusal(tmp_path, text, test=0.2)
    assert "remove `groups` from config.yaml" in refusal(tmp_path, text, groups="a")


@pytest.mark.parametrize("content", [b"path,label\n\xff\xfe.png,owl\n", b"", b'path,label\n"a'])
def test_file_that_is_no_table_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError) as refused:
        arrange("labels.csv", read_table(tmp_path / "labels.csv", "labels.csv", {}))
    assert "labels.csv: " in str(refused.value)


def test_images_that_are_missing_are_named_before_any_job(tmp_path):
    path = write_table(tmp_path / "birds", csv_of(ROWS))
    write_pictures(tmp_path / "birds", [name for name, _ in ROWS[:29]])
    text = check(path)
    assert f"1 of 30 images are missing, such as '{tmp_path}/birds/pictures/29.png'" in text
    assert "`root: <folder>`" in text
    assert "which is no file" in check(tmp_path / "gone.csv")
    write_pictures(tmp_path / "birds", [name for name, _ in ROWS])
    text = check(path, classes=3)
    assert "2 labels, but `classes` is 3 in config.yaml; write `classes: 2` or correct the labels: 'owl'" in text
    write_table(tmp_path / "birds", csv_of((name, "owl") for name, _ in ROWS))
    assert "1 label; give 2 to 10,000." in check(path)


def test_table_given_as_a_folder_is_named_with_the_source_to_write(tmp_path):
    path = write_table(tmp_path, csv_of(ROWS))
    options = datasets.source("folder").Options(source="folder", path=str(path))
    with pytest.raises(UserError, match="write `source: csv`"):
        options.check_files("birds", tmp_path)


# -- from the table to the arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_images_of_a_table_are_prepared_in_the_order_of_their_labels(tmp_path, elsewhere):
    path = write_table(tmp_path / "birds", csv_of(ROWS))
    images = tmp_path / "other" if elsewhere else tmp_path / "birds"
    write_pictures(images, [name for name, _ in ROWS])
    info = build(tmp_path, "csv", path=str(path), **({"root": str(images)} if elsewhere else {}))
    found = layout(tmp_path / "copy", csv_of(ROWS))
    pixels, labels, metadata = open_dataset(info, "test")
    assert metadata["classes"] == ["owl", "wren"]
    assert metadata["input_shape"] == [3, 6, 6]
    assert labels.tolist() == [label for _, label in found.splits["test"]]
    numbers = [int(Path(name).stem) for name, _ in found.splits["test"]]
    assert np.array_equal(pixels[:, 0, 0, 0], numbers)
    assert json.loads(info.read_text())["found"]["classes"].startswith("2")


@pytest.mark.parametrize("change", ["table", "image"])
def test_change_of_the_table_or_of_an_image_is_noticed(tmp_path, change):
    path = write_table(tmp_path / "birds", csv_of(ROWS))
    write_pictures(tmp_path / "birds", [name for name, _ in ROWS])
    build(tmp_path, "csv", path=str(path))
    options = datasets.source("csv").Options(source="csv", path=str(path))
    before = options.local_state("birds")
    if change == "table":
        path.write_text(csv_of([*ROWS[:-1], (ROWS[-1][0], "wren" if ROWS[-1][1] == "owl" else "owl")]))
    else:
        Image.new("RGB", (60, 60), (9, 9, 9)).save(tmp_path / "birds" / ROWS[0][0])
    assert options.local_state("birds") != before
    with pytest.raises(UserError, match=r"raw\.json lists"):
        prepare_again(tmp_path, options)


def test_parquet_is_read_as_a_csv_file_is(tmp_path):
    names, labels = zip(*ROWS, strict=True)
    image = pyarrow.array([{"bytes": b"", "path": name} for name in names])
    table = pyarrow.table({"image": image, "file": names, "class": pyarrow.array(labels).dictionary_encode()})
    parquet.write_table(table, tmp_path / "labels.parquet")
    found = arrange("labels.parquet", read_table(tmp_path / "labels.parquet", "labels.parquet", {}))
    assert found.splits == layout(tmp_path, csv_of(ROWS)).splits
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a Parquet file"):
        read_table(tmp_path / "labels.parquet", "labels.parquet", {})


def test_labels_that_differ_in_case_alone_are_two_and_reported(tmp_path, caplog):
    rows = [(name, label.upper() if index > 20 else label) for index, (name, label) in enumerate(ROWS)]
    path = write_table(tmp_path / "birds", csv_of(rows))
    write_pictures(tmp_path / "birds", [name for name, _ in rows])
    build(tmp_path, "csv", path=str(path))
    assert any("the classes 'OWL' and 'owl' differ in upper and lower case alone" in line for line in caplog.messages)


def test_rows_of_validation_may_lack_a_class_where_the_test_split_is_drawn(tmp_path):
    """From the table to the arrays, as the download must not ask for more."""
    rows = [(*row, "val" if index % 3 == 1 else "train") for index, row in enumerate(ROWS)]
    assert {label for _, label, split in rows if split == "val"} == {"owl"}
    path = write_table(tmp_path / "birds", csv_of(rows, "path,label,split"))
    write_pictures(tmp_path / "birds", [name for name, _ in ROWS])
    assert "label 'wren' has no images in val" in check(path)
    info = build(tmp_path, "csv", path=str(path), test=0.2)
    assert json.loads(info.read_text())["splits"] == {"train": 16, "test": 4, "validation": 10}
    assert datasets.source("csv").Options(path=str(path), test=0.2).local_state("birds")
