"""The figures that compare models: what they show, for many and few models, seeds and budgets."""

import itertools
from functools import partial

import numpy as np
import pytest
from drawn import comparison_of, rendered, texts
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox

from deepnets.comparison import selective
from deepnets.comparison.statistics_file import Bin
from deepnets.figures import (
    COMPARISON_FIGURES,
    accuracy,
    accuracy_vs_parameters,
    accuracy_vs_time,
    corruptions,
    examples,
    load,
    missed_by_all,
    ranking,
    reliability,
    risk_coverage,
)
from deepnets.figures.looks import COLORS


@pytest.fixture
def compare(tmp_path):
    """A Comparison of experiments given as keyword arguments."""
    return partial(comparison_of, tmp_path)


PICTURES = ("examples", "missed_by_all")  # of test images
OF_SOME = ("accuracy_vs_value", *PICTURES)  # figures that need not have all networks
ALL_IN_ROWS = ("accuracy", "ranking", "reliability", *OF_SOME)  # figures without a legend of the models
TWO = ({"model": "vgg16", "accuracy": 0.8, "wall_seconds": 100}, {"model": "mobilenet_v2", "wall_seconds": 20})


def test_networks_are_in_the_order_of_validation_whatever_their_test_accuracy(compare):
    lucky, chosen = {"model": "vgg16", "accuracy": 0.9}, {"model": "mobilenet_v2", "accuracy": 0.8}
    few = compare(lucky | {"validation_accuracy": 0.6}, chosen | {"validation_accuracy": 0.7})
    order = ["MobileNetV2", "VGG-16"]
    assert [label.get_text() for label in accuracy.draw(few).axes[0].get_yticklabels()] == order
    panels = [axes.get_title("left").partition(",")[0] for axes in reliability.draw(few).axes]
    assert panels == order
    titles = [text for text in texts(examples.draw(few)) if text.endswith(": surest mistakes")]
    assert [title.removesuffix(": surest mistakes") for title in titles] == order


def test_of_many_models_those_that_are_best_on_validation_have_a_colour(tmp_path):
    runs = [
        {"model": f"net{n}", "accuracy": 0.5 + n / 100, "validation_accuracy": 0.9 - n / 100, "n_test": 100}
        for n in range(25)
    ]
    assert comparison_of(tmp_path, *runs).coloured == [f"net{n}" for n in range(12)]


def test_accuracy_is_ranked_with_its_interval_written_out(compare):
    figure = accuracy.draw(compare(*TWO))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MobileNetV2", "VGG-16"]
    assert axes.get_xlabel() == "Test accuracy (%)"
    assert "80.00  [75.56, 83.81]" in texts(axes)
    assert "one run each; 95 % interval of each trained network (Wilson)" in axes.get_title("left")


def test_reliability_has_a_panel_per_model_with_the_error_before_and_after(compare):
    comparison = compare(*TWO)
    figure = rendered(reliability.draw(comparison))
    titles = [axes.get_title("left") for axes in figure.axes]
    network = comparison.groups[1].candidate.networks[0]
    assert network.temperature == 1, "nothing to show after it"
    assert titles[0] == f"MobileNetV2, seed 0\nerror {100 * network.ece:.1f} %"
    network = comparison.groups[0].candidate.networks[0]
    after = f"{100 * network.with_temperature.ece:.1f} % after T = {network.temperature:.2f}"
    assert titles[1] == f"VGG-16, seed 0\nerror {100 * network.ece:.1f} %, {after}"
    dashed = [[line.get_linestyle() for line in axes.lines].count("--") for axes in figure.axes]
    assert dashed == [0, 1]


def test_reliability_has_the_interval_of_each_bin_its_number_of_images_and_what_is_below_the_line(compare):
    comparison = compare({"model": "vgg16", "accuracy": 0.8})
    [network] = comparison.groups[0].candidate.networks
    for calibration in (network, network.with_temperature):
        calibration.reliability[:] = [Bin(n=360, confidence=0.94, accuracy=0.8)]
    figure = rendered(reliability.draw(comparison))
    [axes] = figure.axes
    [bars] = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    [ends] = [segment[:, 1] for segment in bars[2][0].get_segments()]
    assert ends == pytest.approx([75.56, 83.81], abs=0.01)
    assert (
        "360 images per bin; error: calibration error;\nbars: 95 % intervals (Wilson); dashed: after temperature"
        in figure.get_supxlabel()
    )
    assert "below the line: too sure" in texts(axes)
    assert axes.get_xlim() == axes.get_ylim() == (70, 101)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_what_is_explained_below_the_panels_of_reliability_is_inside_the_figure(compare, number):
    comparison = compare(
        *({"model": model} for model in ("vgg16", "mobilenet_v2", "resnet50", "inception_v3")[:number])
    )
    for group in comparison.groups:
        for calibration in (network := group.candidate.networks[0], network.with_temperature):
            calibration.reliability[:] = [Bin(n=n, confidence=0.94, accuracy=0.8) for n in (1066, 10667)]
        network.temperature = 1.2
    figure = rendered(reliability.draw(comparison))
    explained = figure._supxlabel.get_window_extent()
    assert "1,066 to 10,667 images per bin;" in figure.get_supxlabel()
    assert figure.bbox.x0 <= explained.x0 < explained.x1 <= figure.bbox.x1


def test_risk_coverage_ends_at_the_error_of_all_images(compare):
    figure = risk_coverage.draw(compare(*TWO))
    by_coverage, sets = figure.axes
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in by_coverage.lines]
    assert ends == [(100, pytest.approx(20)), (100, pytest.approx(100 * 11 / 360))]
    assert len(sets.lines) == 3


def test_differences_of_coverage_below_the_noise_are_not_blown_up(compare):
    comparison = compare(*TWO)
    for group, coverage in zip(comparison.groups, (0.9501, 0.9504), strict=True):
        group.candidate.passes[0].conformal.coverage = coverage
        group.candidate.passes[0].conformal.mean_size = 0.95 + coverage / 100
    sets = risk_coverage.draw(comparison).axes[1]
    numbers = "with 144 validation and 360 test images,\n4.2 points can be chance (grey)"
    assert sets.get_title("left") == numbers
    [band] = sets.patches
    assert (band.get_y(), band.get_height()) == (pytest.approx(95 - 4.21, abs=0.01), pytest.approx(8.42, abs=0.02))
    assert sets.get_ylim() == pytest.approx((95 - 1.2 * 4.21, 95 + 1.2 * 4.21), abs=0.02)
    low, high = sets.get_xlim()
    assert (high - low, (low + high) / 2) == (pytest.approx(0.1), pytest.approx(0.9595, abs=0.001))


@pytest.mark.parametrize(("validation", "test"), [(144, 360), (1000, 200), (5000, 10_000)])
def test_coverage_of_conformal_sets_is_within_the_band_in_95_percent_of_cases(validation, test):
    rng, covered = np.random.default_rng(0), []
    for _ in range(2000):
        of_true = [rng.random((images, 1)) for images in (validation, test)]  # probabilities of the true class
        threshold = selective.conformal_threshold(of_true[0], np.zeros(validation, int))
        covered.append(selective.conformal_sets(of_true[1], threshold).mean())
    within = np.abs(np.array(covered) - 0.95) <= risk_coverage.chance(0.95, validation, test)
    assert 0.93 < within.mean() < 0.97


def test_corruptions_have_a_panel_per_kind_and_a_line_per_network_from_the_images_as_they_are(compare):
    seeds = [{"seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate((0.9, 0.7))]
    figure = rendered(corruptions.draw(compare(TWO[0], *seeds)))
    noise, jpeg = figure.axes[:2]
    assert [axes.get_title("left") for axes in (noise, jpeg)] == ["Noise", "JPEG"]
    vgg, resnet = noise.lines
    assert list(vgg.get_ydata()) == pytest.approx([80, 72, 64, 56])
    assert list(resnet.get_ydata()) == pytest.approx([80, 72, 64, 56])
    assert list(noise.get_xticks()) == [0, 1, 2, 3]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"VGG-16", "ResNet50"}


def test_examples_are_the_surest_mistakes_and_the_least_sure_hits_of_each_network(compare):
    comparison = compare(*TWO)
    best, other = rendered(examples.draw(comparison)).subfigs[::2]
    assert [best.get_suptitle(), other.get_suptitle()] == ["MobileNetV2: surest mistakes", "VGG-16: surest mistakes"]
    network, tile = comparison.groups[1].candidate.networks[0], best.axes[0]
    answer = network.confident_mistakes[0]
    assert tile.get_title() == f"{answer.label}\nas {answer.predicted}\n{100 * answer.probability:.1f} %"
    assert tile.get_xlabel() == f"image {answer.index}"
    assert tile.images[0].get_array().shape == (8, 8)


def test_a_network_without_a_mistake_has_no_picture_of_one(compare):
    mistakes, hits = rendered(examples.draw(compare({"accuracy": 1.0}))).subfigs
    assert mistakes.get_suptitle() == "ResNet50: surest mistakes: none"
    assert [len(part.findobj(AxesImage)) for part in (mistakes, hits)] == [0, 3]


def test_images_that_all_networks_miss_are_shown_those_with_labels_to_look_at_framed_and_first(compare):
    comparison = compare(*TWO)
    statistics = comparison.statistics
    missed = statistics.missed_by_all.images
    assert len(missed) > 1
    statistics.suspicious_labels.images[:] = [missed[-1]]
    figure = rendered(missed_by_all.draw(comparison))
    tiles = [axes for axes in figure.axes if axes.images]
    assert [tile.get_xlabel() for tile in tiles] == [each.name for each in (missed[-1], *missed[:-1])]
    assert [tile.spines["left"].get_visible() for tile in tiles] == [True, *[False] * (len(missed) - 1)]
    assert f"({len(missed)})" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (None, ""),
        (-1, "the other one: no network kept its picture"),
        (1, "the others: no network kept their pictures"),
        (0, "no network has kept a picture of these"),
    ],
)
def test_free_tiles_of_images_that_all_miss_have_a_reason(compare, monkeypatch, kept, reason):
    comparison, picture = compare(*TWO), np.zeros((8, 8, 1), np.uint8)
    missed = comparison.statistics.missed_by_all
    assert 2 < missed.count < 24
    indices = [each.index for each in missed.images][:kept]
    monkeypatch.setattr(
        missed_by_all, "kept_pictures", lambda _, needed: dict.fromkeys(needed.intersection(indices), picture)
    )
    figure = rendered(missed_by_all.draw(comparison))
    assert "".join(text.get_text() for text in figure.texts if text.get_text() != figure.get_suptitle()) == reason


def test_where_no_image_is_missed_by_all_the_figure_is_a_line(compare):
    figure = rendered(missed_by_all.draw(compare({"model": "vgg16", "accuracy": 1.0}, TWO[1])))
    assert figure.get_suptitle() == "No test image is predicted wrongly by every network: digits"
    assert ([axes.axison for axes in figure.axes], figure.get_figheight() < 1) == ([False], True)


def test_ranking_shows_each_pair_from_both_sides_and_the_letters_of_ties(compare):
    figure = ranking.draw(compare(*TWO, {"model": "resnet50", "accuracy": 0.96}))
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["MobileNetV2  a  1", "ResNet50  a  2", "VGG-16  b  3"]
    assert figure.get_suptitle() == "Which networks can be distinguished: digits"
    note = " ".join(figure.legends[0].get_title().get_text().split())
    numbers = "Difference in test accuracy, row minus column, percentage points."
    assert note == f"{numbers} The same letter: not distinguished."
    assert texts(figure.legends[0])[-1] == "open: the test found nothing"
    of_pairs = [patch for patch in axes.patches if not patch.get_hatch()]
    cells = {(patch.get_y() + 0.5, patch.get_x() + 0.5): patch.get_facecolor() for patch in of_pairs}
    assert len(cells) == 6
    hatched = [(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in axes.patches if patch.get_hatch()]
    assert hatched == [(0, 0), (1, 1), (2, 2)], "the diagonal, which would look open"
    better, worse, undecided = cells[0, 2], cells[2, 0], cells[0, 1]
    assert cells[1, 2] == better
    assert cells[1, 0] == undecided == (1, 1, 1, 1)
    assert len({better, worse, undecided}) == 3
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert (numbers[2, 0], numbers[0, 2]) == ("+16.94", "−16.94")


def test_rows_of_the_ranking_that_validation_did_not_choose_say_so(compare):
    runs = [{"recipe": name, "accuracy": 0.9, "validation_accuracy": share} for name, share in (("a", 0.6), ("b", 0.8))]
    figure = rendered(ranking.draw(compare(*runs, {"model": "vgg16", "accuracy": 0.5})))
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["ResNet50 (b)  a  1", "VGG-16 (quick)  b  2", "ResNet50 (a), not chosen  a  3"]


def test_long_names_of_the_ranking_are_inside_the_figure(compare):
    runs = [{"recipe": f"budget{n}_with_long_name", "accuracy": 0.9 + n / 400, "epochs": n} for n in range(1, 11)]
    figure = rendered(ranking.draw(compare(*runs)))
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0


def test_a_difference_of_zero_has_no_sign(compare):
    axes = ranking.draw(compare({"accuracy": 0.9}, {"model": "mobilenet_v2", "accuracy": 0.9})).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.00", "0.00"]


def test_ranking_of_many_recipes_shows_the_first_without_numbers_as_the_title_states(compare):
    recipes = ({"recipe": f"r{place}", "accuracy": 0.5 + place / 100} for place in range(40))
    figure = rendered(ranking.draw(compare(*recipes)))
    assert figure.get_suptitle() == "Which networks can be distinguished, 30 of 40: digits"
    assert len(figure.axes[0].get_yticks()) == 30
    assert not figure.axes[0].texts


def test_single_seeds_are_shown_next_to_their_mean(compare):
    seeds = [{"model": "vgg16", "seed": seed, "accuracy": 0.9 + seed / 100, "n_test": 1000} for seed in range(3)]
    axes = accuracy.draw(compare(*seeds)).axes[0]
    ticks = next(line for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3)
    assert ticks.get_xdata() == pytest.approx([90, 91, 92])
    assert "mean of 3 seeds" in axes.get_title("left")


def test_published_accuracies_are_hollow_markers_named_in_the_legend(compare):
    figure = accuracy.draw(compare(*TWO, published={"vgg16": {"published": 98.93}}))
    hollow = next(line for line in figure.axes[0].lines if line.get_label() == "published")
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([98.93], [1])
    assert hollow.get_markerfacecolor() == "none"
    assert "published" in texts(figure.legends[0])
    assert not accuracy.draw(compare(*TWO)).legends


def test_names_next_to_points_do_not_cover_each_other(compare):
    models = [{"model": f"net{i}", "accuracy": 0.97, "wall_seconds": 60 + i} for i in range(5)]
    figure = rendered(accuracy_vs_time.draw(compare(*models)))
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("net")]
    boxes = [name.get_window_extent() for name in names]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


NETWORKS = [
    {"model": model, "accuracy": 0.95, "wall_seconds": 60 * place}
    for place, model in enumerate(("vgg16", "inception_v3", "resnet50", "mobilenet_v2"), 1)
]
SWEEP = [{"recipe": f"quick,lr={n}", "accuracy": 0.8 + n / 300, "wall_seconds": 20 + n} for n in range(40)]
GRID = [
    {
        **{"model": model, "recipe": f"quick,epochs={epochs},lr={lr}", "epochs": epochs, "lr": lr},
        **{"accuracy": 0.8 + epochs / 100 + lr / 10 + more, "wall_seconds": 20 * epochs + 100 * more},
    }
    for model, more in (("vgg16", 0.03), ("resnet50", 0))
    for epochs in (2, 4)
    for lr in (0.01, 0.05, 0.2)
]


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        pytest.param(NETWORKS, 4, id="networks"),
        pytest.param(SWEEP, 1, id="a sweep"),
        pytest.param(GRID, 2, id="a grid of two networks"),
    ],
)
def test_names_next_to_points_cover_no_point_and_no_interval(compare, runs, chosen):
    figure = rendered(accuracy_vs_time.draw(compare(*runs)))
    [axes] = figure.axes
    to_pixels = axes.transData.transform
    segments = [bars.get_segments()[0] for container in axes.containers for bars in container[2]]
    bars = [Bbox(to_pixels(segment)).padded(5) for segment in segments]  # with the caps at their ends
    names = [text.get_window_extent() for text in axes.texts]
    assert len(bars) == len(names) == chosen
    small = [to_pixels(line.get_xydata()) for line in axes.lines if line.get_markersize() == 3]
    assert len(small) == len(runs) - chosen
    points = [Bbox([*point, *point]).padded(3) for point in small]
    assert not any(name.overlaps(mark) for name in names for mark in bars + points)


@pytest.mark.parametrize("count", [3, 13])
@pytest.mark.parametrize("name", [name for name in COMPARISON_FIGURES if name not in OF_SOME])
def test_models_and_recipes_whose_names_start_alike_have_different_names(compare, name, count):
    start = "the_same_letters_and_more_of_them_"
    runs = [
        {"model": f"{start}{index}", "recipe": f"{start}{epochs}", "epochs": epochs, "accuracy": 0.5 + index / 100}
        for index in range(count)
        for epochs in (1, 2)
    ]
    figure = load(name).draw(compare(*runs))
    names = {text for text in texts(figure) if text.startswith("the_same")}
    assert len(names) in ((2 * count,) if name in ("accuracy", "ranking") else (count, 2 * count))


def test_recipes_of_a_sweep_have_their_values_in_their_names(compare):
    recipes = ("quick", "quick,lr=0.03", "quick,lr=0.1")
    runs = [{"model": "resnet50", "recipe": each, "accuracy": 0.8 + i / 100} for i, each in enumerate(recipes)]
    rows = accuracy.draw(compare(*runs)).axes[0].get_yticklabels()
    assert [row.get_text() for row in rows] == [
        "ResNet50 (quick, lr 0.1)",
        "ResNet50 (quick, lr 0.03)",
        "ResNet50 (quick, lr 0.05)",
    ]
    drawn = texts(ranking.draw(compare(*runs)))
    assert any(text.startswith("ResNet50 (quick, lr 0.05), not chosen") for text in drawn)
    for module in (accuracy_vs_time, accuracy_vs_parameters):
        figure = module.draw(compare(*runs, {"model": "vgg16"}))
        assert "ResNet50 (quick, lr 0.1)" in texts(figure)


def test_more_models_than_names_fit_have_a_legend(compare):
    figure = accuracy_vs_time.draw(compare(*({"model": f"net{i}"} for i in range(13))))
    assert len(figure.legends[0].get_texts()) == 13 + 1  # the Pareto front
    assert not figure.axes[0].texts


def test_only_the_best_of_very_many_runs_are_shown_as_the_title_states(compare):
    groups = compare(*({"recipe": f"r{i}", "accuracy": 0.5 + i / 360} for i in range(100)))
    figure = rendered(accuracy.draw(groups))
    assert figure.get_suptitle() == "Test accuracy, the best 80 of 100: digits"
    assert len(figure.axes[0].get_yticks()) == 80
    for name in COMPARISON_FIGURES:
        rendered(load(name).draw(groups))


@pytest.mark.parametrize("name", [name for name in COMPARISON_FIGURES if name not in ALL_IN_ROWS])
def test_of_very_many_models_the_best_twelve_are_in_colour_and_named(compare, name):
    models = ({"model": f"net{i}", "accuracy": 0.5 + i / 360, "epochs": 1 + i % 3} for i in range(100))
    figure = rendered(load(name).draw(compare(*models)))
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(named) - {"Pareto front"} == {*(f"net{i}" for i in range(88, 100)), "88 others"}
    assert figure.get_figheight() < 5
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) <= len(COLORS) + 1  # all colours for the user's models, and the grey of the others


@pytest.mark.parametrize("name", COMPARISON_FIGURES)
def test_a_single_experiment_is_compared_without_complaint(compare, name):
    assert isinstance(rendered(load(name).draw(compare(TWO[0]))), Figure)
