"""Imbalanced classes: rare ones weigh more or are drawn more often, and the report shows what that matters for."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from report_pages import tables
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from small_trainer import checkpoints_in, network, separable, trainer

from deepnets.config.recipe import Recipe
from deepnets.evaluation.metrics import METRICS, balanced_accuracy, is_imbalanced
from deepnets.training.augmentation import Batch
from deepnets.training.balance import balanced_order, balanced_weights
from deepnets.training.loss import cross_entropy, micro_batches

LABELS = np.array([0] * 70 + [1] * 20 + [2] * 7)
LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 3.0]])
WEIGHTS = torch.tensor([0.5, 1.0, 4.0])


def test_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert balanced_weights(torch.from_numpy(LABELS)).tolist() == pytest.approx(expected.tolist())


def test_weighted_loss_is_a_mean_over_images():
    labels = torch.tensor([0, 1, 2, 2])
    batch = Batch(torch.zeros(4, 1), labels)
    each = F.cross_entropy(LOGITS, labels, reduction="none") * WEIGHTS[labels]
    assert cross_entropy(LOGITS, batch, 0.0, WEIGHTS).item() == pytest.approx(each.mean().item())
    parts = zip(LOGITS.tensor_split(2), micro_batches(batch, 2), strict=True)
    assert sum(cross_entropy(*part, 0.0, WEIGHTS).item() / 2 for part in parts) == pytest.approx(each.mean().item())


def test_weighted_loss_of_mixed_images_weighs_both_labels():
    own, other, share = torch.tensor([0, 1, 2, 2]), torch.tensor([2, 1, 0, 1]), torch.tensor([0.25, 1.0, 0.5, 0.0])
    one, two = (F.cross_entropy(LOGITS, labels, reduction="none") * WEIGHTS[labels] for labels in (own, other))
    loss = cross_entropy(LOGITS, Batch(torch.zeros(4, 1), own, other, share), 0.0, WEIGHTS)
    assert loss.item() == pytest.approx((share * one + (1 - share) * two).mean().item())


def test_balanced_order_has_each_class_equally_often_and_no_image_again_before_all_others_of_its_class():
    order = balanced_order(LABELS, np.random.default_rng(0))
    assert len(order) == len(LABELS)
    times = np.bincount(order, minlength=len(LABELS))
    for label, images in enumerate((70, 20, 7)):
        of_class = times[label == LABELS]
        assert of_class.sum() in (32, 33)
        assert of_class.max() - of_class.min() <= 1
        assert len(of_class) == images
    halves = [np.bincount(LABELS[half], minlength=3).max() for half in np.array_split(order, 2)]
    assert max(halves) < 28  # the classes are mixed


def test_balanced_order_of_more_classes_than_images_each_gets_is_right():
    labels = np.arange(5)
    assert sorted(balanced_order(labels, np.random.default_rng(1))) == labels.tolist()


@pytest.mark.parametrize("options", [{"class_weights": "balanced"}, {"sampler": "balanced"}])
def test_training_on_imbalanced_classes_is_changed_and_can_be_repeated(tmp_path, options):
    whole = separable(60)
    rows = torch.cat([torch.nonzero(whole.labels == label)[:, 0][:number] for label, number in enumerate((20, 8, 2))])
    split = whole.subset(rows)

    def weights(name: str, **keys) -> torch.Tensor:
        trained = trainer(network(), train=split, **keys).fit(checkpoints_in(tmp_path / name))
        return torch.cat([each.flatten() for each in trained.state_dict().values()])

    plain, one, two = weights("plain"), weights("one", **options), weights("two", **options)
    assert torch.equal(one, two)
    assert not torch.equal(plain, one)


def test_both_at_once_are_refused():
    with pytest.raises(ValidationError, match="rare classes would count twice; choose one"):
        Recipe(class_weights="balanced", sampler="balanced")


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_balanced_accuracy_is_that_of_scikit_learn_even_where_a_class_has_no_images():
    logits = np.random.default_rng(0).normal(size=(97, 3)).astype(np.float32)
    expected = balanced_accuracy_score(LABELS, logits.argmax(1))
    assert balanced_accuracy(logits, LABELS) == pytest.approx(expected)
    without = np.pad(logits, [(0, 0), (0, 1)], constant_values=-9)  # a fourth class, which no image has
    assert balanced_accuracy(without, LABELS) == pytest.approx(expected)


@pytest.mark.parametrize(("counts", "answer"), [([10, 19], False), ([10, 20], True), ([5, 0], True), ([7], False)])
def test_classes_are_imbalanced_from_twice_as_many_images_on(counts, answer):
    assert is_imbalanced(counts) == answer


@pytest.mark.parametrize("imbalanced", [False, True])
def test_report_shows_balanced_accuracy_where_classes_are_imbalanced(experiment, write_report, imbalanced):
    directory = experiment()
    if imbalanced:
        content = json.loads((directory / "metrics.json").read_text())
        content["test"]["per_class"][3]["n"] = 900
        (directory / "metrics.json").write_text(json.dumps(content))
    text = write_report(directory)
    assert ("Balanced acc. (%)" in tables(text)[0][0]) == imbalanced
    assert ("The classes are imbalanced: the test split has" in text) == imbalanced
    assert ("900 of" in text) == imbalanced


def test_balanced_accuracy_is_in_metrics_json_for_validation_and_test():
    (metric,) = [metric for metric in METRICS if metric.name == "balanced_accuracy"]
    assert metric.splits == ("validation", "test")
