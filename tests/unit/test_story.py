"""What follows from a report: the cheapest of those that cannot be distinguished, and what to run next."""

import re
from html import unescape
from types import SimpleNamespace

import made_up_results
import numpy as np
from made_up_results import write_latency, write_predictions
from report_pages import set_recipe, set_timing, summary

from deepnets.comparison.statistics_file import Settle
from deepnets.reporting import story
from deepnets.reporting.study import Missing
from deepnets.utils.files import read_json, write_json


def steps(text):
    """The lines on what to run next."""
    if "What to run next:" not in text:
        return []
    lines = text.split("What to run next:\n\n")[1].split("\n\n")[0].splitlines()
    return [re.sub("</?code>|</?span>", "", unescape(line)).removeprefix("- ") for line in lines]


def alike(experiment, **options):
    """Two networks that cannot be distinguished; the second is larger, and trained in less time."""
    small = experiment(model="mobilenet_v2", accuracy=0.95, wall_seconds=90, **options)
    return small, experiment(model="vgg16", accuracy=0.94, wall_seconds=30, **options)


def test_the_cheapest_in_use_and_in_training_of_those_that_cannot_be_distinguished_are_named(experiment, write_report):
    small, large = alike(experiment)
    for folder, seconds in ((small, 0.002), (large, 0.0123)):
        write_latency(folder, seconds)
    worse = experiment(model="resnet50", accuracy=0.5, wall_seconds=1)
    text = summary(write_report(small, large, worse, optional=("latency",))).replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "Among MobileNetV2 and the network that cannot be distinguished from it, MobileNetV2 is the cheapest in use"
        " (2.00 ms in torch for an image) and VGG-16 in training (30.0 s)."
    ) in text


def test_without_latency_the_cost_in_use_is_multiply_adds(experiment, write_report):
    text = summary(write_report(*alike(experiment))).replace("\N{NO-BREAK SPACE}", " ")
    words = "MobileNetV2 is the cheapest in use (100,000,000 multiply-adds for an image) and VGG-16 in training"
    assert words in text


def test_one_that_is_cheapest_in_both_is_named_once(experiment, write_report):
    runs = [experiment(model=model, wall_seconds=seconds) for model, seconds in (("vgg16", 5), ("resnet50", 9))]
    text = summary(write_report(*runs)).replace("\N{NO-BREAK SPACE}", " ")
    assert "it, VGG-16 is the cheapest: 100,000,000 multiply-adds for an image, 5.0 s for training." in text


def test_where_runs_had_unlike_threads_the_cheapest_in_training_took_the_least_cpu_time(experiment, write_report):
    shared = experiment(model="mobilenet_v2", accuracy=0.95, wall_seconds=90, threads=1)
    alone = experiment(model="vgg16", accuracy=0.94, wall_seconds=30, threads=4)
    text = summary(write_report(shared, alone)).replace("\N{NO-BREAK SPACE}", " ")
    assert "MobileNetV2 is the cheapest: 100,000,000 multiply-adds for an image, 1 min 21 s of CPU time for" in text
    assert "training took 1 min 21 s to 1 min 48 s of CPU time." in text
    for folder in (shared, alone):
        set_timing(folder, cpu_seconds=None)
    text = summary(write_report(shared, alone)).replace("\N{NO-BREAK SPACE}", " ")
    assert "VGG-16 in training (30.0 s)." in text
    assert "training took 30.0 s to 1 min 30 s." in text


def test_of_many_datasets_three_are_named(experiment, write_report):
    runs = [experiment(f"set{place}", model) for place in range(5) for model in ("vgg16", "resnet50")]
    text = write_report(*runs)
    cheapest = "on set2, among VGG-16 and the network that cannot be distinguished from it, VGG-16 is the cheapest: "
    assert cheapest in summary(text)
    assert "; the tables below have that of 2 more." in summary(text)
    assert steps(text)[0].startswith("Three or more seeds of the best networks on 5 datasets (seeds: [0, 1, 2]): ")


def test_where_one_is_best_the_next_on_validation_is_named_with_its_costs(experiment, write_report):
    best, other = experiment(model="vgg16", accuracy=0.95), experiment(model="mobilenet_v2", accuracy=0.5)
    text = summary(write_report(best, other, experiment(model="resnet50", accuracy=0.9, validation_accuracy=0.4)))
    cost = "takes 100,000,000 instead of 100,000,000 multiply-adds for an image."
    assert f"MobileNetV2, the next on validation, has 45.00 points less and {cost}" in text
    text = summary(write_report(best, other, optional=("latency",)))
    assert "has 45.00 points less and takes 0.18 ms instead of 13.43 ms in torch for an image." in text
    again = [experiment(model="vgg16", recipe=recipe, accuracy=a) for recipe, a in (("long", 0.95), ("short", 0.5))]
    assert "the next on validation" not in summary(write_report(*again))


def test_where_one_is_best_nothing_is_as_good_and_cheaper(experiment, write_report):
    text = summary(write_report(experiment(model="vgg16", accuracy=0.5), experiment(model="resnet50", accuracy=0.95)))
    assert "is the cheapest" not in text


def test_networks_with_one_seed_that_cannot_be_distinguished_need_more_seeds(experiment, write_report):
    [step] = steps(write_report(*alike(experiment)))
    assert step.startswith("Three or more seeds of MobileNetV2 and VGG-16 on digits (seeds: [0, 1, 2]): another seed")


def test_the_best_network_with_one_seed_needs_more_seeds_of_the_next_one_too(experiment, write_report):
    """With one seed of either, the two are compared by one seed each."""
    models = {"vgg16": 0.5, "resnet50": 0.95, "mobilenet_v2": 0.7}
    runs = {model: experiment(model=model, accuracy=value) for model, value in models.items()}
    [step] = steps(write_report(*runs.values()))
    assert step.startswith("Three or more seeds of ResNet50 and MobileNetV2 on digits (seeds: [0, 1, 2])")
    more = [experiment(accuracy=0.95, seed=seed) for seed in (1, 2)]
    [step] = steps(write_report(*runs.values(), *more))
    assert step.startswith("Three or more seeds of MobileNetV2 on digits (seeds: [0, 1, 2])")


def test_a_network_that_is_better_on_test_needs_more_seeds_too(experiment, write_report):
    chosen = experiment(model="resnet50", validation_accuracy=0.99, accuracy=0.8)
    [step] = steps(write_report(chosen, experiment(model="vgg16", validation_accuracy=0.9, accuracy=0.95)))
    assert step.startswith("Three or more seeds of ResNet50 and VGG-16 on digits")


def test_an_open_pair_of_several_seeds_needs_as_many_as_would_settle_it(experiment, write_report, monkeypatch):
    monkeypatch.setattr(story, "_MANY_SEEDS", 1000)
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy + 0.01 * seed, n_test=5000)
        for model, accuracy in (("vgg16", 0.90), ("resnet50", 0.909))
        for seed in range(3)
    ]
    [step] = steps(write_report(*runs))
    assert re.fullmatch(
        r"About \d+ seeds each of ResNet50 and VGG-16 on digits, which would probably show which is better\.", step
    )


SPREAD = {"resnet50": (0.98, 0.97, 0.985), "mobilenet_v2": (0.975, 0.98, 0.977), "vgg16": (0.9, 0.95, 0.93)}


def of_seeds(experiment, *models):
    """Three seeds of each model with the accuracies of SPREAD; the first model is best on validation."""
    return [
        experiment(model=model, seed=seed, accuracy=accuracy, validation_accuracy=0.99 - 0.02 * place)
        for place, model in enumerate(models)
        for seed, accuracy in enumerate(SPREAD[model])
    ]


def test_the_first_pair_that_can_be_settled_comes_next_though_another_one_cannot(experiment, write_report):
    [step] = steps(write_report(*of_seeds(experiment, "resnet50", "mobilenet_v2", "vgg16")))
    assert re.fullmatch(
        r"About \d+ seeds each of ResNet50 and VGG-16 on digits, which would probably show which is better\."
        r" No runs would show which of ResNet50 and MobileNetV2 is best\. Choose by their cost\.",
        step,
    )


def test_it_is_reported_if_nothing_that_can_be_afforded_would_settle_a_pair(experiment, write_report):
    assert steps(write_report(*of_seeds(experiment, "resnet50", "mobilenet_v2"))) == [
        "No runs to find out which of ResNet50 and MobileNetV2 is best on digits: that takes more than 30 seeds each,"
        " or more test images than the dataset has (1,797 in all). Choose by their cost."
    ]


def test_more_images_or_seeds_than_anyone_has_are_no_advice():
    def ways(images, seeds):
        settle = Settle(smallest_difference=0.1, images=images, seeds=seeds)
        return [*story._ways_to_settle(settle, "digits", "A and B", there_are=200_000, may_have_folds=False)]

    assert ways(2_000_000, 31) == ways(None, None) == []
    assert [way.split(" of ")[0] for way in ways(123_456, 30)] == ["About 30 seeds each", "About 120,000 test images"]


def test_folds_are_advised_for_own_images_of_which_too_few_are_in_the_test_split(experiment, write_report):
    """Each made-up dataset has 1293 + 144 + 360 images."""

    def advised(own_files, in_it="test images of digits"):
        accuracies = {"vgg16": 0.95, "resnet50": 0.945}
        runs = [experiment(model=m, seed=seed, accuracy=a) for m, a in accuracies.items() for seed in range(3)]
        text = write_report(*runs, datasets={"digits": {"own_files": own_files}})
        [step] = [step for step in steps(text) if in_it in step]
        return step

    assert re.fullmatch(
        r"About [\d,]+ test images of digits, which would probably show which of .* is better, but the dataset has"
        r" 1,797 images in all\. folds: 5 of the dataset makes each of these a test image once, if no folder or column"
        r" of digits has splits\.",
        advised("pets.zip"),
    )
    assert "than the dataset has (1,797 in all). Choose by their cost." in advised(None, "No runs to find out")
    settle = Settle(smallest_difference=0.1, images=1500, seeds=None)
    [enough] = story._ways_to_settle(settle, "digits", "A and B", there_are=1797, may_have_folds=True)
    assert enough.startswith(
        "About 1,500 test images of digits, which would probably show which of A and B is better, and the dataset has"
        " 1,797 images in all. <code>folds: 5</code> of the dataset makes each of these a test image once, if"
    )


def test_what_is_settled_over_several_seeds_needs_nothing(experiment, write_report):
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy, n_test=2000)
        for model, accuracy in (("vgg16", 0.5), ("resnet50", 0.9))
        for seed in range(3)
    ]
    assert steps(write_report(*runs)) == []


def test_missing_experiments_and_warnings_come_first(experiment, write_report):
    warned = experiment(warnings=["under-trained: 31% after 8 epochs; try 16"])
    found = steps(write_report(warned, missing=[Missing("digits/vgg16/quick/seed0", "waiting")]))
    assert found[0] == "The rest of the study: [one experiment is missing](#missing-experiments)."
    assert found[1] == "What the warnings below advise for one training run."
    assert found[2].startswith("Three or more seeds of ResNet50")


def test_a_sweep_whose_best_value_is_the_last_tried_continues_beyond_it(experiment, write_report):
    def after(best, lead=0.05):
        rates = (0.01, 0.03, 0.1)
        runs = [
            experiment(recipe=f"quick,lr={rate}", lr=rate, seed=seed, validation_accuracy=0.9 + lead * (rate == best))
            for rate in rates
            for seed in range(2)
        ]
        return [step for step in steps(write_report(*runs)) if "values of" in step]

    largest = "ResNet50 on digits with larger values of lr: the largest of 3, 0.1, is best on validation."
    smallest = "ResNet50 on digits with smaller values of lr: the smallest of 3, 0.01, is best on validation."
    assert after(0.1) == [largest]
    assert after(0.03) == after(0.1, lead=0) == []
    assert after(0.01) == [smallest]
    assert after(0.1, lead=1.5 / 144) == [
        "ResNet50 on digits with larger values of lr, but more seeds first: the largest of 3, 0.1, is best on"
        " validation by only 1.5 of 144 images."
    ]


def guesses(experiment, model, **options):
    """Return a run that always names the first of ten classes."""
    directory, true = experiment(model=model, accuracy=0.1, **options), np.arange(360) % 10
    write_predictions(directory, true, np.zeros(360, int), 10)
    return directory


def test_a_network_that_only_guesses_is_named_in_the_opening(experiment, write_report):
    runs = [guesses(experiment, "vgg16", recipe=f"r{n}", lr=n + 0.1) for n in range(3)]
    learned = experiment(accuracy=0.95)
    text = summary(write_report(learned, *runs))
    assert (
        " On digits, VGG-16 did not learn in any of its 3 runs (10.00 % test accuracy, as by guessing), so it is not"
        " really compared. "
    ) in text
    assert "did not learn" not in summary(write_report(learned, experiment(model="vgg16", accuracy=0.4)))
    better = experiment(model="vgg16", recipe="r3", accuracy=0.4)
    assert "did not learn" not in summary(write_report(learned, *runs, better))


POOR = "clearly better than always naming the most frequent class, which is right for "


def poor(experiment, dataset="signs", number=14, **options):
    """Two networks with three seeds each, which have that many of 60 images of four classes right."""
    return [
        experiment(dataset, model, seed=seed, classes=list("abcd"), accuracy=right / 60, n_test=60, **options)
        for model, right in (("vgg16", number), ("resnet50", number + 1))
        for seed in range(3)
    ]


def test_networks_that_are_no_better_than_one_answer_for_all_are_not_compared(experiment, write_report):
    text = write_report(*poor(experiment))
    opening = summary(text)
    assert opening.startswith(f"On signs, no network is {POOR}25.00 % of the test images: ResNet50, best on validation")
    for words in ("is the cheapest", "distinguished", "equivalent", "did not learn", "would show"):
        assert words not in opening
    assert "What would settle what is open" not in text
    assert steps(text) == [
        "Longer training on signs, or another recipe or learning rate. First, look at the images and their labels."
    ]


def test_where_to_look_at_the_images_of_datasets_that_no_network_has_learned_is_named():
    [step] = story._learn(SimpleNamespace(audits={"signs": "of its images", "pets": None}), ["signs", "pets"])
    assert step == (
        "Longer training on signs and pets, or another recipe or learning rate. First, look at the images and their"
        " labels: see Images of signs below."
    )


def test_other_datasets_and_warnings_keep_their_advice_where_no_network_has_learned_one(experiment, write_report):
    runs = [*poor(experiment, warnings=["under-trained: 24% after 8 epochs; try 16"]), *alike(experiment)]
    text = write_report(*runs)
    warned, learn, more = steps(text)
    assert warned == "What the warnings below advise for 6 training runs."
    assert learn.startswith("Longer training on signs, or another recipe")
    assert more.startswith("Three or more seeds of MobileNetV2 and VGG-16 on digits")
    assert f"On signs, no network is {POOR}25.00 %" in summary(text)
    assert "; on digits, MobileNetV2 was best on validation (by 1.4 of 144 images) and has 95.00 %" in summary(text)
    assert "On digits, among MobileNetV2 and the network" in summary(text)


def test_one_network_that_is_clearly_better_than_one_answer_for_all_keeps_the_comparison(experiment, write_report):
    options = {"classes": list("abcd"), "n_test": 60, "validation_accuracy": 0.1}
    better = experiment("signs", "mobilenet_v2", accuracy=0.5, **options)
    text = summary(write_report(*poor(experiment), better))
    assert POOR not in text
    assert text.startswith("On signs, ResNet50 was best on validation and has 25.00 % test accuracy")


def test_a_single_network_is_compared_with_one_answer_for_all(experiment, write_report):
    text = summary(write_report(guesses(experiment, "vgg16")))
    assert text.startswith(f"On digits, VGG-16 is not {POOR}10.00 % of the test images: it has 10.00 % test accuracy (")


def test_two_seeds_that_have_learned_count_though_their_interval_is_very_wide(experiment, write_report):
    runs = [experiment(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.3, 0.9))]
    text = summary(write_report(*runs))
    low = re.search(r"reached 60.00 % test accuracy \(95 % interval ([\d.]+) to", text)
    assert low
    assert float(low[1]) < 10


def test_imbalanced_classes_may_be_known_by_a_network_with_no_more_images_right(experiment, write_report):
    """Nine of ten images are of one class; both networks have nine of ten images right."""
    place = np.arange(200)
    rare = (place % 10 == 0).astype(int)

    def opening(predicted):
        classes = ["usual", "rare"]
        directory = experiment(classes=classes, n_test=200)
        write_predictions(directory, rare, predicted, 2)
        metrics = read_json(directory / "metrics.json")
        metrics["test"] = made_up_results._test_metrics(rare, predicted, 0.9, classes)
        write_json(directory / "metrics.json", metrics)
        return summary(write_report(directory))

    assert f"ResNet50 is not {POOR}90.00 % of" in opening(np.zeros(200, int))
    assert "ResNet50 reached 90.00 % test accuracy" in opening(np.where(place % 10 == 1, 1, rare))
    even = experiment("even", classes=["a", "b"], accuracy=20 / 30, n_test=30)
    assert f"ResNet50 is not {POOR}50.00 % of" in summary(write_report(even))


def test_few_test_images_do_not_show_that_a_network_only_guesses(experiment, write_report):
    few = experiment(model="vgg16", accuracy=0.1, n_test=10)
    assert "did not learn" not in summary(write_report(experiment(accuracy=1.0, n_test=10), few))


def test_a_sweep_of_a_network_that_only_guesses_gets_no_advice_on_values(experiment, write_report):
    runs = [
        experiment(recipe=f"quick,lr={rate}", lr=rate, seed=seed, accuracy=0.1, validation_accuracy=0.1 + rate)
        for rate in (0.01, 0.03, 0.1)
        for seed in range(2)
    ]
    assert "values of" not in " ".join(steps(write_report(*runs)))


def test_recipes_that_differ_in_words_or_in_several_options_are_no_sweep(experiment, write_report):
    runs = [experiment(recipe=f"r{rate}", lr=rate, seed=seed) for rate in (0.01, 0.03, 0.1) for seed in range(2)]
    for place, folder in enumerate(runs):
        set_recipe(folder, schedule=("linear", "cosine", "one_cycle")[place // 2])
    assert "values of" not in " ".join(steps(write_report(*runs)))


def test_what_more_trials_gain_is_a_sentence_of_the_report(experiment, write_report):
    runs = [experiment(recipe=f"r{n}", validation_accuracy=(90 + n) / 100) for n in range(5)]
    few = [experiment(model="vgg16", recipe=f"r{n}") for n in range(2)]
    text = unescape(write_report(*runs, *few))
    assert (
        "Expected best validation accuracy by the number of recipes tried: ResNet50 92.00 % after 1, 93.80 % after 4"
        " and 94.00 % after 5.\n"
    ) in text
    assert "Expected best" not in write_report(*few)
    text = write_report(*runs, experiment(recipe="short", epochs=4))
    assert "after 5. Recipes with fewer epochs than others of their network are not counted." in text
