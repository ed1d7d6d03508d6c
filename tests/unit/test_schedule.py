"""Each training has so many threads that the study ends soonest."""

import itertools
import random
import statistics
import time

import pytest

from deepnets.config.loader import load_config
from deepnets.planning.estimates import core_seconds, memory_mb
from deepnets.planning.threads import Training, choose_threads, speed_up, study_seconds

# Like the study paper: ResNet50 and MobileNetV2 on CIFAR-10, Inception V3, ResNet50, VGG-16 and MobileNetV2 on MNIST.
PAPER = [Training(seconds, 2000) for seconds in (2270, 1280, 1140, 740, 660, 140)]


def threads(trainings, cores, memory_mb=None):
    """Threads of each training, in their order."""
    chosen = choose_threads(trainings, cores, memory_mb)
    return [chosen[training] for training in trainings]


def ends(trainings, numbers, cores, memory_mb=10**9):
    """When the last training has ended, where all of them differ and wait in this order."""
    return study_seconds(dict.fromkeys(trainings, 1), dict(zip(trainings, numbers, strict=True)), cores, memory_mb)


# -- which trainings have more than one thread -------------------------------------------------------------------------


def test_where_no_core_would_be_idle_each_has_one():
    assert threads(PAPER, 1) == threads(PAPER, 2) == [1] * 6


@pytest.mark.parametrize("cores", [4, 6, 8, 16])
def test_longest_has_more_where_the_others_would_end_long_before_it(cores):
    chosen = threads(PAPER, cores)
    assert chosen[0] == max(chosen) > 1
    assert ends(PAPER, chosen, cores) < ends(PAPER, [1] * 6, cores) / 1.05


def test_shortest_has_fewer_than_the_longest_where_there_are_cores_for_all():
    chosen = threads(PAPER, 8)
    assert chosen[0] > chosen[-1] == 1


def test_one_training_has_all_cores():
    assert threads(PAPER[:1], 16) == [16]


def test_equal_trainings_share_the_cores_and_have_equal_threads():
    assert threads(PAPER[:1] * 3, 6) == [2, 2, 2]
    assert threads(PAPER[:1] * 3, 5) == [1, 1, 1]  # with two each, one would run alone


def test_trainings_for_which_memory_is_too_small_at_once_have_all_cores_in_turn():
    assert threads(PAPER, 4, memory_mb=3999) == [4] * 6
    assert threads(PAPER, 4, memory_mb=1000) == [4] * 6  # too little even for one, which then runs alone


def test_memory_for_two_at_once_gives_each_half_of_the_cores():
    assert threads(PAPER[:1] * 4, 8, memory_mb=4000) == [4] * 4


def test_only_those_that_keep_others_from_running_have_more_for_it():
    large, small = Training(1000, 9000), [Training(200 + number, 1000) for number in range(4)]
    chosen = threads([large, *small], 4, memory_mb=9000)
    assert chosen[0] == 4
    assert max(chosen[1:]) < 4


def test_trainings_of_no_length_have_one_thread_as_starting_takes_as_long_with_several():
    assert threads([Training(0.1, 1000)] * 3, 8) == [1] * 3


def test_three_percent_are_not_worth_several_threads():
    """The third of three on two cores leaves one of them idle; starting three times in turn takes time too."""
    gains = [2 * each.seconds(1) / (3 * each.seconds(2)) for each in (Training(60, 1000), Training(500, 1000))]
    assert gains == pytest.approx([1.03, 1.11], abs=0.01)
    assert threads([Training(60, 1000)] * 3, 2) == [1] * 3
    assert threads([Training(500, 1000)] * 3, 2) == [2] * 3


def test_order_of_the_trainings_changes_no_choice():
    chosen = choose_threads(PAPER, 8)
    assert len(set(chosen.values())) > 1
    assert all(choose_threads(PAPER[start:] + PAPER[:start], 8) == chosen for start in range(6))


def test_of_all_choices_hardly_one_would_end_sooner():
    """Played through are all threads of each training, in a hundred studies of four trainings at most."""
    rng, shares = random.Random(0), []
    for _ in range(100):
        mix = [Training(rng.uniform(50, 2000), rng.choice([1000, 2000, 3000])) for _ in range(rng.randint(2, 4))]
        trainings, cores, memory = sorted(mix, reverse=True), rng.choice([2, 3, 4]), rng.choice([5000, 10**9])
        all_choices = itertools.product(range(1, cores + 1), repeat=len(mix))
        best = min(ends(trainings, numbers, cores, memory) for numbers in all_choices)
        shares.append(ends(trainings, threads(trainings, cores, memory), cores, memory) / best)
    assert statistics.mean(shares) < 1.04
    assert max(shares) < 1.25


@pytest.mark.parametrize(
    ("trainings", "memory"),
    [
        ([Training(300, 2000)] * 1000, None),
        ([Training(300 + number, 2000) for number in range(1000)], None),
        ([Training(300, 2000)] * 1000 + [Training(90_000, 2000)], None),
        ([Training(300 + number % 10, 2000 + number % 10) for number in range(1000)], 16_000),
    ],
    ids=["equal", "unequal", "one giant", "little memory"],
)
def test_thousand_trainings_on_64_cores_are_planned_at_once(trainings, memory):
    start = time.process_time()
    choose_threads(trainings, 64, memory)
    assert time.process_time() - start < 2  # a tenth of it where nothing else runs


def test_one_giant_among_many_has_more_and_they_have_one():
    chosen = choose_threads([Training(300, 2000)] * 1000 + [Training(90_000, 2000)], 64)
    assert chosen[Training(300, 2000)] == 1
    assert chosen[Training(90_000, 2000)] > 4


# -- what it reckons with ----------------------------------------------------------------------------------------------


def test_two_threads_are_as_fast_as_measured_and_each_further_one_adds_less():
    assert 1.61 < speed_up(2) < 1.89
    gains = [speed_up(number + 1) - speed_up(number) for number in range(1, 64)]
    assert speed_up(1) == 1
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0


def test_study_ends_with_the_training_that_ends_last():
    one, two = Training(100, 1000), Training(50, 1000)
    both = {one: 1, two: 2}
    assert study_seconds(both, {one: 1, two: 1}, 2, 9999) == 120  # the two short ones after each other
    assert study_seconds(both, {one: 1, two: 1}, 3, 9999) == 110
    assert study_seconds(both, {one: 1, two: 1}, 3, 2500) == 120  # memory for two
    assert study_seconds(both, {one: 2, two: 1}, 2, 9999) == pytest.approx(60 + 10 + 100 / speed_up(2))


@pytest.mark.parametrize("study", ["demo", "paper", "paper_jpeg"])
def test_on_two_cores_trainings_of_the_studies_here_have_a_thread_each(root, study):
    """The runs in docs/ were made so."""
    config = load_config(root / "config.yaml")
    trainings = [
        Training(core_seconds(e.spec, shape, 1437 if study == "demo" else 60_000), memory_mb(e.spec, shape))
        for e in config.experiments(study)
        for shape in [config.datasets[e.dataset].input_shape]
    ]
    assert set(threads(trainings, 2)) == {1}
