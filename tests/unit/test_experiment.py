"""Experiments: names, paths and the hash of what they stand for."""

import dataclasses
import hashlib

import pytest

from deepnets.config.experiment import Experiment, spec_sha256

EXPERIMENT = Experiment("mnist", "resnet50", "quick", 3, {"recipe": {"lr": 0.1, "epochs": 2}, "seed": 3})


def test_results_are_in_a_folder_named_after_the_experiment():
    assert EXPERIMENT.directory == "results/mnist/resnet50/quick/seed3"


def test_names_are_what_metrics_show():
    assert EXPERIMENT.names == {"dataset": "mnist", "model": "resnet50", "recipe": "quick", "seed": 3}


def test_the_hash_is_that_of_the_canonical_json():
    canonical = b'{"recipe":{"epochs":2,"lr":0.1},"seed":3}'
    assert spec_sha256(EXPERIMENT.spec) == hashlib.sha256(canonical).hexdigest()


def test_the_order_of_keys_does_not_change_the_hash():
    reordered = dataclasses.replace(EXPERIMENT, spec={"seed": 3, "recipe": {"epochs": 2, "lr": 0.1}})
    assert spec_sha256(reordered.spec) == spec_sha256(EXPERIMENT.spec)


def test_a_changed_value_changes_the_hash():
    changed = dataclasses.replace(EXPERIMENT, spec={"recipe": {"lr": 0.2, "epochs": 2}, "seed": 3})
    assert spec_sha256(changed.spec) != spec_sha256(EXPERIMENT.spec)


def test_an_experiment_is_immutable_and_can_be_a_key():
    assert {EXPERIMENT: 1}[dataclasses.replace(EXPERIMENT)] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXPERIMENT.seed = 4
