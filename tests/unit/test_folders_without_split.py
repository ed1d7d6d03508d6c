"""Folders as people have them: without a split, with another one, and with nothing said but their path."""

import io
import itertools
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from tiny_dataset import build

from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.class_folders import list_classes, read_layout
from deepnets.data.draws import Image as Drawn
from deepnets.data.draws import draw
from deepnets.data.folder_tree import list_folder
from deepnets.data.layout import Drawing
from deepnets.planning import found_values
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG


def image_file(size=(6, 6), mode="RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return file.getvalue()


CLASSES = {"owl": 20, "wren": 10}
NAMES = [f"{label}/{index}.png" for label, count in CLASSES.items() for index in range(count)]


def write(folder: Path, names: list[str], content: bytes | None = None) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content or image_file())
    return folder


def pack(tmp_path: Path, names: list[str], content: bytes | None = None) -> Path:
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
        for name in names:
            archive.writestr(name, content or image_file())
    return tmp_path / "birds.zip"


def layout(names: list[str], **keys):
    return read_layout("birds", names, Drawing(**keys))


def labels(names_of_split: list[tuple[str, int]]) -> list[int]:
    return [label for _, label in names_of_split]


# -- the test split ----------------------------------------------------------------------------------------------------


def test_a_fifth_of_each_class_is_drawn_where_nothing_is_said():
    found = layout(NAMES)
    assert found.classes == ["owl", "wren"]
    assert labels(found.splits["test"]) == [0] * 4 + [1] * 2
    assert sorted(found.names()) == sorted(NAMES)
    assert "2 class folders with 30 images, but no train/ and test/" in found.found["test"]
    assert "write `test: 0.1`" in found.found["test"]


def test_share_of_each_class_can_be_chosen():
    assert labels(layout(NAMES, test=0.1).splits["test"]) == [0, 0, 1]


def test_the_same_images_are_drawn_wherever_they_lie_and_whatever_the_order():
    drawn = {name for name, _ in layout(NAMES).splits["test"]}
    assert drawn == {name for name, _ in layout(NAMES[::-1]).splits["test"]}
    for top in ("photos/", "train/", "photos/Training_Set/"):
        assert {top + name for name in drawn} == {name for name, _ in layout([top + n for n in NAMES]).splits["test"]}


def test_images_that_are_added_move_few_others():
    before, more = ({name for name, _ in layout(names).splits["test"]} for names in (NAMES, [*NAMES, "owl/new.png"]))
    assert len(before - more) <= 1


def test_another_seed_draws_others_and_is_in_the_spec_and_in_words():
    drawn = [{name for name, _ in layout(NAMES, seed=seed).splits["test"]} for seed in (0, 1, 2)]
    assert drawn[0] == {name for name, _ in layout(NAMES).splits["test"]}
    assert len(set(map(frozenset, drawn))) == 3
    assert "the same for every experiment (`split_seed: 2`)" in layout(NAMES, seed=2).found["test"]
    with pytest.raises(UserError, match="`split_seed: 2` draws splits, but no split is drawn; remove it"):
        layout([f"{split}/{name}" for split in ("train", "test") for name in NAMES], seed=2)
    specs = [
        datasets.source("folder").Options(path="birds", **keys).prepared_spec()
        for keys in ({}, {"split_seed": 0}, {"split_seed": 2})
    ]
    assert specs[0] == specs[1]
    assert specs[2] == {**specs[0], "split_seed": 2}


@pytest.mark.parametrize("kind", ["birds", "birds.zip"])
def test_validation_folder_may_lack_a_class_where_the_test_split_is_drawn(tmp_path, kind):
    """From the files to the arrays, as the download must not ask for more."""
    names = [f"train/{name}" for name in NAMES] + ["val/owl/x.png"]
    path = pack(tmp_path, names) if kind.endswith("zip") else write(tmp_path / "birds", names)
    with pytest.raises(UserError, match="val/wren is missing"):
        build(tmp_path, "folder", path=str(path))
    info = build(tmp_path, "folder", path=str(path), test=0.2)
    assert json.loads(info.read_text())["splits"] == {"train": 24, "test": 6, "validation": 1}


def test_training_folder_alone_is_divided():
    found = layout([f"train/{name}" for name in NAMES])
    assert labels(found.splits["test"]) == [0] * 4 + [1] * 2
    assert "train has 30 images, but there is no test folder" in found.found["test"]


def test_validation_folder_is_the_test_split_where_there_is_no_other():
    names = [f"train/{name}" for name in NAMES] + ["Val/owl/x.png", "Val/wren/y.png"]
    found = layout(names)
    assert found.splits["test"] == [("Val/owl/x.png", 0), ("Val/wren/y.png", 1)]
    assert set(found.splits) == {"train", "test"}
    assert "the images of Val, as there is no test split" in found.found["test"]
    drawn = layout(names, test=0.2)
    assert labels(drawn.splits["test"]) == [0] * 4 + [1] * 2
    assert drawn.splits["validation"] == [("Val/owl/x.png", 0), ("Val/wren/y.png", 1)]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "valid", "Testing"),
        ("train_set", "validation set", "TEST-SET"),
        ("train_images", "val-data", "testdata"),
    ],
)
def test_folders_of_splits_have_any_usual_name(train, validation, test):
    found = layout([f"{split}/{label}/1.png" for split in (train, validation, test) for label in CLASSES])
    assert {split: len(images) for split, images in found.splits.items()} == {"train": 2, "test": 2, "validation": 2}
    assert not found.found


@pytest.mark.parametrize("name", ["train", "test", "dev"])
@pytest.mark.parametrize("top", ["", "photos/"])
def test_a_class_may_have_the_name_of_a_split(tmp_path, name, top):
    names = [f"{top}{label}/{index}.png" for label in ("bus", "car", name) for index in range(5)]
    folder = write(tmp_path / "vehicles", names)
    assert sorted(list_classes("vehicles", list_folder(folder, 0))) == sorted(["bus", "car", name])
    found = layout(list_folder(folder))
    assert found.classes == sorted(["bus", "car", name])
    assert sorted(found.names()) == sorted(names)
    assert f"15 images, among them {name}, which has images and no class folders" in found.found["test"]
    options = datasets.source("folder").Options(path=str(folder))
    before = options.local_state("vehicles")
    (folder / f"{top}bus/0.png").unlink()
    assert options.local_state("vehicles") != before


@pytest.mark.parametrize(
    ("names", "keys", "message"),
    [
        (["1.png", "2.png"], {}, "2 images, but no folders of classes; expected <class>/<image>"),
        (["1.png", "labels.csv"], {}, "or give a table of the images and their labels (`path: .../labels.csv`)."),
        (["a/x.csv", "d/2.txt"], {}, "it has a, d; expected <class>/<image>"),
        ([f"train/{i}.jpg" for i in range(25)], {}, "train has 25 images, but no class folders; move the images of"),
        (["bus/1.png", "train/1.png", "test/1.png"], {}, "test is read as a split: rename it if it is a class"),
        (["animals/cat/1.png", "plants/rose/1.png"], {}, "2 images in animals/cat, plants/rose, but none in a folder"),
        (["a/train/x/1.png", "b/test/x/1.png"], {}, "2 folders have splits (a, b)"),
        (["owl/1.png", "owl/2.png", "wren/1.png"], {}, "wren has 1 image to draw from; a class needs two or more"),
        (["test/owl/1.png", "test/wren/1.png"], {}, "no train folder, but 2 images in test"),
        ([*NAMES, "3.png"], {}, "birds/3.png: expected <class>/<image>"),
        ([*NAMES, "owl/notes.txt"], {}, "birds/owl/notes.txt: not one of .jpg"),
        (
            [f"{split}/{name}" for split in ("train", "test") for name in NAMES],
            {"test": 0.2},
            "`test: 0.2` draws a test split, but test is one (30 images); remove `test` from config.yaml",
        ),
        (["train/owl/1.png", "train/emu/1.png", "val/owl/1.png"], {}, "val/emu is missing"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_seen(names, keys, message):
    with pytest.raises(UserError) as refusal:
        layout(names, **keys)
    assert message in str(refusal.value)


def test_files_next_to_the_classes_do_not_count():
    assert layout([*NAMES, "README.txt", "labels.csv", ".DS_Store"]) == layout(NAMES)


# -- groups ------------------------------------------------------------------------------------------------------------


PATIENTS = [f"{label}/patient{p}_{index}.png" for label in CLASSES for p in range(10) for index in range(3)]


def test_groups_stay_together_in_all_three_splits():
    found = layout(PATIENTS, groups=r"(patient\d+)_")
    patients = {split: {name.split("/")[1].split("_")[0] for name, _ in of} for split, of in found.splits.items()}
    assert set(patients) == {"train", "test", "validation"}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 10
    assert labels(found.splits["test"]).count(0) == labels(found.splits["test"]).count(1) == 6


@pytest.mark.parametrize(
    ("names", "groups", "message"),
    [
        (NAMES, r"patient\d+", "birds/owl/0.png: its name does not match `groups: patient\\d+` in config.yaml"),
        (PATIENTS, "patient", "the groups of owl cannot be divided, as there are too few for a test split"),
        (
            [f"{split}/{name}" for split in ("train", "test", "val") for name in PATIENTS],
            r"patient\d+",
            "10 groups have images in several splits, such as 'patient0' (train/owl/patient0_0.png in train, test/owl",
        ),
    ],
)
def test_groups_that_cannot_be_used_are_refused(names, groups, message):
    with pytest.raises(UserError) as refusal:
        layout(names, groups=groups)
    assert message in str(refusal.value)


def test_groups_that_the_folders_of_splits_keep_together_are_taken():
    names = [
        f"{split}/{label}/{split}{bird}_{shot}.png"
        for split, label, bird, shot in itertools.product(("train", "test"), CLASSES, range(9), range(2))
    ]
    found = layout(names, groups=r"([a-z]+\d+)_")
    birds = {split: {name.split("/")[2].split("_")[0] for name, _ in of} for split, of in found.splits.items()}
    assert birds["test"] == {f"test{p}" for p in range(9)}
    assert not birds["train"] & birds["validation"]
    moved = [name.replace("test3_1", "train3_x") for name in names]
    with pytest.raises(UserError, match="1 group has images in several splits, such as 'train3'") as refusal:
        layout(moved, groups=r"([a-z]+\d+)_")
    assert str(refusal.value).endswith(
        "move the images of each group into one split, or remove `groups` from config.yaml if images need not stay"
        " together."
    )


def test_of_groups_no_exact_share_is_promised():
    found = layout(PATIENTS, groups=r"(patient\d+)_").found["test"]
    assert found.startswith("about 20 % of each class, in whole groups, the same for every experiment, as")
    assert layout(PATIENTS).found["test"].startswith("20 % of each class, the same for every experiment, as")


def test_a_class_of_large_groups_is_divided_by_its_smallest():
    images = [Drawn(f"{group}{index}", "owl", group) for group, count in (("a", 8), ("b", 5)) for index in range(count)]
    assert draw(images, 0.2) == {f"b{index}" for index in range(5)}


# -- on the disk, and what else is found -------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "photos/"])
def test_folder_is_listed_as_an_archive_of_it_is(tmp_path, top):
    names = [top + name for name in [*NAMES, "owl/2023/deep/1.png"]]
    folder = write(tmp_path / "birds", names)
    assert sorted(layout(list_folder(folder)).names()) == sorted(names)


def test_state_of_a_folder_without_split_changes_with_its_images_alone(tmp_path):
    folder = write(tmp_path / "birds", NAMES)
    options = datasets.source("folder").Options(source="folder", path=str(folder))
    before = options.local_state("birds")
    (folder / "README.txt").touch()
    assert options.local_state("birds") == before
    write(folder, ["owl/2023/new.png"])
    assert options.local_state("birds") != before


@pytest.mark.parametrize("packed", [False, True])
def test_path_alone_is_enough(tmp_path, packed, caplog):
    path = write(tmp_path / "birds", NAMES, image_file((40, 30), "L"))
    if packed:
        path = pack(tmp_path, NAMES, image_file((40, 30), "L"))
    with caplog.at_level("INFO", LOG.name):
        info = json.loads(build(tmp_path, "folder", path=str(path)).read_text())
    assert info["input_shape"] == [1, 30, 30]
    assert info["classes"] == ["owl", "wren"]
    assert info["splits"] == {"train": 24, "test": 6}
    assert info["spec"]["size"] is info["spec"]["channels"] is info["spec"]["classes"] is None
    assert info["found"]["size"] == "30, as all images have 40x30 pixels"
    assert info["found"]["channels"] == "1, as none of 30 images are in colour"
    assert set(info["found"]) == {"test", "classes", "size", "channels"}
    for key, choice in info["found"].items():
        assert f"tiny: {key}: {choice}" in caplog.messages


@pytest.mark.parametrize(("flips", "printed"), [(None, True), (True, False), (False, False)])
def test_that_images_are_not_mirrored_is_printed_where_nothing_says_it(tmp_path, flips, printed, caplog):
    folder = write(tmp_path / "birds", NAMES)
    options = datasets.source("folder").Options(path=str(folder), horizontal_flip=flips)
    assert ("--horizontal-flip" in options.prepare_arguments()) != printed
    keys = {} if flips is None else {"horizontal_flip": flips}
    with caplog.at_level("INFO", LOG.name):
        info = json.loads(build(tmp_path, "folder", path=str(folder), **keys).read_text())
    line = "tiny: horizontal_flip: false, as only you know whether a mirrored image keeps its class; if it does, write"
    assert any(message.startswith(line) for message in caplog.messages) == printed
    assert "horizontal_flip" not in info["found"]


def test_size_is_the_median_of_the_shorter_sides_and_64_at_most(tmp_path):
    folder = write(tmp_path / "birds", NAMES, image_file((300, 200)))
    write(folder, [name for name in NAMES if name.startswith("wren")], image_file((90, 90)))
    info = json.loads(build(tmp_path, "folder", path=str(folder)).read_text())
    assert info["input_shape"] == [3, 64, 64]
    assert "write `size: 200`" in info["found"]["size"]


def test_what_is_given_is_not_looked_for(tmp_path):
    folder = write(tmp_path / "birds", [f"{split}/{name}" for split in ("train", "test") for name in NAMES])
    info = json.loads(build(tmp_path, "folder", path=str(folder), classes=2, size=4).read_text())
    assert info["input_shape"] == [3, 4, 4]
    assert "found" not in info
    spec = datasets.source("folder").Options(source="folder", path="birds", classes=2, size=4).prepared_spec()
    assert spec == {"source": "folder", "path": "birds", "size": 4, "channels": 3, "classes": 2}  # as it always was


def test_files_that_are_no_images_are_refused_in_one_line(tmp_path):
    folder = write(tmp_path / "birds", NAMES, b"no image")
    with pytest.raises(UserError, match=r"birds: none of the files is an image that can be read; replace them\.$"):
        build(tmp_path, "folder", path=str(folder))


@pytest.mark.parametrize(("non_square", "white"), [("crop", 16), ("pad", 8), ("squash", 16)])
def test_images_that_are_not_square_become_so_as_config_yaml_says(tmp_path, non_square, white):
    file = io.BytesIO()
    Image.new("L", (8, 4), 255).save(file, "PNG")
    folder = write(tmp_path / "birds", NAMES, file.getvalue())
    info = build(tmp_path, "folder", path=str(folder), size=4, channels=1, non_square=non_square)
    images, _, _ = open_dataset(info, "test")
    assert (images == 255).sum(axis=(1, 2, 3)).tolist() == [white] * len(images)


def test_default_of_what_is_not_square_is_in_no_spec():
    specs = [
        datasets.source("folder").Options(source="folder", path="birds", size=4, **keys).spec()
        for keys in ({}, {"non_square": "crop"}, {"non_square": "pad"})
    ]
    assert specs[0] == specs[1]
    assert specs[2] == {**specs[0], "non_square": "pad"}


# -- before the images are read ----------------------------------------------------------------------------------------


SPEC = {"model": {"architecture": "vgg16"}, "input_shape": None, "num_classes": None}


def test_summary_takes_from_the_images_what_config_yaml_leaves_out(tmp_path):
    with pytest.raises(UserError, match=r"data/tiny/dataset.json: missing, and config.yaml has no `size` or `classes`"):
        found_values.complete(SPEC, tmp_path, "tiny")
    build(tmp_path, "folder", path=str(write(tmp_path / "birds", NAMES)))
    spec = found_values.complete(SPEC, tmp_path, "tiny")
    assert spec == {**SPEC, "input_shape": [3, 6, 6], "num_classes": 2}
    assert found_values.as_in(spec, SPEC) == spec
    assert found_values.as_in(spec, {**SPEC, "num_classes": 3}) != spec


@pytest.mark.parametrize(("cutout", "size", "is_refused"), [(6, None, True), (5, None, False), (6, 8, False)])
def test_recipe_that_does_not_fit_the_size_that_was_found_is_refused(tmp_path, cutout, size, is_refused):
    build(tmp_path, "folder", path=str(write(tmp_path / "birds", NAMES)))
    spec = {"dataset": {"size": size}, "recipe": {"augment": {"cutout": cutout}}}
    if is_refused:
        with pytest.raises(UserError, match=r"^augment.cutout must be smaller than the images of tiny \(got 6 pixels"):
            found_values.check_recipe(spec, tmp_path, "tiny")
    else:
        found_values.check_recipe(spec, tmp_path, "tiny")
