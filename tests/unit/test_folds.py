"""`folds:` divides all images into test splits: which images each fold has, and what an experiment reads of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from config_files import load, refused
from PIL import Image
from tiny_dataset import build

from deepnets.data.arrays import open_dataset
from deepnets.data.class_folders import read_layout
from deepnets.data.draws import Image as Drawn
from deepnets.data.draws import draw_folds
from deepnets.data.image_audit import write_audit
from deepnets.data.label_table import LabelTable, arrange
from deepnets.data.layout import Drawing
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json

NAMES = [f"{label}/{index}.png" for label, count in {"owl": 20, "wren": 11}.items() for index in range(count)]
DIGITS = {"datasets/digits/folds": 5, "studies/demo/0/seeds": [0, 1, 2, 3, 4]}


def in_folds(found) -> list[list[tuple[str, int]]]:
    """The images of each fold."""
    images = [*found.splits["test"], *found.splits["train"]]
    ends = np.cumsum(found.folds.sizes).tolist()
    return [images[end - size : end] for size, end in zip(found.folds.sizes, ends, strict=True)]


# -- which images a fold has -------------------------------------------------------------------------------------------


def test_each_image_is_in_one_fold_and_each_fold_has_its_share_of_each_class():
    found = read_layout("birds", NAMES, Drawing(folds=5))
    folds = in_folds(found)
    assert sorted(name for fold in folds for name, _ in fold) == sorted(NAMES)
    counts = [Counter(label for _, label in fold) for fold in folds]
    assert [count[0] for count in counts] == [4] * 5
    assert sorted(count[1] for count in counts) == [2, 2, 2, 2, 3]
    assert "validation" not in found.splits
    assert "each image is in one of 5 test splits" in found.found["folds"]


def test_folds_do_not_depend_on_place_or_order_and_an_image_that_is_added_moves_few_others():
    folds = [{name for name, _ in fold} for fold in in_folds(read_layout("birds", NAMES, Drawing(folds=5)))]
    moved = read_layout("birds", [f"photos/{name}" for name in NAMES[::-1]], Drawing(folds=5))
    assert folds == [{name.removeprefix("photos/") for name, _ in fold} for fold in in_folds(moved)]
    added = read_layout("birds", [*NAMES, "owl/new.png"], Drawing(folds=5))
    more = [{name for name, _ in fold} for fold in in_folds(added)]
    assert sum(len(before - after) for before, after in zip(folds, more, strict=True)) <= 5


def test_groups_stay_together_and_validate_together():
    names = [f"{label}/bird{bird}_{shot}.png" for label in ("owl", "wren") for bird in range(20) for shot in range(3)]
    found = read_layout("birds", names, Drawing(groups="(bird[0-9]+)_", folds=5))
    folds = [{name.split("/")[1].split("_")[0] for name, _ in fold} for fold in in_folds(found)]
    assert sum(map(len, folds)) == 20  # no bird is in two folds, in whichever class
    images = [*found.splits["test"], *found.splits["train"]]
    for fold, rows in enumerate(found.folds.validation):
        validation = {images[row][0].split("/")[1].split("_")[0] for row in rows}
        assert validation
        assert not validation & folds[fold]
        assert len(rows) == 6 * len(validation)


def test_every_draw_is_a_fold_of_equal_size_without_groups():
    images = [Drawn(str(number), str(number % 3), str(number)) for number in range(103)]
    sizes = [len(fold) for fold in draw_folds(images, 10)]
    assert sum(sizes) == 103
    assert max(sizes) - min(sizes) <= 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[:22], "wren has too few images for 5 folds"),
        ([f"train/{name}" for name in NAMES] + ["test/owl/x.png", "test/wren/y.png"], "but test is a split; remove"),
        ([f"train/{name}" for name in NAMES] + ["val/owl/x.png", "val/wren/y.png"], "but val is a split; remove"),
    ],
)
def test_what_cannot_be_divided_is_refused(names, message):
    with pytest.raises(UserError, match=message):
        read_layout("birds", names, Drawing(folds=5))


def test_table_is_divided_unless_it_has_splits():
    values = {"image": NAMES, "label": [name.split("/")[0] for name in NAMES]}
    columns = {"image": "file", "label": "label"}
    found = arrange("birds.csv", LabelTable(columns, [], range(len(NAMES)), values), Drawing(folds=5))
    assert sum(found.folds.sizes) == len(NAMES)
    values["split"] = ["train"] * 30 + ["Test"]
    with pytest.raises(UserError, match="`folds: 5` divides all images, but some are in 'Test'"):
        arrange("birds.csv", LabelTable({**columns, "split": "split"}, [], range(len(NAMES)), values), Drawing(folds=5))


# -- what an experiment reads ------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path):
    """Prepare images whose one intensity is their number, with groups or without; return dataset.json and its spec."""

    def make(**keys):
        for number in range(40):
            folder = tmp_path / "birds" / ("owl" if number % 2 else "wren")
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), number).save(folder / f"{number // 2}_{number}.png")
        info = build(tmp_path, "folder", path=str(tmp_path / "birds"), size=4, channels=1, folds=4, **keys)
        return info, read_json(info)["spec"]

    return make


def audited(info: Path, spec: dict) -> dict:
    return write_audit("birds", spec, info.with_name("raw.json"), info, info.with_name("audit.json"))


def numbers(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_an_experiment_is_tested_on_one_fold_and_trained_on_all_others(prepared):
    info, spec = prepared()
    tested = []
    for fold in range(4):
        train, labels, metadata = open_dataset(info, "train", {**spec, "fold": fold, "horizontal_flip": False})
        test, test_labels, of_test = open_dataset(info, "test", {**spec, "fold": fold})
        assert sorted(numbers(train) + numbers(test)) == list(range(40))
        assert labels.tolist() == [number % 2 == 0 for number in numbers(train)]
        assert test_labels.tolist() == [number % 2 == 0 for number in numbers(test)]
        assert metadata["mean"] == of_test["mean"] == [pytest.approx(np.mean(numbers(train)) / 255)]
        assert metadata["std"] == [pytest.approx(np.std(numbers(train)) / 255)]
        assert [int(name.split("_")[1].removesuffix(".png")) for name in metadata["test_files"]] == numbers(test)
        assert "validation_rows" not in metadata
        tested += numbers(test)
    assert sorted(tested) == list(range(40))


def test_validation_images_of_groups_come_last_and_are_not_in_the_mean(prepared):
    info, spec = prepared(groups="([0-9]+)_")
    for fold in range(4):
        train, _, metadata = open_dataset(info, "train", {**spec, "fold": fold})
        start, end = metadata["validation_rows"]
        assert (start < end, end) == (True, len(train))
        birds = [{number // 2 for number in numbers(images)} for images in (train[:start], train[start:])]
        assert not birds[0] & birds[1]
        assert metadata["mean"] == [pytest.approx(np.mean(numbers(train[:start])) / 255)]


def test_copies_in_two_folds_are_counted_and_copies_in_one_are_not(prepared, tmp_path):
    prepared()
    for number in range(8):  # a fold has seven owls: the copies are in several
        Image.new("L", (4, 4), 200).save(tmp_path / f"birds/owl/copy{number}.png")
    audit = audited(*prepared())
    assert (audit["folds"], audit["duplicates"]["across_splits"]) == (4, 8)
    for number in range(1, 8):
        (tmp_path / f"birds/owl/copy{number}.png").unlink()
    assert audited(*prepared())["duplicates"]["across_splits"] == 0


@pytest.mark.parametrize("folds", [{}, {"sizes": [1, 2]}, {"sizes": [10] * 4, "validation": [[40]] * 4}])
def test_damaged_folds_are_refused(prepared, folds):
    info, spec = prepared()
    metadata = read_json(info)
    write_json(info, {**metadata, "folds": folds})
    with pytest.raises(UserError, match=r"dataset\.json.*folds"):
        open_dataset(info, "train", {**spec, "fold": 0})


def test_digits_have_folds_too(tmp_path):
    info = build(tmp_path, "sklearn_digits", folds=5)
    metadata = read_json(info)
    assert sum(metadata["folds"]["sizes"]) == 1797
    _, labels, _ = open_dataset(info, "test", {**metadata["spec"], "fold": 4})
    assert len(labels) == metadata["folds"]["sizes"][4]
    assert set(labels.tolist()) == set(range(10))


# -- config.yaml -------------------------------------------------------------------------------------------------------


def test_the_seed_chooses_the_fold(tmp_path):
    config = load(tmp_path, {**DIGITS, "studies/demo/0/seeds": list(range(10))})
    assert {(each.seed, each.spec["dataset"]["fold"]) for each in config.experiments() if each.model == "resnet50"} == {
        (seed, seed % 5) for seed in range(10)
    }
    assert config.experiment("digits", "resnet50", "quick", 7).spec["dataset"]["fold"] == 2


def test_a_spec_without_folds_stays_as_it_was(tmp_path):
    for each in load(tmp_path).experiments():
        assert not each.spec["dataset"].keys() & {"fold", "folds"}


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5]])
def test_seeds_that_leave_out_a_fold_are_refused(tmp_path, seeds):
    [line] = refused(tmp_path, {**DIGITS, "studies/demo/0/seeds": seeds})
    assert line.startswith("config.yaml: studies.demo[0].seeds: must test each of the 5 folds of digits equally often")
    assert "write [0, 1, 2, 3, 4]" in line


def test_a_drawn_test_split_and_folds_are_refused(tmp_path):
    [line] = refused(tmp_path, {"datasets/photos/test": 0.2, "datasets/photos/folds": 5})
    assert line.startswith("config.yaml: datasets.photos: test draws one test split and folds several")


def test_weights_that_were_trained_on_the_tested_images_are_refused(tmp_path):
    tuned = {"architecture": "resnet50", "weights": "results/digits/resnet50/quick/seed1"}
    config = load(tmp_path, {**DIGITS, "models/tuned": tuned})
    assert config.experiment("digits", "tuned", "quick", 6).spec["weights"]
    with pytest.raises(UserError, match=r"quick/seed0 would start from .*seed1, which was trained on another fold"):
        config.experiment("digits", "tuned", "quick", 0)


BIRDS = {"source": "folder", "path": "birds", "size": 32, "folds": 5}
TABLE = {"source": "csv", "path": "birds.csv", "size": 32}
COLUMN = {**TABLE, "split": "part"}


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        (BIRDS, {**BIRDS, "channels": 1}, False),
        (BIRDS, {**BIRDS, "path": "other"}, False),
        (BIRDS, {**BIRDS, "folds": None}, True),
        (BIRDS, {**BIRDS, "split_seed": 1}, True),
        ({**BIRDS, "folds": None}, {**BIRDS, "folds": None, "test": 0.3}, True),
        ({**BIRDS, "groups": "a"}, BIRDS, True),
        (TABLE, {**TABLE, "label": "genus"}, True),
        (COLUMN, {**COLUMN, "label": "genus"}, False),
        (COLUMN, {**COLUMN, "split_seed": 1}, True),
        (COLUMN, {**COLUMN, "groups": "a"}, True),
        ({**COLUMN, "folds": 5}, {**COLUMN, "folds": 5, "label": "genus"}, True),
        ({**COLUMN, "test": 0.3}, {**COLUMN, "test": 0.3, "label": "genus"}, True),
        (TABLE, {**TABLE, "size": 64}, False),
    ],
)
def test_weights_of_the_same_files_under_another_name_are_refused_if_these_are_divided_otherwise(
    tmp_path, first, second, is_refused
):
    tuned = {"architecture": "resnet50", "weights": "results/first/resnet50/quick/seed0"}
    config = load(tmp_path, {"datasets/first": first, "datasets/second": second, "models/tuned": tuned})
    if is_refused:
        with pytest.raises(UserError, match="second/tuned/quick/seed0 would start from results/first/resnet50"):
            config.experiment("second", "tuned", "quick", 0)
    else:
        assert config.experiment("second", "tuned", "quick", 0).spec["weights"]


def test_what_differs_between_two_divisions_of_the_same_files_is_named_with_what_to_do(tmp_path):
    """Without `test`, a folder of validation images may be the test split: it is not the same as its default."""
    whole = {**BIRDS, "folds": None}
    tuned = {"architecture": "resnet50", "weights": "results/first/resnet50/quick/seed0"}
    drawn = {"datasets/first": whole, "datasets/second": {**whole, "test": 0.2}, "models/tuned": tuned}
    with pytest.raises(UserError) as refusal:
        load(tmp_path, drawn).experiment("second", "tuned", "quick", 0)
    assert str(refusal.value).endswith(
        "split of the same files (test: null there, 0.2 here), so perhaps on images that it is tested on; give"
        " models.tuned other weights, or datasets.first and datasets.second the same test"
    )
    labels = {"datasets/first": TABLE, "datasets/second": {**TABLE, "label": "genus"}, "models/tuned": tuned}
    with pytest.raises(
        UserError, match=r"datasets\.second a column of splits \(split: <column>, without test or folds"
    ):
        load(tmp_path, labels).experiment("second", "tuned", "quick", 0)
    in_folds = {"datasets/first": BIRDS, "models/tuned": tuned}
    with pytest.raises(UserError, match=r"\(fold: 0 there, 1 here\), .* give models\.tuned other weights$"):
        load(tmp_path, in_folds).experiment("first", "tuned", "quick", 1)


def test_each_seed_needs_weights_of_its_fold_whatever_the_name_of_the_dataset(tmp_path):
    tuned = {"architecture": "resnet50", "weights": "results/first/resnet50/quick/seed1"}
    gray = {**BIRDS, "channels": 1}
    config = load(tmp_path, {"datasets/first": BIRDS, "datasets/gray": gray, "models/tuned": tuned})
    assert config.experiment("gray", "tuned", "quick", 6).spec["weights"]
    with pytest.raises(UserError, match="trained on another fold or split of the same files"):
        config.experiment("gray", "tuned", "quick", 0)


def test_weights_that_began_with_weights_of_another_fold_are_refused(tmp_path):
    """From fold 1 of the birds to the digits, and back to fold 0 of the birds."""
    models = {
        "models/middle": {"architecture": "resnet50", "weights": "results/first/resnet50/quick/seed1"},
        "models/tuned": {"architecture": "resnet50", "weights": "results/digits/middle/quick/seed0"},
    }
    config = load(tmp_path, {"datasets/first": BIRDS, **models})
    assert config.experiment("first", "tuned", "quick", 1).spec["weights"]
    with pytest.raises(UserError, match="first/tuned/quick/seed0 would start from results/first/resnet50/quick/seed1"):
        config.experiment("first", "tuned", "quick", 0)


def test_each_seed_needs_weights_of_its_fold_where_a_column_of_splits_is_named_too(tmp_path):
    tuned = {"architecture": "resnet50", "weights": "results/first/resnet50/quick/seed1"}
    config = load(tmp_path, {"datasets/first": {**COLUMN, "folds": 5}, "models/tuned": tuned})
    assert config.experiment("first", "tuned", "quick", 6).spec["weights"]
    with pytest.raises(UserError, match="trained on another fold or split of the same files"):
        config.experiment("first", "tuned", "quick", 0)


def test_another_seed_draws_other_folds():
    folds = [
        [sorted(fold) for fold in in_folds(read_layout("birds", NAMES, Drawing(folds=5, seed=seed)))] for seed in (0, 1)
    ]
    assert folds[0] != folds[1]
