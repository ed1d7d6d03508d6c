"""Validation accuracy at equal training time: where runs are compared, and that the numbers are on the lines."""

import numpy as np
import pytest
from drawn import comparison_of, rendered

from deepnets.figures import accuracy_at_equal_time

TWO = ({"model": "vgg16", "accuracy": 0.8, "wall_seconds": 100}, {"model": "mobilenet_v2", "wall_seconds": 20})


@pytest.fixture
def draw(tmp_path):
    """The axes of the figure of experiments given as keyword arguments."""

    def axes_of(*runs):
        return rendered(accuracy_at_equal_time.draw(comparison_of(tmp_path, *runs))).axes[0]

    return axes_of


def dashed_line(axes):
    [dashed] = [line for line in axes.lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]
    assert dashed.get_linestyle() == "--"
    return dashed.get_xdata()[0]


def numbers(axes):
    """The accuracy after each name."""
    return {name: number for name, _, number in (text.get_text().rpartition("  ") for text in axes.texts)}


def seen_at(axes, line, seconds):
    """The height at which a reader of the picture sees a line cross a time, as the numbers are written."""
    (x, _), (xs, ys) = axes.transData.transform((seconds, 0)), axes.transData.transform(line.get_xydata()).T
    return f"{axes.transData.inverted().transform((x, np.interp(x, xs, ys)))[1]:.1f}"


def test_the_number_after_a_name_is_where_its_line_crosses_the_dashed_line(draw):
    axes = draw({"wall_seconds": 900, "epochs": 2}, {"model": "mobilenet_v2", "wall_seconds": 600, "epochs": 2})
    assert dashed_line(axes) == pytest.approx(600)
    long, short = axes.lines[:2]
    found = {"ResNet50": seen_at(axes, long, 600), "MobileNetV2": f"{short.get_ydata()[-1]:.1f}"}
    assert numbers(axes) == found
    linear = float(np.interp(600, long.get_xdata(), long.get_ydata()))
    assert numbers(axes)["ResNet50"] != f"{linear:.1f}"


def test_runs_are_compared_where_the_shortest_one_ends(draw):
    axes = draw(*TWO)
    assert dashed_line(axes) == pytest.approx(20)
    assert axes.get_title("left") == "numbers: at the dashed line, 20.0\xa0s, where the shortest run ends"
    assert axes.get_xlabel() == "Time of training steps (log scale), Some CPU, 2 threads"


def test_where_a_run_needs_longer_for_an_epoch_the_others_keep_their_last_accuracy(draw):
    axes = draw(*TWO, {"model": "resnet50", "wall_seconds": 2000, "epochs": 2})
    assert dashed_line(axes) == pytest.approx(1000)
    title = "numbers: at the dashed line, 16\xa0min\xa040\xa0s, where every run has been validated"
    assert axes.get_title("left") == title
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [[100, 1000], [20, 1000]]
    curves = [line for line in axes.lines if line.get_markersize() == 4]
    last = [curve.get_ydata()[-1] for curve in curves[:2]]
    assert [list(line.get_ydata()) for line in dotted] == [[last[0]] * 2, [last[1]] * 2]
    assert numbers(axes) == {
        "VGG-16": f"{last[0]:.1f}",
        "MobileNetV2": f"{last[1]:.1f}",
        "ResNet50": f"{curves[2].get_ydata()[0]:.1f}",
    }


def test_runs_that_were_all_validated_once_are_not_compared_at_equal_time(draw):
    runs = [{"model": f"net{n}", "epochs": 1, "wall_seconds": 20 * n, "accuracy": 0.9 - n / 50} for n in (1, 2, 3, 4)]
    axes = draw(*runs)
    assert axes.get_title("left") == "each run was validated only once, at its end"
    assert not [line for line in axes.lines if len(line.get_xdata()) == 2]
    of_curves = [f"{line.get_ydata()[0]:.1f}" for line in axes.lines if line.get_markersize() == 4]
    assert numbers(axes) == {f"net{n}": number for n, number in enumerate(of_curves, 1)}


def test_the_recipe_that_validation_chose_is_shown_with_each_seed(draw):
    runs = [{"recipe": "a", "validation_accuracy": 0.5, "wall_seconds": 1}, *({"seed": seed} for seed in range(3))]
    axes = draw(*runs, {"model": "vgg16"})
    assert len([line for line in axes.lines if line.get_markersize() == 4]) == 3 + 1
    assert dashed_line(axes) == pytest.approx(60)


def test_of_many_networks_no_numbers_are_promised(draw):
    axes = draw(*({"model": f"net{i}"} for i in range(13)))
    assert axes.get_title("left") == "dashed line: 1\xa0min\xa000\xa0s, where the shortest run ends"
    assert not axes.texts
