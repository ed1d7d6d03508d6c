"""The validation split that is drawn from the training split."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

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


def test_split_is_the_one_that_scikit_learn_draws():
    rng = np.random.default_rng(0)
    for seed in range(300):
        classes = int(rng.integers(1, 12))
        labels = np.repeat(rng.choice(20, classes, replace=False), rng.integers(4, 60, classes))
        labels, fraction = rng.permutation(labels), float(rng.choice([0.08, 0.1, 0.25, 1 / 3, 0.5]))
        if np.ceil(fraction * len(labels)) < classes:
            continue
        expected = train_test_split(np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels)
        found = split_train_validation(labels, fraction, seed, INFO)
        assert [rows.tolist() for rows in found] == [sorted(rows) for rows in expected]


def test_class_with_one_image_cannot_be_split():
    with pytest.raises(UserError, match=r"datasets\.birds: class 'wren' has one training image"):
        split_train_validation(np.array([0, 0, 0, 1]), 0.5, 0, INFO)


def test_validation_split_smaller_than_the_classes_is_refused():
    with pytest.raises(
        UserError, match=r"datasets\.birds: .*0\.1 cannot .* 20 training images.*recipe's `validation_fraction`"
    ):
        split_train_validation(np.arange(20) % 10, 0.1, 0, INFO)
