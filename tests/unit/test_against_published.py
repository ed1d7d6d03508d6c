"""The sentence of the report's opening that compares accuracies with the published ones."""

from report_pages import MNIST, summary


def test_the_number_of_published_accuracies_that_are_clearly_exceeded_is_reported(experiment, write_report):
    """The interval of 98.90 % leaves out the published 98.61 %, that of the difference of two samples does not."""
    clear, close = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.9890}, model="resnet50"),
    )
    text = summary(write_report(clear, close))
    assert (
        "Test accuracy is above the published one in both pairs that have one, "
        "in 1 of them (MobileNetV2 on mnist) by more than the 95 % interval of the difference. "
    ) in text
    best = experiment(**{**MNIST, "accuracy": 0.995}, model="vgg16")
    three = summary(write_report(clear, close, best))
    assert "in 2 of them (not in ResNet50 on mnist) by more than the 95 % interval of the difference. " in three
    alone = "is above the published 98.61 %, though by no more than the 95 % interval of the difference. "
    assert alone in summary(write_report(close))


def test_the_published_study_is_not_mentioned_where_it_has_none_of_the_datasets(experiment, write_report):
    words = "The published study (Gosaye) has no number for any of these pairs of network and dataset."
    own = experiment("pets", "resnet50")
    assert "published" not in summary(write_report(own))
    assert words in summary(write_report(own, experiment("cifar10", "vgg16")))


def test_a_dataset_that_stands_for_a_published_one_is_named_where_both_are_compared(experiment, write_report):
    about = {"datasets": {"cifar10-jpeg": {"variant_of": "cifar10"}}}
    models = {"resnet50": 0.75, "mobilenet_v2": 0.74}
    runs = [experiment("cifar10-jpeg", model, accuracy=value, n_test=10_000) for model, value in models.items()]
    text = summary(write_report(*runs, experiment(**MNIST), **about))
    assert (
        "above the published one in all 3 pairs that have one (cifar10-jpeg against cifar10 itself), each by more than"
    ) in text
    alone = summary(write_report(runs[0], **about))
    assert "is above the published 73.58 % (cifar10-jpeg against cifar10 itself), by more than the" in alone
    assert "itself" not in summary(write_report(experiment(**MNIST)))


def test_published_accuracies_not_reached_are_named(experiment, write_report):
    above, below = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.97}, model="resnet50"),
    )
    text = summary(write_report(above, below))
    assert "in 1 of 2 pairs that have one by" not in text
    clear = "by more than the 95 % interval of the difference"
    assert f"in 1 of 2 pairs that have one, {clear}; not above: ResNet50 on mnist. " in text
    assert "accuracy of ResNet50 on mnist is not above the published 98.61 %. " in summary(write_report(below))


def test_an_equal_accuracy_is_not_above(experiment, write_report):
    text = summary(write_report(experiment(**{**MNIST, "accuracy": 0.9861}, model="resnet50")))
    assert "accuracy of ResNet50 on mnist is not above the published 98.61 %. " in text
