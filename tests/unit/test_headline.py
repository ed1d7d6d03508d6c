"""The sentences that open the report: the answer, the published study, the question."""

from report_pages import MNIST, summary


def test_one_model_on_one_dataset_is_described_in_the_singular(experiment, write_report):
    text = summary(write_report(experiment(accuracy=0.9)))
    assert text == (
        "On digits, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %). "
        "The study demo asks how well ResNet50 classifies digits when trained from scratch, with one seed. "
        "The published study (Gosaye) has no number for any of these pairs of network and dataset."
    )


def test_a_clear_winner_is_named_with_its_interval(experiment, write_report):
    text = summary(
        write_report(experiment(model="vgg16", accuracy=0.5), experiment(model="mobilenet_v2", accuracy=0.95))
    )
    assert (
        "asks which of VGG-16 and MobileNetV2 classifies digits best when trained from scratch, with one seed each."
        in text
    )
    assert "On digits, MobileNetV2 was best with 95.00 % test accuracy (95 % interval 92.24 to 96.81 %)." in text


def test_overlapping_intervals_leave_the_order_open(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95, "mobilenet_v2": 0.5}
    text = summary(write_report(*(experiment(model=model, accuracy=value) for model, value in models.items())))
    assert "which of 3 networks (VGG-16, ResNet50 and MobileNetV2)" in text
    assert "ResNet50 was ahead with 95.00 %" in text
    assert "its interval overlaps that of VGG-16, so the order is open." in text


def test_the_number_of_published_accuracies_that_are_clearly_exceeded_is_reported(experiment, write_report):
    clear, close = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.9865}, model="resnet50"),
    )
    text = summary(write_report(clear, close))
    assert text.endswith(
        "Test accuracy is above the published one in both pairs that have one, "
        "in 1 of them by more than the 95 % interval."
    )


def test_published_accuracies_not_reached_are_named(experiment, write_report):
    above, below = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.97}, model="resnet50"),
    )
    text = summary(write_report(above, below))
    assert "in 1 of 2 pairs that have one by" not in text
    assert text.endswith("in 1 of 2 pairs that have one, by more than the 95 % interval; not above: ResNet50 on mnist.")
    assert summary(write_report(below)).endswith("accuracy of ResNet50 on mnist is not above the published 98.61 %.")


def test_an_equal_accuracy_is_not_above(experiment, write_report):
    text = summary(write_report(experiment(**{**MNIST, "accuracy": 0.9861}, model="resnet50")))
    assert text.endswith("accuracy of ResNet50 on mnist is not above the published 98.61 %.")


def test_several_seeds_and_recipes_are_counted(experiment, write_report):
    directories = [experiment(recipe=recipe, seed=seed, accuracy=0.9) for recipe in ("a", "b") for seed in (0, 1)]
    assert "with 2 recipes and 2 seeds each." in summary(write_report(*directories))


def test_many_datasets_are_counted_not_listed(experiment, write_report):
    text = summary(write_report(*(experiment(dataset=f"set{i}") for i in range(9))))
    assert "classifies 9 datasets when" in text
    assert "the tables below have the other 3." in text
