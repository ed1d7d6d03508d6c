"""The sentences that open the report: the answer, the published study, the question."""

import re

import numpy as np
import pytest
from made_up_results import write_predictions
from report_pages import set_recipe, summary


def test_one_model_on_one_dataset_is_described_in_the_singular(experiment, write_report):
    text = summary(write_report(experiment(accuracy=0.9)))
    assert text == (
        "On digits, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %). "
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
    assert "On digits, MobileNetV2 was best, in one training run each, with 95.00 % test accuracy (95 % i" in text


def test_networks_with_several_seeds_are_not_said_to_be_of_one_training_run(experiment, write_report):
    runs = [experiment(model="mobilenet_v2", seed=seed, accuracy=0.97) for seed in range(3)]
    text = summary(write_report(*runs, experiment(model="vgg16", accuracy=0.5)))
    assert "On digits, MobileNetV2 was best with 96.94 % test accuracy" in text


def test_what_the_paired_tests_cannot_tell_apart_is_reported(experiment, write_report):
    models = {"vgg16": (0.94, 0.9), "resnet50": (0.95, 0.95), "mobilenet_v2": (0.5, 0.5)}
    runs = [experiment(model=m, accuracy=test, validation_accuracy=held) for m, (test, held) in models.items()]
    text = summary(write_report(*runs))
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
    assert (
        "On digits, VGG-16 was best, in one training run each, with 92.00 % test accuracy (95 % interval 90.15 to"
        in text
    )
    assert "(87.98 to 91.71)" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_recipe_that_validation_chose_is_reported_although_another_is_better_on_test(experiment, write_report):
    lucky = experiment(recipe="lucky", accuracy=0.99, validation_accuracy=0.9)
    chosen = experiment(recipe="chosen", accuracy=0.95, validation_accuracy=0.96)
    text = summary(write_report(lucky, chosen, experiment(model="vgg16", accuracy=0.5)))
    assert (
        "On digits, ResNet50 (chosen) was best, in one training run each, with 95.00 % test accuracy (95 % interval"
        " 92.24 to 96.81 %), its recipe chosen on validation."
    ) in text
    text = summary(write_report(lucky, chosen))
    assert "ResNet50 (chosen) was best on validation and has 95.00 % test accuracy" in text
    assert "%), but was worse there than ResNet50 (lucky)." in text


def sweep(experiment, *recipes):
    """Three seeds for each recipe of ResNet50, given by its name, learning rate and number of right answers of 144."""
    return [
        experiment(recipe=name, lr=lr, seed=seed, validation_accuracy=right / 144)
        for name, lr, right in recipes
        for seed in range(3)
    ]


def test_of_one_network_the_recipes_that_cannot_be_distinguished_are_named_each_with_its_value(
    experiment, write_report
):
    text = write_report(
        *sweep(experiment, ("quick", 0.05, 142), ("quick,lr=0.1", 0.1, 143), ("quick,lr=0.02", 0.02, 141))
    )
    opening = summary(text)
    assert "ResNet50 (quick, lr 0.1) was best on validation (by 1 of 144 images on average) and has 96.94 %" in opening
    others = "ResNet50 (quick, lr 0.05) and ResNet50 (quick, lr 0.02)"
    assert f"%), but cannot be distinguished from {others}." in opening
    assert "What would settle what is open" in text
    assert (
        "- ResNet50 (quick, lr 0.1) and ResNet50 (quick, lr 0.05) are level. With 360 test images and 3 seeds, this"
        in text
    )
    assert "this test, one of 3, finds a true difference" in text
    assert "is the cheapest" not in opening


def test_a_recipe_that_is_better_than_all_others_of_its_network_was_best(experiment, write_report):
    runs = sweep(experiment, ("quick", 0.05, 142))
    worse = [experiment(recipe="quick,lr=0.1", lr=0.1, seed=seed, accuracy=0.5) for seed in range(3)]
    text = summary(write_report(*runs, *worse))
    assert "On digits, ResNet50 (quick, lr 0.05) was best with 96.94 % test accuracy" in text
    assert "%), its recipe chosen on validation." in text


def test_where_networks_cannot_be_distinguished_the_answer_says_that_validation_chose_the_recipes(
    experiment, write_report
):
    runs = [experiment(recipe=recipe, validation_accuracy=value) for recipe, value in (("long", 0.96), ("quick", 0.9))]
    text = summary(write_report(*runs, experiment(model="vgg16", validation_accuracy=0.9)))
    assert "ResNet50 (long) was best on validation, which also chose the recipes, and has 96.94 % test" in text


def test_it_is_reported_if_validation_chose_the_recipes_of_the_other_networks_only(experiment, write_report):
    others = [experiment(recipe=recipe, accuracy=0.5) for recipe in ("long", "quick")]
    text = summary(write_report(*others, experiment(model="vgg16", accuracy=0.95)))
    assert "%), the recipe of ResNet50 chosen on validation." in text
    others += [experiment(model="mobilenet_v2", recipe=recipe, accuracy=0.5) for recipe in ("long", "quick")]
    text = summary(write_report(*others, experiment(model="vgg16", accuracy=0.95)))
    assert "%), the recipes of ResNet50 and MobileNetV2 chosen on validation." in text
    assert "chosen on validation" not in summary(write_report(others[0], experiment(model="vgg16", accuracy=0.95)))


def test_networks_that_are_surely_close_are_equivalent(experiment, write_report):
    directories = [experiment(model=model, accuracy=1.0, n_test=10_000) for model in ("vgg16", "resnet50")]
    text = write_report(*directories)
    assert "VGG-16 was best on validation (level with ResNet50) and has 100.00 % test accuracy" in summary(text)
    assert "but is equivalent, within 0.5 points and for these trained networks, to ResNet50." in summary(text)
    assert "What would settle" not in text
    assert "Equivalent: not called better, and the 90 % interval of the difference, uncorrected, lies" in text


def test_recipes_that_are_equivalent_over_seeds_are_so_beyond_these_trained_networks(experiment, write_report):
    runs = [experiment(model=m, seed=s, accuracy=0.999, n_test=10_000) for m in ("vgg16", "resnet50") for s in range(3)]
    text = summary(write_report(*runs, margin=0.01))
    assert "but is equivalent, within 1 point, to ResNet50." in text


def test_a_lead_of_fewer_than_two_validation_images_is_reported_in_images(experiment, write_report):
    """Of 144 images, as each made-up experiment has."""

    def opening(right, others):
        leader = experiment(model="vgg16", validation_accuracy=right / 144)
        return summary(write_report(leader, *(experiment(model=m, validation_accuracy=r / 144) for m, r in others)))

    assert "VGG-16 was best on validation (by 1 of 144 images) and has" in opening(143, [("resnet50", 142)])
    assert "VGG-16 was best on validation and has" in opening(143, [("resnet50", 141)])
    level = opening(143, [("resnet50", 143), ("mobilenet_v2", 143), ("inception_v3", 142)])
    assert "VGG-16 was best on validation (level with ResNet50 and MobileNetV2) and has" in level


def test_a_small_lead_over_several_seeds_is_one_on_average(experiment, write_report):
    runs = [
        experiment(model=model, seed=seed, validation_accuracy=right / 144)
        for model, of_seeds in (("vgg16", (143, 141)), ("resnet50", (142, 141)))
        for seed, right in enumerate(of_seeds)
    ]
    assert "VGG-16 was best on validation (by 0.5 of 144 images on average) and has" in summary(write_report(*runs))


def test_what_is_open_has_a_sentence_on_what_would_settle_it(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95}
    text = write_report(*(experiment(model=model, accuracy=value) for model, value in models.items()))
    sentences = text.split("What would settle what is open:")[1]
    assert re.match(
        r"\n\n- ResNet50 is \d\.\d\d points above VGG-16\. With 360 test images, this test finds a true difference of"
        r" \d\.\d\d points in 80 % of studies, and a smaller one less often\. To show the difference seen takes about"
        r" [\d,]+ test images\.\n",
        sentences,
    )


@pytest.mark.parametrize(
    ("chosen", "other", "words"),
    [(0.96, 0.95, "ResNet50 is 1.11 points above VGG-16."), (0.95, 0.96, "VGG-16 is 1.11 points above ResNet50.")],
)
def test_it_is_reported_which_network_of_an_open_pair_is_ahead(experiment, write_report, chosen, other, words):
    runs = experiment(accuracy=chosen, validation_accuracy=1.0), experiment(model="vgg16", accuracy=other)
    assert f"- {words} With 360 test images, this test finds" in write_report(*runs)


def test_an_open_pair_without_a_difference_is_level(experiment, write_report):
    text = write_report(experiment(accuracy=0.9), experiment(model="vgg16", accuracy=0.9))
    assert re.search(
        r"- ResNet50 and VGG-16 are level\. With 360 test images, .* of studies, and a smaller one less often\.\n", text
    )


def test_it_is_reported_that_neither_seeds_nor_images_alone_show_a_small_difference(experiment, write_report):
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy)
        for model, accuracies in (("vgg16", (0.9, 0.95, 0.99)), ("resnet50", (0.91, 0.945, 0.99)))
        for seed, accuracy in enumerate(accuracies)
    ]
    assert (
        "and a smaller one less often. Neither more test images with 3 seeds each nor up to 1,000 seeds on these images"
        " would show a difference as small as the one seen; both together may."
    ) in write_report(*runs)


def test_of_one_seed_and_several_it_is_said_that_one_seed_is_compared(experiment, write_report):
    text = write_report(experiment(model="vgg16", accuracy=0.95), *(experiment(accuracy=0.96, seed=s) for s in (0, 1)))
    assert "With 360 test images and the one seed that is compared, this test finds" in text


def test_open_pairs_of_several_seeds_may_be_settled_by_seeds(experiment, write_report):
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy + 0.01 * seed, n_test=5000)
        for model, accuracy in (("vgg16", 0.90), ("resnet50", 0.909))
        for seed in range(3)
    ]
    text = write_report(*runs)
    assert re.search(r"With 5,000 test images and 3 seeds, this test finds .* seeds each\.", text)


def test_the_conditions_that_differ_between_the_compared_networks_are_reported(experiment, write_report):
    short = experiment(model="vgg16", recipe="quick", epochs=3, lr=0.01, wall_seconds=20)
    other = experiment(model="resnet50", recipe="quick", epochs=5, lr=0.1, validation_accuracy=0.5)
    chosen = experiment(model="resnet50", recipe="long", epochs=10, lr=0.02, wall_seconds=200)
    text = summary(write_report(short, other, chosen)).replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "The networks were not trained alike: they differ in epochs (3 to 10), learning rate (0.01 to 0.02) and"
        " training time (20.0 s to 3 min 20 s)."
    ) in text.split("What to run next")[0]
    assert "which of VGG-16 and ResNet50, each with the recipe that validation chose, classifies digits best" in text
    assert "which of VGG-16 and ResNet50, each with its own recipe, classifies" in summary(write_report(short, chosen))


def test_epochs_and_learning_rate_are_named_before_the_many_other_options(experiment, write_report):
    short, long = experiment(model="vgg16", epochs=3), experiment(lr=0.1)
    set_recipe(short, batch_size=32, augment={"rotation": 5.0, "cutout": 4, "shear": 2.0})
    text = summary(write_report(short, long))
    assert "differ in epochs (3 to 8), learning rate (0.05 to 0.1), batch_size (32 to 64) and 5 more options." in text


def test_a_fourth_option_is_named_as_it_takes_no_more_room_than_its_number(experiment, write_report):
    short, long = experiment(model="vgg16", epochs=3), experiment(lr=0.1)
    set_recipe(short, batch_size=32, momentum=0.8)
    set_recipe(long, momentum=0.9)
    text = summary(write_report(short, long))
    assert "learning rate (0.05 to 0.1), batch_size (32 to 64) and momentum (0.8 to 0.9)." in text


@pytest.mark.parametrize(("slower", "words"), [(32.9, ""), (33.0, " and training time (30.0 s to 33.0 s)")])
def test_of_one_network_the_recipes_are_compared_and_times_that_are_alike_left_out(
    experiment, write_report, slower, words
):
    times = {0.02: 30, 0.05: slower}
    runs = [experiment(recipe=f"quick,lr={lr}", lr=lr, wall_seconds=seconds) for lr, seconds in times.items()]
    text = summary(write_report(*runs)).replace("\N{NO-BREAK SPACE}", " ")
    assert f"The recipes differ in learning rate (0.02 to 0.05){words}." in text


def test_equal_conditions_are_reported_with_the_time(experiment, write_report):
    text = summary(write_report(experiment(model="vgg16", wall_seconds=30), experiment(model="resnet50")))
    expected = " All networks have the same recipe, and training took 30.0 s to 1 min 00 s."
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


def test_a_winner_is_in_doubt_if_validation_hardly_preferred_the_recipe_that_it_beats(experiment, write_report):
    def opening(*others):
        """`others`: recipe, number of right validation images of 144 and test accuracy."""
        runs = [experiment(model="vgg16", recipe=r, validation_accuracy=n / 144, accuracy=a) for r, n, a in others]
        return summary(write_report(experiment(accuracy=0.95), *runs))

    chosen = ("chosen", 130, 0.5)
    start = "On digits, ResNet50 (quick) was best, in one training run each, with 95.00 % test accuracy"
    text = opening(chosen, ("near", 129, 0.94))
    assert start in text
    assert (
        ", but cannot be distinguished from VGG-16 (near), which is only 1 of 144 validation images behind the recipe"
        " that was chosen."
    ) in text
    level = opening(chosen, ("near", 130, 0.94))
    assert "VGG-16 (near), which is level on validation with the recipe that was chosen." in level
    assert (
        ", but cannot be distinguished from VGG-16 (near) and VGG-16 (level), each fewer than 2 of 144 validation"
        " images behind the chosen recipe of its network."
    ) in opening(chosen, ("near", 129, 0.94), ("level", 130, 0.94))
    assert ", but was worse there than VGG-16 (near), which" in opening(chosen, ("near", 129, 1.0))
    for clear in (("far", 128, 0.94), ("near", 129, 0.5)):
        assert start in opening(chosen, clear)
        assert ", but " not in opening(chosen, clear).partition("What to run next")[0]


def test_a_single_network_leaves_nothing_open(experiment, write_report):
    text = write_report(experiment())
    assert "What would settle" not in text
    assert "Those that share a letter" not in text


def test_title_and_question_name_the_networks_of_each_dataset(experiment, write_report):
    models = ("mobilenet_v2", "vgg16", "inception_v3", "resnet50")
    runs = [experiment("mnist", model) for model in models] + [experiment("photos", m) for m in ("vgg16", "resnet50")]
    text = write_report(*runs)
    assert text.startswith("# Study demo: 4 networks on mnist, 2 of them on photos\n")
    assert (
        "asks which of 4 networks (MobileNetV2, VGG-16, Inception V3 and ResNet50) classifies mnist best and which of"
        " VGG-16 and ResNet50 classifies photos best when trained from scratch, with one seed each."
    ) in summary(text)
    text = write_report(*runs[:2], experiment("photos", "resnet50"))
    assert text.startswith("# Study demo: 2 networks on mnist, ResNet50 on photos\n")
    assert "which of MobileNetV2 and VGG-16 classifies mnist best and how well ResNet50 classifies" in summary(text)
    same = write_report(*(experiment(dataset, model) for dataset in ("mnist", "photos") for model in models[:2]))
    assert same.startswith("# Study demo: 2 networks on mnist and photos\n")


def test_many_unlike_sets_of_networks_are_counted(experiment, write_report):
    models = ("mobilenet_v2", "vgg16", "inception_v3", "resnet50")
    text = write_report(*(experiment(f"set{place}", model) for place in range(4) for model in models[: place + 1]))
    assert text.startswith("# Study demo: 4 networks on 4 datasets, not each on all\n")
    assert "classifies set0, set1, set2 and set3 best, each with some of these networks, when" in summary(text)


def test_several_seeds_and_recipes_are_counted(experiment, write_report):
    directories = [experiment(recipe=recipe, seed=seed, accuracy=0.9) for recipe in ("a", "b") for seed in (0, 1)]
    assert "with 2 recipes in all and 2 seeds each." in summary(write_report(*directories))


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


def test_where_no_network_is_clearly_better_than_one_answer_for_all_this_comes_first(experiment, write_report):
    options = {"classes": list("abcd"), "accuracy": 14 / 60, "n_test": 60}
    assert summary(write_report(*(experiment(model=model, **options) for model in ("vgg16", "resnet50")))).startswith(
        "On digits, no network is clearly better than always naming the most frequent class, which is right for 25.00 %"
        " of the test images: VGG-16, best on validation, has 23.33 % test accuracy (95 % interval 14.44 to 35.44 %). "
    )
