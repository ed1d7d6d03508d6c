"""The table of published results."""

import pytest

from deepnets.comparison.published import find, read_published, references
from deepnets.utils.errors import UserError

HEADER = (
    "dataset,model,kind,test_accuracy,size_mb,trainable_parameters,train_loss,test_loss,train_accuracy,precision,"
    "recall,epochs,source"
)


@pytest.fixture
def rows(root):
    return read_published(root / "workflow/published.csv")


def table(path, *lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_the_six_rows_of_the_reproduced_study_are_there(rows):
    study = {(row.dataset, row.model): row.test_accuracy for row in rows if row.kind == "study"}
    assert study == {
        ("mnist", "vgg16"): 98.93,
        ("mnist", "inception_v3"): 98.53,
        ("mnist", "resnet50"): 98.61,
        ("mnist", "mobilenet_v2"): 94.06,
        ("cifar10", "resnet50"): 73.58,
        ("cifar10", "mobilenet_v2"): 72.30,
    }


def test_a_row_holds_all_published_columns(rows):
    row = find(rows, "study", "cifar10", "mobilenet_v2")
    assert (row.size_mb, row.trainable_parameters, row.train_loss, row.test_loss) == (73.96, 1_814_922, 0.04439, 1.318)
    assert (row.train_accuracy, row.test_precision_macro, row.test_recall_macro) == (98.42, 72, 72)


def test_every_row_names_its_source_and_an_architecture_that_exists(rows):
    from deepnets.models import available

    assert all(row.source and row.model in available() for row in rows)


def test_rows_whose_epoch_was_chosen_on_the_test_images_say_it(rows):
    chosen = [row for row in rows if "pytorch-pretrained-cnns" in row.source]
    assert len(chosen) == 4
    assert all("best epoch chosen on the test images" in row.source for row in chosen)


def test_of_several_rows_the_most_accurate_is_found(rows):
    assert find(rows, "best", "cifar10", "mobilenet_v2").test_accuracy == 94.69


def test_there_is_no_row_for_a_pair_that_nobody_published(rows):
    assert find(rows, "study", "digits", "resnet50") is None
    assert find(rows, "study", "cifar10", "vgg16") is None


def test_references_of_a_variant_say_whose_they_are(rows):
    found = references(rows, "cifar10-jpeg", "cifar10", {"my_resnet": "resnet50", "other": "unknown"})
    assert found == {
        "my_resnet": {
            "published by Gosaye (on cifar10)": 73.58,
            "best published from scratch (on cifar10)": 95.72,
        }
    }


def test_a_dataset_without_published_rows_has_no_references(rows):
    assert references(rows, "digits", None, {"resnet50": "resnet50"}) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mnist,vgg16,guess,98,,,,,,,,,me", "line 2: kind"),
        ("mnist,vgg16,study,,,,,,,,,,me", "line 2: test_accuracy"),
        ("mnist,vgg16,study,98,many,,,,,,,,me", "line 2: size_mb: .*got 'many'"),
        ("mnist,vgg16,study,98,,,,,,,,,me,more", "line 2: not as many cells"),
        ("mnist,vgg16,study,98", "line 2: source"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, line, message):
    path = table(tmp_path / "published.csv", line)
    with pytest.raises(UserError, match=rf"published\.csv, {message}"):
        read_published(path)


def test_a_missing_table_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"published\.csv: the file is missing; restore it"):
        read_published(tmp_path / "published.csv")
