"""The figures of accuracy against a cost: the Pareto front, the names next to it, and each cost."""

import itertools
import re
from functools import partial

import pytest
from drawn import comparison_of, front_of, rendered, texts
from matplotlib.transforms import Bbox
from report_pages import set_timing

from deepnets.figures import (
    accuracy_vs_latency,
    accuracy_vs_memory,
    accuracy_vs_mult_adds,
    accuracy_vs_parameters,
    accuracy_vs_throughput,
    accuracy_vs_time,
)

NAMES = ("ResNet50", "MobileNetV2", "VGG-16")
TWO = ({"model": "vgg16", "accuracy": 0.8, "wall_seconds": 100}, {"model": "mobilenet_v2", "wall_seconds": 20})


@pytest.fixture
def compare(tmp_path):
    """A Comparison of experiments given as keyword arguments."""
    return partial(comparison_of, tmp_path)


def front_line(figure):
    [line] = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    return line


# -- the front --------------------------------------------------------------------------------------------------------


def test_pareto_front_leaves_out_who_is_neither_cheaper_nor_more_accurate(compare):
    options = [{"accuracy": 0.9, "wall_seconds": 100}, {"model": "vgg16", "accuracy": 0.8, "wall_seconds": 200}]
    options += [{"model": "mobilenet_v2", "accuracy": 0.75, "wall_seconds": 10}]
    comparison = compare(*options)
    assert front_of(accuracy_vs_time.draw(comparison)) == [(10, pytest.approx(75)), (100, pytest.approx(90))]
    of_size = [(1_814_346, pytest.approx(75)), (23_519_690, pytest.approx(90))]
    assert front_of(accuracy_vs_parameters.draw(comparison)) == of_size


def test_of_a_network_with_several_recipes_the_front_takes_the_one_that_validation_chose(compare):
    runs = [{"recipe": "a", "accuracy": 0.9, "validation_accuracy": 0.5}, {"accuracy": 0.8, "wall_seconds": 20}]
    assert front_of(accuracy_vs_time.draw(compare(*runs))) == [(20, pytest.approx(80))]


def test_equal_multiply_adds_leave_the_most_accurate_on_the_front(compare):
    assert front_of(accuracy_vs_mult_adds.draw(compare(*TWO))) == [(10**8, pytest.approx(100 * 349 / 360))]


@pytest.mark.parametrize("runs", [1, 2, 40])
def test_each_point_of_the_front_has_a_ring_that_the_legend_explains(compare, runs):
    figure = accuracy_vs_time.draw(compare(*({"model": f"net{n}", "wall_seconds": 20 + n} for n in range(runs))))
    line = front_line(figure)
    assert (line.get_marker(), line.get_markerfacecolor()) == ("o", "none")
    assert len(line.get_xdata()) == 1
    explained = "Pareto front" if runs == 40 else "Pareto front: no other one is as accurate at the same cost or less"
    assert texts(figure.legends[0])[-1] == explained


def test_where_a_recipe_that_validation_did_not_choose_may_be_better_the_legend_names_the_front_of_the_chosen(compare):
    runs = [{"recipe": "a", "accuracy": 0.9, "validation_accuracy": 0.5}, {"recipe": "b", "accuracy": 0.8}]
    assert texts(accuracy_vs_time.draw(compare(*runs)).legends[0])[-1] == "Pareto front of the chosen recipes"


@pytest.mark.parametrize(("seconds", "leads"), [(100.5, True), (400, False)])
def test_a_line_leads_from_a_name_to_its_point_where_another_point_is_near(compare, seconds, leads):
    runs = [
        {"model": "resnet50", "accuracy": 0.8172, "wall_seconds": 100, "n_test": 10_000},
        {"model": "mobilenet_v2", "accuracy": 0.8037, "wall_seconds": seconds, "n_test": 10_000},
        {"model": "vgg16", "accuracy": 0.4, "wall_seconds": 900, "n_test": 10_000},
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*runs)))
    [axes] = figure.axes
    lines = [line for line in axes.lines if line.get_linewidth() == 0.8]
    assert bool(lines) is leads
    points = {name: (run["wall_seconds"], 100 * run["accuracy"]) for name, run in zip(NAMES, runs, strict=True)}
    names = {text.get_color(): points[text.get_text()] for text in axes.texts if text.get_text() in points}
    for line in lines:
        assert line.get_xydata()[1] == pytest.approx(names[line.get_color()])


@pytest.mark.parametrize("apart", [1.5, 4])
def test_names_do_not_cover_the_front(compare, apart):
    runs = [
        {"model": "resnet50", "accuracy": 0.7436, "wall_seconds": 100 * apart},
        {"model": "mobilenet_v2", "accuracy": 0.731, "wall_seconds": 100},
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*({**run, "n_test": 10_000} for run in runs))))
    to_pixels = figure.axes[0].transData.transform
    (x, y), (next_x, next_y) = to_pixels(front_of(figure))
    steps = [Bbox([(x, y), (next_x, y)]).padded(1), Bbox([(next_x, y), (next_x, next_y)]).padded(1)]
    names = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(names) == 2
    assert not any(name.overlaps(step) for name in names for step in steps)


def test_names_that_have_room_in_another_order_than_that_of_the_study_are_next_to_their_points(compare):
    """As in docs/runs/networks: ResNet18, written before it, took the last place of MobileNet V3 Small."""
    networks = {
        **{"VGG-16": (19.97, 0.7323), "Inception V3": (12.81, 0.6293), "ResNet50": (11.31, 0.6387)},
        **{"ResNet18": (5.43, 0.7866), "ResNet9": (2.81, 0.8172), "MobileNetV2": (4.40, 0.7132)},
        **{"MobileNet V3 Small": (2.89, 0.8037), "EfficientNet B0": (6.01, 0.4069)},
        **{"RegNet Y 400MF": (6.22, 0.7552), "ConvNeXt Atto": (4.51, 0.5149)},
    }
    runs = [
        {"model": name, "wall_seconds": seconds, "accuracy": accuracy, "n_test": 10_000}
        for name, (seconds, accuracy) in networks.items()
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*runs)))
    names = figure.axes[0].texts
    assert {name.get_text() for name in names} == networks.keys()
    boxes = [name.get_window_extent() for name in names]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


# -- the costs --------------------------------------------------------------------------------------------------------


def test_latency_is_in_milliseconds_and_its_axis_names_the_machine(compare):
    figure = rendered(accuracy_vs_latency.draw(compare(*TWO)))
    assert figure.axes[0].get_xlabel() == "Time for one image (ms, log scale), Some CPU, 4 threads"
    assert front_of(figure)[0][0] == pytest.approx(1000 * 1_814_346 / 1e10)
    assert {"1", "10"} <= {label.get_text() for label in figure.axes[0].get_xticklabels()}


def test_throughput_is_shown_as_the_time_per_image_so_that_less_is_better(compare):
    figure = accuracy_vs_throughput.draw(compare(*TWO))
    assert figure.axes[0].get_xlabel() == "Time per image in a batch (ms, log scale), Some CPU, 4 threads"
    assert front_of(figure)[0][0] == pytest.approx(1000 * 1_814_346 / 1e10 / 5)


def test_memory_is_the_peak_of_the_training_runs_of_a_network_and_its_axis_names_the_machine(compare):
    comparison = compare(TWO[0], *({**TWO[1], "seed": seed} for seed in range(2)))
    results = [result for group in comparison.groups for result in group.results]
    for result, peak in zip(results, (3067, 900, 1015), strict=True):
        result.timing.peak_memory_mb = peak
    figure = rendered(accuracy_vs_memory.draw(comparison))
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Peak memory of training (log scale), Some CPU, 2 threads"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1 GB", "2 GB"]
    assert sorted(bars[0].get_xdata()[0] for bars in axes.containers) == [1015, 3067]


def test_where_the_memory_of_a_run_is_unknown_the_report_says_nothing_of_it(compare, experiment, write_report):
    directories = [experiment(**run) for run in TWO]
    set_timing(directories[0], peak_memory_mb=1000)
    assert "digits/comparison/accuracy_vs_memory.png" in write_report(*directories)
    set_timing(directories[0], peak_memory_mb=None)
    text = write_report(*directories)
    assert "accuracy_vs_memory" not in text
    assert "Test accuracy against peak memory" not in text
    comparison = compare(*TWO)
    comparison.groups[0].results[0].timing.peak_memory_mb = None
    figure = rendered(accuracy_vs_memory.draw(comparison))
    assert figure.get_suptitle() == "The peak memory of some training runs is unknown: digits"
    assert not figure.axes[0].axison


def test_costs_in_which_nothing_differs_by_a_tenth_are_not_shown(experiment, write_report):
    """Points on each other tell nothing: of time, memory, and all that is the same for the recipes of a network."""
    recipes = [experiment(recipe=name, wall_seconds=seconds) for name, seconds in (("a", 100), ("b", 109))]
    assert shown_costs(write_report(*recipes, optional=("latency",))) == set()
    longer = experiment(recipe="c", wall_seconds=111)
    set_timing(longer, peak_memory_mb=900.5 * 1.2)
    assert shown_costs(write_report(recipes[0], longer, optional=("latency",))) == {"time", "memory"}
    other = experiment(model="vgg16", wall_seconds=100)
    of_networks = {"parameters", "mult_adds", "latency", "throughput"}
    assert shown_costs(write_report(recipes[0], other, optional=("latency",))) == of_networks


def test_where_threads_differ_cpu_time_decides_whether_times_are_shown(experiment, write_report):
    alike = [experiment(recipe=str(threads), wall_seconds=100 / threads, threads=threads) for threads in (1, 2)]
    assert shown_costs(write_report(*alike)) == set()
    more = experiment(recipe="more", wall_seconds=100, threads=2)
    assert shown_costs(write_report(alike[0], more)) == {"time"}


def shown_costs(report):
    return set(re.findall(r"digits/comparison/accuracy_vs_(\w+)\.png", report))


def test_cost_is_on_a_log_axis_with_units(compare):
    by_size, by_time = accuracy_vs_parameters.draw(compare(*TWO)), accuracy_vs_time.draw(compare(*TWO))
    for figure in (by_size, by_time):
        assert (figure.axes[0].get_xscale(), figure.axes[0].get_ylabel()) == ("log", "Test accuracy (%)")
    assert "1 min" in [label.get_text() for label in by_time.axes[0].get_xticklabels()]
    assert by_time.axes[0].get_xlabel() == "Wall time of training (log scale), Some CPU, 2 threads"


@pytest.mark.parametrize(
    ("models", "ticks"),
    [
        (("resnet50", "vgg16"), ["20 million", "50 million", "100 million"]),
        (("mobilenet_v2", "vgg16"), ["10 million", "100 million"]),
    ],
)
def test_sizes_that_crowd_each_other_on_the_axis_give_way_to_powers_of_ten(compare, models, ticks):
    axes = accuracy_vs_parameters.draw(compare(*({"model": model} for model in models))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_times_of_different_machines_are_not_passed_off_as_one(compare):
    figure = accuracy_vs_time.draw(compare(TWO[0], {**TWO[1], "device_name": "Other CPU"}))
    assert figure.axes[0].get_xlabel().endswith("several machines")


def test_times_of_different_numbers_of_threads_say_so(compare):
    figure = accuracy_vs_time.draw(compare(TWO[0], {**TWO[1], "threads": 1}))
    assert figure.axes[0].get_xlabel().endswith("Some CPU, different numbers of threads")
