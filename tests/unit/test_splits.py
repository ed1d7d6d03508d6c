"""The validation split that is drawn from the training split."""

import numpy as np
import pytest

from deepnets.data.splits import split_train_validation
from deepnets.utils.errors import UserError

INFO = {"dataset": "birds", "classes": ["owl", "wren"]}


def test_split_is_stratified_disjoint_complete_and_sorted():
    labels = np.repeat([0, 1, 2], [100, 200, 300])
    train, validation = split_train_validation(labels, 0.1, 0, INFO)
    assert np.bincount(labels[validation]).tolist() == [10, 20, 30]
    assert sorted([*train, *validation]) == list(range(600))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert train.dtype == validation.dtype == np.int64


def test_split_depends_on_the_seed_alone():
    labels = np.arange(100) % 4
    first, again, other = (split_train_validation(labels, 0.2, seed, INFO)[1] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_class_with_one_image_cannot_be_split():
    with pytest.raises(UserError, match=r"datasets\.birds: class 'wren' has one training image"):
        split_train_validation(np.array([0, 0, 0, 1]), 0.5, 0, INFO)


def test_validation_split_smaller_than_the_classes_is_refused():
    with pytest.raises(
        UserError, match=r"datasets\.birds: .*0\.1 cannot .* 20 training images.*recipe's `validation_fraction`"
    ):
        split_train_validation(np.arange(20) % 10, 0.1, 0, INFO)
