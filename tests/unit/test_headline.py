"""The sentences that open the report: the answer, the published study, the question."""

import re

import numpy as np
from made_up_results import write_predictions
from report_pages import MNIST, set_recipe, summary


def test_one_model_on_one_dataset_is_described_in_the_singular(experiment, write_report):
    text = summary(write_report(experiment(accuracy=0.9)))
    assert text == (
        "On digits, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %). "
        "The published study (Gosaye) has no number for any of these pairs of network and dataset. "
        "What to run next: "
        "- Three or more seeds of ResNet50 on digits (<code>seeds: [0, 1, 2]</code>): another seed gives another "
        "accuracy, and with one it is not known by how much. "
        "The study demo asks how well ResNet50 classifies digits when trained from scratch, with one seed."
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


def test_what_the_paired_tests_cannot_tell_apart_is_reported(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95, "mobilenet_v2": 0.5}
    text = summary(write_report(*(experiment(model=model, accuracy=value) for model, value in models.items())))
    assert "which of 3 networks (VGG-16, ResNet50 and MobileNetV2)" in text
    assert (
        "On digits, ResNet50 was best on validation and has 95.00 % test accuracy (95 % interval 92.24 to 96.81 %), but"
        " cannot be distinguished from VGG-16."
    ) in text


def test_a_difference_is_reported_although_the_intervals_overlap(experiment, write_report):
    """The better network has all images right that the other has."""
    better = experiment(model="vgg16", accuracy=0.9, validation_accuracy=0.95, n_test=1000)
    worse = experiment(model="resnet50", validation_accuracy=0.9, n_test=1000)
    true = np.arange(1000) % 10
    for directory, wrong in ((better, 80), (worse, 100)):
        write_predictions(directory, true, np.where(np.arange(1000) < wrong, (true + 1) % 10, true), 10)
    text = write_report(better, worse)
    assert "On digits, VGG-16 was best with 92.00 % test accuracy (95 % interval 90.15 to 93.53 %)." in text
    assert "(87.98 to 91.71)" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_recipe_that_validation_chose_is_reported_although_another_is_better_on_test(experiment, write_report):
    lucky = experiment(recipe="lucky", accuracy=0.99, validation_accuracy=0.9)
    chosen = experiment(recipe="chosen", accuracy=0.95, validation_accuracy=0.96)
    text = summary(write_report(lucky, chosen, experiment(model="vgg16", accuracy=0.5)))
    assert (
        "On digits, ResNet50 (chosen) was best with 95.00 % test accuracy (95 % interval 92.24 to 96.81 %), its recipe"
        " chosen on validation."
    ) in text
    text = summary(write_report(lucky, chosen))
    assert re.search(r"ResNet50 \(chosen\) reached 95\.00 % .*? %\), its recipe chosen on validation\.", text)


def test_where_networks_tie_the_answer_says_that_validation_chose_the_recipes(experiment, write_report):
    runs = [experiment(recipe=recipe, validation_accuracy=value) for recipe, value in (("long", 0.96), ("quick", 0.9))]
    text = summary(write_report(*runs, experiment(model="vgg16", validation_accuracy=0.9)))
    assert "ResNet50 (long) was best on validation, which also chose the recipes, and has 96.94 % test" in text


def test_it_is_reported_if_validation_chose_the_recipes_of_the_other_networks_only(experiment, write_report):
    others = [experiment(recipe=recipe, accuracy=0.5) for recipe in ("long", "quick")]
    text = summary(write_report(*others, experiment(model="vgg16", accuracy=0.95)))
    assert "%), the recipes of others chosen on validation." in text
    assert "chosen on validation" not in summary(write_report(others[0], experiment(model="vgg16", accuracy=0.95)))


def test_networks_that_are_surely_close_are_equivalent(experiment, write_report):
    directories = [experiment(model=model, accuracy=1.0, n_test=10_000) for model in ("vgg16", "resnet50")]
    text = write_report(*directories)
    assert "VGG-16 was best on validation and has 100.00 % test accuracy" in summary(text)
    assert "but is equivalent to ResNet50." in summary(text)
    assert "What would settle" not in text


def test_what_is_open_has_a_sentence_on_what_would_settle_it(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95}
    text = write_report(*(experiment(model=model, accuracy=value) for model, value in models.items()))
    sentences = text.split("What would settle what is open ([statistics.json](digits/comparison/statistics.json)):")[1]
    assert re.match(
        r"\n\n- ResNet50 and VGG-16 differ by \d\.\d\d points; 360 test images show differences of \d\.\d\d points or"
        r" more \(in 80 % of studies\)\. To show the difference seen takes about [\d,]+ test images\.\n",
        sentences,
    )


def test_open_pairs_of_several_seeds_may_be_settled_by_seeds(experiment, write_report):
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy + 0.01 * seed, n_test=5000)
        for model, accuracy in (("vgg16", 0.90), ("resnet50", 0.909))
        for seed in range(3)
    ]
    text = write_report(*runs)
    assert re.search(r"5,000 test images with 3 seeds show differences of .* seeds each\.", text)


def test_the_conditions_that_differ_between_the_compared_networks_are_reported(experiment, write_report):
    short = experiment(model="vgg16", recipe="quick", epochs=3, lr=0.01, wall_seconds=20)
    other = experiment(model="resnet50", recipe="quick", epochs=5, lr=0.1, validation_accuracy=0.5)
    chosen = experiment(model="resnet50", recipe="long", epochs=10, lr=0.02, wall_seconds=200)
    text = summary(write_report(short, other, chosen)).replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "On digits, the networks differ in epochs (3 to 10), learning rate (0.01 to 0.02) and training time (20.0 s to"
        " 3 min 20 s)."
    ) in text.split("What to run next")[0]
    assert "which of VGG-16 and ResNet50, each with the recipe that validation chose, classifies digits best" in text
    assert "which of VGG-16 and ResNet50, each with its own recipe, classifies" in summary(write_report(short, chosen))


def test_epochs_and_learning_rate_are_named_before_the_many_other_options(experiment, write_report):
    short, long = experiment(model="vgg16", epochs=3), experiment(lr=0.1)
    set_recipe(short, batch_size=32, augment={"rotation": 5.0, "cutout": 4, "shear": 2.0})
    text = summary(write_report(short, long))
    assert "differ in epochs (3 to 8), learning rate (0.05 to 0.1), batch_size (32 to 64), 5 more options and" in text


def test_of_one_network_the_recipes_are_compared(experiment, write_report):
    runs = [experiment(recipe=f"quick,lr={lr}", lr=lr, wall_seconds=30) for lr in (0.02, 0.05)]
    text = summary(write_report(*runs)).replace("\N{NO-BREAK SPACE}", " ")
    assert "On digits, the recipes differ in learning rate (0.02 to 0.05) and training time (30.0 s)." in text


def test_equal_conditions_are_reported_with_the_time(experiment, write_report):
    text = summary(write_report(experiment(model="vgg16", wall_seconds=30), experiment(model="resnet50")))
    expected = "On digits, all networks have the same recipe, and training took 30.0 s to 1 min 00 s."
    assert expected in text.replace("\N{NO-BREAK SPACE}", " ")


def test_of_many_datasets_the_table_of_recipes_has_the_conditions(experiment, write_report):
    runs = [experiment(f"set{i}", model, epochs=e) for i in range(5) for model, e in (("vgg16", 1), ("resnet50", 2))]
    assert "; on 2 more datasets, the table of recipes has it." in summary(write_report(*runs))


def test_a_network_that_was_better_with_the_same_seed_is_named_as_such(experiment, write_report):
    """One network has one seed, the other three: the mean may be higher, and the run of the same seed worse."""
    single = experiment(model="vgg16", seed=0, accuracy=0.93)
    several = [experiment(model="resnet50", seed=seed, accuracy=value) for seed, value in enumerate((0.85, 0.99, 0.99))]
    text = summary(write_report(single, *several))
    assert "but was worse, with the one seed that is compared, than VGG-16." in text


def test_a_single_network_leaves_nothing_open(experiment, write_report):
    text = write_report(experiment())
    assert "What would settle" not in text
    assert "Those that share a letter" not in text


def test_the_number_of_published_accuracies_that_are_clearly_exceeded_is_reported(experiment, write_report):
    clear, close = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.9865}, model="resnet50"),
    )
    text = summary(write_report(clear, close))
    assert (
        "Test accuracy is above the published one in both pairs that have one, "
        "in 1 of them by more than the 95 % interval. "
    ) in text


def test_published_accuracies_not_reached_are_named(experiment, write_report):
    above, below = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.97}, model="resnet50"),
    )
    text = summary(write_report(above, below))
    assert "in 1 of 2 pairs that have one by" not in text
    assert "in 1 of 2 pairs that have one, by more than the 95 % interval; not above: ResNet50 on mnist. " in text
    assert "accuracy of ResNet50 on mnist is not above the published 98.61 %. " in summary(write_report(below))


def test_an_equal_accuracy_is_not_above(experiment, write_report):
    text = summary(write_report(experiment(**{**MNIST, "accuracy": 0.9861}, model="resnet50")))
    assert "accuracy of ResNet50 on mnist is not above the published 98.61 %. " in text


def test_several_seeds_and_recipes_are_counted(experiment, write_report):
    directories = [experiment(recipe=recipe, seed=seed, accuracy=0.9) for recipe in ("a", "b") for seed in (0, 1)]
    assert "with 2 recipes and 2 seeds each." in summary(write_report(*directories))


def test_many_datasets_are_counted_not_listed(experiment, write_report):
    text = summary(write_report(*(experiment(dataset=f"set{i}") for i in range(9))))
    assert "classifies 9 datasets when" in text
    assert "the tables below have the other 3." in text


def test_the_best_is_the_one_that_validation_chose_though_another_is_better_on_test(experiment, write_report):
    chosen = experiment(model="resnet50", validation_accuracy=0.99, accuracy=0.8)
    better = experiment(model="vgg16", validation_accuracy=0.9, accuracy=0.95)
    worse = experiment(model="mobilenet_v2", validation_accuracy=0.8, accuracy=0.3)
    text = summary(write_report(chosen, better, worse))
    assert "ResNet50 was best on validation and has 80.00 % test accuracy (" in text
    assert "%), but was worse there than VGG-16." in text
