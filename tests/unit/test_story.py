"""What follows from a report: the cheapest of those that tie, and what to run next."""

import re
from html import unescape

from made_up_results import write_latency
from report_pages import set_recipe, set_timing, summary

from deepnets.reporting import story
from deepnets.reporting.study import Missing


def steps(text):
    """The lines on what to run next."""
    if "What to run next:" not in text:
        return []
    lines = text.split("What to run next:\n\n")[1].split("\n\n")[0].splitlines()
    return [re.sub("</?code>|</?span>", "", unescape(line)).removeprefix("- ") for line in lines]


def tie(experiment, **options):
    """Two networks that cannot be distinguished; the second is larger, and trained in less time."""
    small = experiment(model="mobilenet_v2", accuracy=0.95, wall_seconds=90, **options)
    return small, experiment(model="vgg16", accuracy=0.94, wall_seconds=30, **options)


def test_the_cheapest_in_use_and_in_training_of_those_that_tie_are_named(experiment, write_report):
    small, large = tie(experiment)
    for folder, seconds in ((small, 0.002), (large, 0.0123)):
        write_latency(folder, seconds)
    worse = experiment(model="resnet50", accuracy=0.5, wall_seconds=1)
    text = summary(write_report(small, large, worse, optional=("latency",))).replace("\N{NO-BREAK SPACE}", " ")
    words = "in use is MobileNetV2 (2.00 ms for an image), in training VGG-16 (30.0 s)."
    assert f"Of the best and the one that ties with it, the cheapest {words}" in text


def test_without_latency_the_cost_in_use_is_multiply_adds(experiment, write_report):
    text = summary(write_report(*tie(experiment))).replace("\N{NO-BREAK SPACE}", " ")
    assert "the cheapest in use is MobileNetV2 (100,000,000 multiply-adds for an image), in training VGG-16" in text


def test_one_that_is_cheapest_in_both_is_named_once(experiment, write_report):
    runs = [experiment(model=model, wall_seconds=seconds) for model, seconds in (("vgg16", 5), ("resnet50", 9))]
    text = summary(write_report(*runs)).replace("\N{NO-BREAK SPACE}", " ")
    assert "is VGG-16, in use (100,000,000 multiply-adds for an image) and in training (5.0 s)." in text


def test_where_runs_had_unlike_threads_the_cheapest_in_training_took_the_least_cpu_time(experiment, write_report):
    shared = experiment(model="mobilenet_v2", accuracy=0.95, wall_seconds=90, threads=1)
    alone = experiment(model="vgg16", accuracy=0.94, wall_seconds=30, threads=4)
    text = summary(write_report(shared, alone)).replace("\N{NO-BREAK SPACE}", " ")
    assert "the cheapest is MobileNetV2, in use (100,000,000 multiply-adds for an image) and in training" in text
    assert "in training (1 min 21 s of CPU time)." in text
    assert "training took 1 min 21 s to 1 min 48 s of CPU time." in text
    for folder in (shared, alone):
        set_timing(folder, cpu_seconds=None)
    text = summary(write_report(shared, alone)).replace("\N{NO-BREAK SPACE}", " ")
    assert "in training VGG-16 (30.0 s)." in text
    assert "training took 30.0 s to 1 min 30 s." in text


def test_of_many_datasets_three_are_named(experiment, write_report):
    runs = [experiment(f"set{place}", model) for place in range(5) for model in ("vgg16", "resnet50")]
    text = write_report(*runs)
    assert "on set2, of the best and the one that ties with it, the cheapest is VGG-16" in summary(text)
    assert "; the tables below have that of 2 more." in summary(text)
    assert steps(text)[0].startswith("Three or more seeds of the best networks on 5 datasets (seeds: [0, 1, 2]): ")


def test_where_one_is_best_nothing_ties(experiment, write_report):
    text = summary(write_report(experiment(model="vgg16", accuracy=0.5), experiment(model="resnet50", accuracy=0.95)))
    assert "with it, the cheapest" not in text


def test_networks_with_one_seed_that_tie_need_more_seeds(experiment, write_report):
    [step] = steps(write_report(*tie(experiment)))
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
        r"About \d+ seeds each of ResNet50 and VGG-16 on digits, which would show which is better\.", step
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
    def sweep(best):
        rates = (0.01, 0.03, 0.1)
        return [
            experiment(recipe=f"quick,lr={rate}", lr=rate, seed=seed, validation_accuracy=0.9 + 0.05 * (rate == best))
            for rate in rates
            for seed in range(2)
        ]

    largest = "ResNet50 on digits with larger values of lr: the largest of 3, 0.1, is best on validation."
    smallest = "ResNet50 on digits with smaller values of lr: the smallest of 3, 0.01, is best on validation."
    assert steps(write_report(*sweep(0.1))) == [largest]
    assert steps(write_report(*sweep(0.03))) == []
    assert steps(write_report(*sweep(0.01))) == [smallest]


def test_recipes_that_differ_in_words_or_in_several_options_are_no_sweep(experiment, write_report):
    runs = [experiment(recipe=f"r{rate}", lr=rate, seed=seed) for rate in (0.01, 0.03, 0.1) for seed in range(2)]
    for place, folder in enumerate(runs):
        set_recipe(folder, schedule=("linear", "cosine", "one_cycle")[place // 2])
    assert steps(write_report(*runs)) == []


def test_what_more_trials_gain_is_a_sentence_of_the_report(experiment, write_report):
    runs = [experiment(recipe=f"r{n}", validation_accuracy=(90 + n) / 100) for n in range(5)]
    few = [experiment(model="vgg16", recipe=f"r{n}") for n in range(2)]
    text = unescape(write_report(*runs, *few))
    assert "gains to try more recipes, by the expected best validation accuracy: ResNet50 92.00 %, 93.80 %" in text
    assert "and 94.00 % after 1, 4 and 5 recipes. Recipes with fewer epochs" in text
    assert "gains to try more" not in write_report(*few)
