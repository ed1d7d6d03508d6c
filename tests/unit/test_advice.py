"""Warnings about finished training runs: when they come, and which advice they give."""

import numpy as np
import pytest

from deepnets.evaluation import advice
from deepnets.evaluation.advice import warnings as warnings_of
from deepnets.evaluation.history import HISTORY_COLUMNS

FALLING = [2.3, 2.0, 1.5, 1.2]


def warnings(train, validation, labels, losses=FALLING, not_finite=None, train_labels=None):
    """Return the warnings of a training run whose training loss went like this."""
    epochs = [float(number) for number in range(1, len(losses) + 1)]
    history = dict.fromkeys(HISTORY_COLUMNS, epochs) | {"train_loss": losses}
    of_splits = {"train": labels if train_labels is None else train_labels, "validation": labels}
    return warnings_of(train, validation, of_splits, history, not_finite or {})


def split(accuracy: float, n: int = 1000) -> dict:
    return {"n": n, "loss": 1.0, "accuracy": accuracy}


TEN_CLASSES = np.arange(1000) % 10


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.11])
def test_chance_is_called_did_not_learn(accuracy):
    (warning,) = warnings(split(0.1), split(accuracy), TEN_CLASSES)
    assert warning.startswith(f"did not learn: {accuracy:.1%} on validation")


def test_chance_is_the_commonest_class():
    mostly_one = (np.arange(1000) % 10 == 0).astype(int)  # 90 % are of class 0
    assert warnings(split(0.9), split(0.9), mostly_one)[0].startswith("did not learn")
    assert warnings(split(0.95), split(0.95), mostly_one) == []


@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (27, 3)])
def test_a_perfect_model_on_few_images_is_not_reported_as_failed(counts):
    labels = np.repeat([0, 1], counts)
    (warning,) = warnings(split(1.0), split(1.0, n=len(labels)), labels)
    assert warning.startswith(f"too few images to decide: 100.0% on {len(labels)} validation images")


RAISE, ADD_TO_SPLIT = "or raise the recipe's validation_fraction", "to the dataset's validation split"


@pytest.mark.parametrize(("accuracy", "n"), [(1.0, 30), (0.95, 1000), (0.0, 1)])
@pytest.mark.parametrize(
    ("from_dataset", "advised"), [(True, f"classes {ADD_TO_SPLIT}"), (False, f"other classes, {RAISE}")]
)
def test_a_validation_split_of_one_class_shows_nothing(accuracy, n, from_dataset, advised):
    validation = split(accuracy, n) | {"from_dataset": from_dataset}
    (warning,) = warnings(split(0.9), validation, np.full(n, 3), train_labels=TEN_CLASSES)
    images = "1 image" if n == 1 else f"{n} images"
    assert warning.startswith(f"the validation split has one class only ({images}), so {accuracy:.1%} on it")
    assert warning.endswith(advised)


def test_a_network_that_learned_little_is_named_even_if_the_validation_split_has_one_class():
    under_trained, one_class = warnings(split(0.1), split(0.1), np.zeros(1000, int), [GUESSING] * 3, None, TEN_CLASSES)
    assert under_trained.startswith("under-trained: 10.0%")
    assert "stays at that of guessing (2.3)" in under_trained
    assert one_class.startswith("the validation split has one class only")


@pytest.mark.parametrize(("from_dataset", "advised"), [(True, f"images {ADD_TO_SPLIT}"), (False, f"images, {RAISE}")])
def test_what_has_no_effect_is_not_advised_for_a_validation_split_of_the_dataset(from_dataset, advised):
    (warning,) = warnings(split(0.9), split(0.6, n=10) | {"from_dataset": from_dataset}, np.arange(10) % 2)
    assert warning.endswith(f"; add {advised}")


@pytest.mark.parametrize(("accuracy", "n"), [(0.6, 10), (0.7, 30)])
def test_a_gain_on_few_images_is_neither_luck_nor_learning(accuracy, n):
    (warning,) = warnings(split(0.9), split(accuracy, n=n), np.arange(n) % 2)
    assert warning.startswith("too few images to decide")


@pytest.mark.parametrize("n", [150, 1000])
def test_images_enough_to_show_a_gain_make_its_absence_a_failure(n):
    (warning,) = warnings(split(0.12), split(0.12, n=n), np.arange(n) % 10)
    assert warning.startswith("did not learn: 12.0% on validation is not clearly above")


def test_a_run_with_low_training_accuracy_is_called_under_trained():
    (warning,) = warnings(split(0.6), split(0.58), TEN_CLASSES)
    assert warning.startswith("under-trained: 60.0% on its own training images after 4 epochs")
    assert "try 8 epochs or more" in warning


def test_fractional_epochs_are_counted_as_they_are():
    of_fractions = {"epoch": [1.0, 1.5], "train_loss": [2.0, 1.8]}
    labels = {"train": TEN_CLASSES, "validation": TEN_CLASSES}
    (warning,) = warnings_of(split(0.6), split(0.58), labels, of_fractions, {})
    assert "after 1.5 epochs" in warning
    assert "try 3 epochs or more" in warning


@pytest.mark.parametrize("accuracy", [0.70, 0.74, 0.7499])
def test_less_than_three_quarters_of_the_training_images_is_under_trained(accuracy):
    (warning,) = warnings(split(accuracy), split(accuracy), TEN_CLASSES)
    assert warning.startswith("under-trained")


@pytest.mark.parametrize("accuracy", [0.75, 0.98, 1.0])
def test_healthy_training_has_no_warnings(accuracy):
    assert warnings(split(accuracy), split(accuracy), TEN_CLASSES) == []


# -- advice ----------------------------------------------------------------------------------------------------------

MORE_EPOCHS, SMALLER_LR, LARGER_LR = "epochs or more", "try a tenth of the lr", "three times the lr"
CHANCE, GUESSING = split(0.1), 2.3026


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (FALLING, MORE_EPOCHS),
        ([2.4, 2.35, 2.2], MORE_EPOCHS),
        ([2.3, 2.6, 2.2, 1.9, 1.7, 1.5], MORE_EPOCHS),  # a hump in the warm-up
        ([5.0, 3.0, 2.2], MORE_EPOCHS),  # a rough start that is over
        ([2.3, 2.0, 2.5], SMALLER_LR),
        ([2.3, 80.0, 2.3, 2.3], SMALLER_LR),
        ([7.0, 2.31, 2.303], SMALLER_LR),  # it diverged within the first epoch
        ([2.3, float("nan")], SMALLER_LR),
        ([float("inf"), 2.3], SMALLER_LR),
        ([GUESSING] * 3, LARGER_LR),
    ],
)
@pytest.mark.parametrize("accuracy", [0.1, 0.6], ids=["did not learn", "under-trained"])
def test_advice_depends_on_how_the_training_loss_went(losses, expected, accuracy):
    (warning,) = warnings(split(accuracy), split(accuracy), TEN_CLASSES, losses)
    assert expected in warning
    others = {MORE_EPOCHS, SMALLER_LR} - {expected} - ({MORE_EPOCHS} if expected == LARGER_LR else set())
    assert not any(other in warning for other in others)


@pytest.mark.parametrize("loss", [1.1, GUESSING, 9.0])
@pytest.mark.parametrize("accuracy", [0.2, 0.6, 0.749])
def test_one_epoch_is_not_called_under_trained_and_promised_no_gain(loss, accuracy):
    (warning,) = warnings(split(accuracy), split(accuracy), TEN_CLASSES, [loss])
    assert warning == (
        f"only {accuracy:.1%} on its own training images after 1 epoch: one epoch does not show whether more would"
        " help, so compare it with 2 epochs or more"
    )


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (2.2, "one epoch shows no trend of the training loss (2.2): try 2 epochs or more"),
        (GUESSING, "is that of guessing (2.3): try 2 epochs or more, or three times the lr"),
        (9.0, "(9) is above that of guessing (2.3); try a tenth of the lr, or a longer warmup"),
        (float("inf"), "the training loss was not finite; try a tenth of the lr, or clip_norm: 1.0"),
    ],
)
def test_one_epoch_that_taught_nothing_is_compared_with_guessing(loss, expected):
    (warning,) = warnings(CHANCE, CHANCE, TEN_CLASSES, [loss])
    assert warning.startswith("did not learn")
    assert warning.endswith(expected)


def test_more_epochs_are_not_advised_to_a_network_that_knows_its_training_images():
    (warning,) = warnings(split(0.99), CHANCE, TEN_CLASSES)
    assert "it knows 99.0% of its training images, so more epochs will not help: add images" in warning


def test_guessing_is_measured_by_the_frequencies_of_the_training_images():
    mostly_one = (np.arange(1000) % 10 == 0).astype(int)  # the entropy is 0.325
    (warning,) = warnings(split(0.9), split(0.9), mostly_one, [0.5, 0.33, 0.325])
    assert SMALLER_LR in warning
    assert advice._loss_of_guessing(np.array([900, 0, 100])) == pytest.approx(0.325, abs=1e-3)
    (warning,) = warnings(CHANCE, CHANCE, TEN_CLASSES, [0.5, 0.33, 0.325], train_labels=mostly_one)
    assert SMALLER_LR in warning


@pytest.mark.parametrize(("number", "counted"), [(1, "1 image of"), (3, "3 images of")])
def test_logits_that_are_not_finite_are_a_warning_with_their_number(number, counted):
    (warning,) = warnings(split(0.9), split(0.9), TEN_CLASSES, not_finite={"train": 0, "test": number})
    assert warning.startswith(f"{counted} the test split got logits with NaN or infinity")
