"""Figures of many runs, and of runs that shared the cores: names that do not collide, times that compare."""

import itertools
from functools import partial

import pytest
from drawn import comparison_of, front_of, rendered, texts
from matplotlib.transforms import Bbox

from deepnets.figures import accuracy_at_equal_time, accuracy_vs_budget, accuracy_vs_time, load

TWO = ({"model": "vgg16", "accuracy": 0.8, "wall_seconds": 100}, {"model": "mobilenet_v2", "wall_seconds": 20})


@pytest.fixture
def compare(tmp_path):
    """A Comparison of experiments given as keyword arguments."""
    return partial(comparison_of, tmp_path)


LONG_NAMES = [{"model": f"a_rather_long_network_name_{i}", "wall_seconds": 20 + 3 * i} for i in range(40)]


def inside(figure, box):
    return Bbox.intersection(box, figure.bbox).bounds == pytest.approx(box.bounds)


@pytest.mark.parametrize("runs", [12, 40])
def test_names_that_would_crowd_the_points_are_in_a_legend(compare, runs):
    figure = rendered(accuracy_vs_time.draw(compare(*LONG_NAMES[:runs])))
    assert not figure.axes[0].texts
    front, others = 1, int(runs > 12)
    assert len({text.get_text() for text in figure.legends[0].get_texts()}) == 12 + others + front


def test_of_a_sweep_of_40_recipes_the_legend_has_the_chosen_ones(compare):
    runs = [
        {"model": model, "recipe": f"quick,lr={rate}", "accuracy": 0.8 + rate / 10, "wall_seconds": 20 + 100 * rate}
        for rate in (place / 10 for place in range(1, 11))
        for model in ("vgg16", "resnet50", "mobilenet_v2", "my_net")
    ]
    figure = rendered(accuracy_vs_time.draw(compare(*runs)))
    named = [text for text in texts(figure) if "(quick, lr" in text]
    assert sorted(set(named)) == [f"{name} (quick, lr 1.0)" for name in ("MobileNetV2", "ResNet50", "VGG-16", "my_net")]
    names = [text for text in figure.axes[0].texts if text.get_text() in named]
    boxes = [text.get_window_extent() for text in names]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(inside(figure, box) for box in boxes)


@pytest.mark.parametrize("runs", [20, 40])
@pytest.mark.parametrize("name", ["accuracy_vs_time", "accuracy_at_equal_time", "risk_coverage", "corruptions"])
def test_a_legend_of_many_long_names_is_inside_the_figure(compare, name, runs):
    figure = rendered(load(name).draw(compare(*LONG_NAMES[:runs])))
    assert inside(figure, figure.legends[0].get_window_extent())


def test_names_at_the_ends_of_many_lines_stay_next_to_the_axes(compare):
    axes = rendered(accuracy_at_equal_time.draw(compare(*LONG_NAMES[:12]))).axes[0]
    heights = sorted(text.xy[1] for text in axes.texts)
    assert len(heights) == 12
    assert max(heights) <= 1 + 1e-9
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 0.075 - 1e-9


def test_where_runs_had_unlike_threads_their_time_is_cpu_time(compare):
    shared, alone = {**TWO[0], "threads": 1}, {**TWO[1], "threads": 4}
    figure = accuracy_vs_time.draw(compare(shared, alone))
    label = "CPU time of training (log scale),\nSome CPU, different numbers of threads"
    assert figure.axes[0].get_xlabel() == label
    assert front_of(figure)[0][0] == pytest.approx(0.9 * 4 * 20)
    by_epoch = accuracy_at_equal_time.draw(compare(shared, alone)).axes[0]
    assert by_epoch.get_xlabel().startswith("CPU time of training steps")
    assert [line.get_xdata()[-1] for line in by_epoch.lines[:2]] == [
        pytest.approx(0.9 * 100),
        pytest.approx(0.9 * 4 * 20),
    ]
    assert "Wall time" in accuracy_vs_time.draw(compare(*TWO)).axes[0].get_xlabel()


def test_where_the_cpu_time_of_one_run_is_unknown_all_have_wall_time(compare):
    comparison = compare({**TWO[0], "threads": 1}, {**TWO[1], "threads": 4})
    comparison.groups[0].results[0].timing.cpu_seconds = None
    label = accuracy_vs_time.draw(comparison).axes[0].get_xlabel()
    assert label == "Wall time of training (log scale), Some CPU, different numbers of threads"
    assert [line.get_xdata()[-1] for line in accuracy_at_equal_time.draw(comparison).axes[0].lines[:2]] == [100, 20]


def test_the_budget_in_time_is_cpu_time_where_runs_had_unlike_threads(compare):
    budgets = [{"recipe": f"b{epochs}", "epochs": epochs, "threads": epochs, "wall_seconds": 10} for epochs in (1, 2)]
    _, by_time = accuracy_vs_budget.draw(compare(*budgets)).axes
    assert by_time.get_xlabel().startswith("CPU time of training")
    [line] = [line for line in by_time.lines if len(line.get_xdata()) == 2]
    assert list(line.get_xdata()) == [pytest.approx(9), pytest.approx(18)]
