"""Folds in the statistics and the report: each image counts once, and intervals are honest."""

from itertools import chain

import numpy as np
import pytest
from drawn import comparison_of_finished, rendered
from made_up_results import write_predictions, write_robustness, write_statistics
from report_pages import table_of, tables
from sklearn.metrics import log_loss, precision_score, recall_score

from deepnets.comparison.aggregate import group_seeds
from deepnets.comparison.folds import compare_folds, folds_interval
from deepnets.config.experiment import compared_images
from deepnets.evaluation.metrics import detailed_metrics
from deepnets.evaluation.results import read_metrics, read_result
from deepnets.figures import COMPARISON_FIGURES, confusion_matrix, load, style
from deepnets.reporting.model_card import card
from deepnets.utils.files import canonical_json, read_json, sha256_text, write_json

SIZES = [40, 40, 38]  # test images of each fold


@pytest.fixture
def folds(experiment):
    """Write a model's results in three folds, and which images of each are wrong: `folds("vgg16", [[0], [], [1]])`."""

    def make(model: str, wrong: list[list[int]], repetitions: int = 1) -> list:
        return [
            of_fold(experiment, model, seed, seed % len(SIZES), wrong[seed % len(SIZES)])
            for seed in range(repetitions * len(SIZES))
        ]

    return make


def of_fold(experiment, model: str, seed: int, fold: int, wrong: list[int]):
    size = SIZES[fold]
    directory = experiment(model=model, seed=seed, n_test=size, accuracy=1 - len(wrong) / size)
    true, predicted = of_images(fold, wrong)
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["dataset"] |= {"folds": len(SIZES), "fold": fold}
    metrics["spec_sha256"] = sha256_text(canonical_json(metrics["spec"]))
    metrics["test"] = detailed_metrics((5 * np.eye(10)[predicted]).astype(np.float32), true, metrics["classes"])
    write_json(directory / "metrics.json", metrics)
    write_predictions(directory, true, predicted, 10, [f"{fold}_{row}.png" for row in range(size)])
    write_robustness(directory, 1 - len(wrong) / size, size)
    return directory


def of_images(fold: int, wrong: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The classes of the images of a fold, and those that its network predicts."""
    index = np.arange(SIZES[fold])
    return index % 10, np.where(np.isin(index, wrong), (index + 1) % 10, index % 10)


def test_each_image_counts_once(folds, tmp_path):
    found = read_json(write_statistics(tmp_path, *folds("vgg16", [[0, 1], [2], [3, 4, 5]]))["digits"])
    [candidate] = found["candidates"]
    assert (found["n"], candidate["seeds"], candidate["std"]) == (sum(SIZES), [0, 1, 2], None)
    assert candidate["accuracy"] == pytest.approx(1 - 6 / sum(SIZES))
    assert candidate["ci95"][0] < candidate["accuracy"] < candidate["ci95"][1]
    assert [each["accuracy"] for each in candidate["networks"]] == pytest.approx([38 / 40, 39 / 40, 35 / 38])


def test_two_models_are_compared_on_the_same_images(folds, tmp_path):
    worse = [list(range(20)), list(range(21)), list(range(19))]
    both = [*folds("vgg16", worse), *folds("resnet50", [[0], [1], [2]])]
    found = read_json(write_statistics(tmp_path, *both)["digits"])
    [pair] = found["pairs"]
    assert (pair["a"][0], pair["verdict"], pair["seeds"], pair["a_only"]) == ("resnet50", "a", 3, None)
    assert pair["difference"] == pytest.approx(57 / sum(SIZES))
    assert found["committee"]["networks"] == 2  # each is a network per fold: together they predict each image once


def test_images_that_all_miss_are_named_by_their_files(folds, tmp_path):
    both = [*folds("vgg16", [[], [7], [9]]), *folds("resnet50", [[], [], [9]])]
    found = read_json(write_statistics(tmp_path, *both)["digits"])
    assert [(each["index"], each["file"]) for each in found["missed_by_all"]["images"]] == [(89, "2_9.png")]
    [group] = [each for each in group_seeds(map(read_result, both)) if each.model == "vgg16"]
    assert group.first_rows == [0, 40, 80]


def test_several_passes_over_the_folds_are_one_candidate(folds, tmp_path):
    found = read_json(write_statistics(tmp_path, *folds("vgg16", [[0], [1], [2]], repetitions=2))["digits"])
    [candidate] = found["candidates"]
    assert (found["n"], candidate["seeds"], candidate["std"]) == (sum(SIZES), list(range(6)), 0)


def test_report_says_how_many_folds_and_images(folds, write_report):
    text = write_report(*folds("vgg16", [[0, 1], [2], [3, 4, 5]]), *folds("resnet50", [[0], [1], [2]]))
    assert "40 test images with seed 0, in one of 3 folds; each image is a test image in one of them." in text
    assert "118 test images, each predicted by a network that was not trained on it, 3 folds" in text
    assert "paired tests on the same images (t tests over the folds)" in text
    assert "with 3 folds, of which each is the test split once" in text


def test_folds_are_those_of_the_datasets_that_have_them(folds, experiment, write_report):
    """Each of the two datasets alone has its own words, and a study of both has them of the right one."""
    in_folds = [*folds("vgg16", [[0, 1], [2], [3]]), *folds("resnet50", [[0], [1], [2]])]
    plain = [experiment("mnist", model) for model in ("vgg16", "resnet50")]
    text = " ".join(write_report(*in_folds, *plain).split())
    assert "with 3 folds on digits, of which each is the test split once, and one seed each on mnist." in text
    assert "On digits, each was trained 3 times, over 3 folds of which each is the test split once." in text
    assert "On mnist, each was trained with one seed; a seed decides" in text
    methods = text.partition("## Methods")[2]
    intervals = "for one training run, it is Wilson's", "over folds, it follows from their spread"
    for kind in (*intervals, "exact McNemar", "t tests over the folds"):
        assert kind in methods
    assert "t tests over seeds" not in text


def test_a_warning_of_all_folds_is_one_of_folds(folds, write_report):
    for directory in (runs := folds("vgg16", [[0], [1], [2]])):
        metrics = read_json(directory / "metrics.json")
        write_json(directory / "metrics.json", metrics | {"warnings": ["under-trained: try more"]})
    assert "**VGG-16 on digits, recipe quick, 3 folds**: under-trained: try more." in write_report(*runs)


def test_folds_that_spread_much_are_too_few_to_show_any_difference(folds, write_report):
    many = [*range(20)]
    text = write_report(*folds("vgg16", [many, [], []]), *folds("resnet50", [[], many, []]))
    assert "With 118 test images in 3 folds, this test misses even the largest difference in more than 20 %" in text


# -- the images of all folds together ----------------------------------------------------------------------------------

WRONG = [[0, 1], [2], [3, 13, 23]]


def together(wrong: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The classes of all images and the predicted ones, fold after fold."""
    pairs = [of_images(fold, of_fold) for fold, of_fold in enumerate(wrong)]
    return np.concatenate([true for true, _ in pairs]), np.concatenate([predicted for _, predicted in pairs])


def test_metrics_calibration_and_surprises_are_of_all_images_together(folds, tmp_path):
    found = read_json(write_statistics(tmp_path, *folds("vgg16", WRONG, repetitions=2))["digits"])
    true, predicted = together(WRONG)
    powers = np.exp(5 * np.eye(10)[predicted])
    for of_pass in found["candidates"][0]["pooled"]:
        test = of_pass["test"]
        assert test["n"] == sum(each["n"] for each in of_pass["reliability"]) == 118
        assert test["loss"] == pytest.approx(log_loss(true, powers / powers.sum(1, keepdims=True)), rel=1e-5)
        assert test["precision_macro"] == pytest.approx(precision_score(true, predicted, average="macro"))
        assert of_pass["risk_coverage"][-1] == [1, pytest.approx(6 / 118)]
        assert [(each["index"], each["file"]) for each in of_pass["confident_mistakes"]] == [
            *((0, "0_0.png"), (1, "0_1.png"), (42, "1_2.png"), (83, "2_3.png"), (93, "2_13.png"))
        ]
    assert len(found["candidates"][0]["pooled"]) == 2


def test_report_has_the_classes_the_errors_and_the_metrics_of_all_images_together(folds, write_report):
    text = write_report(*folds("vgg16", WRONG), *folds("resnet50", [[0], [], []]), optional=("robustness",))
    true, predicted = together(WRONG)
    behaviour = text.partition("#### Behaviour on digits")[2].partition("## Experiments")[0]
    section = behaviour.partition("<summary>VGG-16: classes and most frequent errors")[2]
    rows = table_of(section, "Class")[2:]
    assert [row[:2] for row in rows] == [[str(each), str((true == each).sum())] for each in range(10)]
    recall = recall_score(true, predicted, average=None)
    assert [float(row[3].split()[0]) for row in rows] == [round(100 * each, 1) for each in recall]
    assert "Of the networks with seeds 0, 1 and 2, on the images of their folds." in section
    assert "Most frequent errors:\n3 predicted as 4: 3 of 12," in section
    assert "Numbers are of the folds' images together; the temperature is" in behaviour
    header, _, *networks = table_of(text, "Model")
    [vgg] = [row for row in networks if row[0].startswith("VGG-16, 3 folds")]
    expected = recall_score(true, predicted, average="macro")
    assert vgg[header.index("Recall (%)")] == f"{100 * expected:.2f}"
    assert "118 test images, as they are and corrupted" in text
    [corrupted] = [each for each in tables(behaviour) if "Corrupted" in each[0]]
    assert corrupted[-1][1] == f"{100 * (1 - 6 / 118):.2f}"


def test_pictures_and_reliability_are_of_all_folds_and_the_title_counts_their_images(folds, tmp_path):
    comparison = comparison_of_finished(tmp_path, *folds("vgg16", WRONG))
    [pooled] = comparison.groups[0].candidate.pooled
    examples = rendered(load("examples").draw(comparison))
    names = [axes.get_xlabel() for axes in examples.axes if axes.images]
    assert names[:5] == ["0_0.png", "0_1.png", "1_2.png", "2_3.png", "2_13.png"]
    panel = load("reliability").draw(comparison).axes[0]
    assert panel.get_title("left").startswith(f"VGG-16\nerror {100 * pooled.ece:.1f} %")
    assert "(118 images)" in load("corruptions").draw(comparison).get_suptitle()


def test_what_is_of_one_network_names_its_fold(folds, write_report):
    directories = folds("vgg16", WRONG)
    metrics = read_metrics(directories[1] / "metrics.json")
    names = metrics.experiment.model_dump()
    title = confusion_matrix.draw(metrics, names, style.model_style("vgg16", 0)).get_suptitle()
    assert title.endswith("40 images of fold 2 of 3)")
    assert "after the last epoch, on the images of fold 3 of 3." in card(read_result(directories[2]), None)
    text = write_report(*directories)
    assert [f"% on the images of fold {number} of 3 (95 % interval" in text for number in (1, 2, 3)] == [True] * 3


# -- networks that are missing for some folds --------------------------------------------------------------------------

NETWORKS = ("vgg16", "resnet50", "mobilenet_v2")
FINISHED = {  # the seeds of each network that are finished; seed 3 is of the first fold, as seed 0 is
    "two of three folds": ([0, 1], [0, 1], [0, 1]),
    "a fold of one network": ([0, 1, 2], [0, 1], [0, 1, 2]),
    "one fold": ([0, 1, 2], [0, 1, 2], [1]),
    "one fold twice": ([0, 1, 2, 3], [0, 3], [0, 1, 2, 3]),
    "a repetition": ([0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3, 4, 5]),
    "none of all": ([0, 1], [1, 2], [0, 2]),
    "none of two": ([0, 1], [2], [2]),
}
unfinished = pytest.mark.parametrize("seeds", FINISHED.values(), ids=FINISHED)


@pytest.fixture
def finished(folds):
    """Write the networks of some seeds: `finished(seeds of each of NETWORKS) -> their directories`."""

    def make(seeds) -> list:
        wrong = [[0, 1, 2, 3], [2], [3]]
        written = [folds(model, wrong, repetitions=2) for model in NETWORKS]
        return [directories[seed] for directories, of_one in zip(written, seeds, strict=True) for seed in of_one]

    return make


def test_accuracies_are_of_the_folds_that_all_have_and_pairs_of_those_that_both_have(finished, tmp_path):
    found = read_json(write_statistics(tmp_path, *finished(FINISHED["a fold of one network"]))["digits"])
    assert (found["n"], found["folds"]) == (80, {"number": 3, "shared": [0, 1]})
    for candidate in found["candidates"]:
        assert (candidate["seeds"], candidate["accuracy"]) == ([0, 1], pytest.approx(1 - 5 / 80))
        trained = 2 if candidate["model"] == "resnet50" else 3
        assert [each["seed"] for each in candidate["networks"]] == list(range(trained))
    images = {(pair["a"][0], pair["b"][0]): (pair["n"], pair["folds"], pair["seeds"]) for pair in found["pairs"]}
    assert images == {
        ("vgg16", "resnet50"): (80, 2, 2),
        ("vgg16", "mobilenet_v2"): (118, 3, 3),
        ("resnet50", "mobilenet_v2"): (80, 2, 2),
    }
    assert found["committee"]["networks"] == 3
    missed = [each["file"] for each in found["missed_by_all"]["images"]]
    assert missed == [*(f"0_{row}.png" for row in range(4)), "1_2.png"]


def test_one_shared_fold_is_a_test_split_and_a_repetition_that_is_not_whole_does_not_count(finished, tmp_path):
    one, twice, whole = (
        read_json(write_statistics(tmp_path, *finished(FINISHED[name]))["digits"])
        for name in ("one fold", "one fold twice", "a repetition")
    )
    assert [each["seeds"] for each in one["candidates"]] == [[1]] * 3
    assert {pair["seeds"]: pair["a_only"] for pair in one["pairs"]} == {1: 0, 3: None}
    assert [each["seeds"] for each in twice["candidates"]] == [[0, 3]] * 3
    assert [each["seeds"] for each in whole["candidates"]] == [[0, 1, 2], [0, 1, 2], list(range(6))]


def test_without_a_shared_fold_nothing_is_said_of_all_together(finished, tmp_path):
    found = read_json(write_statistics(tmp_path, *finished(FINISHED["none of two"]))["digits"])
    assert (found["folds"]["shared"], found["committee"], found["missed_by_all"]["count"]) == ([], None, 0)
    pairs = {frozenset((pair["a"][0], pair["b"][0])): pair for pair in found["pairs"]}
    assert pairs[frozenset(("resnet50", "mobilenet_v2"))]["n"] == 38
    nothing = pairs[frozenset(("vgg16", "resnet50"))]
    assert (nothing["n"], nothing["seeds"], nothing["verdict"], nothing["settle"]) == (0, 0, "open", None)


@unfinished
def test_report_is_of_whichever_folds_are_finished(finished, write_report, seeds):
    text = " ".join(write_report(*finished(seeds), optional=("latency", "robustness")).split())
    assert "Networks are missing for some folds." in text
    assert text.count("<details><summary>") >= len([*chain(*seeds)])


@pytest.mark.parametrize("kind", ["a fold of one network", "none of two"])
def test_figures_are_of_whichever_folds_are_finished(finished, tmp_path, kind):
    comparison = comparison_of_finished(tmp_path, *finished(FINISHED[kind]))
    for name in COMPARISON_FIGURES:
        rendered(load(name).draw(comparison))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("two of three folds", "Accuracies are of 2 of 3 folds, which every network has. Two networks are compared on"),
        ("one fold", "of 1 of 3 folds, which every network has; 4 trained networks do not count in them."),
        ("a repetition", "of 3 of 3 folds, which every network has; 1 trained network does not count in them."),
        ("none of all", "each accuracy is of the network's own folds, which are other images than those of the next"),
        ("none of two", "cannot be distinguished from MobileNetV2 and has no fold in common with VGG-16."),
    ],
)
def test_report_says_which_folds_count_where_some_are_missing(finished, write_report, kind, words):
    assert words in " ".join(write_report(*finished(FINISHED[kind])).split())


def draws(rng: np.random.Generator, networks: float, studies: int = 2000):
    """Which images are right, in many studies of 5 folds with 60 images each, whose networks differ by chance."""
    p = np.clip(0.85 + rng.normal(0, networks, (studies, 5, 1)), 0, 1)
    return (rng.random((studies, 5, 60)) < p).reshape(studies, 1, 300)


ROWS = np.repeat(np.arange(5), 60)


@pytest.mark.parametrize("networks", [0, 0.03, 0.06])
def test_interval_covers_the_truth(networks):
    rng = np.random.default_rng(0)
    intervals = np.array([folds_interval(right, ROWS) for right in draws(rng, networks)])
    covered = ((intervals[:, 0] <= 0.85) & (intervals[:, 1] >= 0.85)).mean()
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("networks", [0, 0.03, 0.06])
def test_equal_candidates_are_rarely_called_different_and_the_interval_covers_their_difference(networks):
    rng = np.random.default_rng(0)
    pairs = zip(draws(rng, networks), draws(rng, networks), strict=True)
    found = [compare_folds(a, b, ROWS) for a, b in pairs]
    assert np.mean([each.p < 0.05 for each in found]) <= 0.05
    assert 0.92 <= np.mean([each.ci95[0] <= 0 <= each.ci95[1] for each in found]) <= 0.98


def test_all_right_and_all_equal_leave_an_interval():
    right = np.ones((1, 300), dtype=bool)
    low, high = folds_interval(right, ROWS)
    assert (0.98 < low < 1, high) == (True, 1)
    found = compare_folds(right, right, ROWS)
    assert (found.value, found.ci95[0] < 0 < found.ci95[1], found.p) == (0, True, 1)


def test_what_follows_from_the_fold_is_not_compared_with_the_dataset():
    of_fold, of_split = ({"dataset": dataset} for dataset in ({"fold": 1}, {}))
    assert set(compared_images(of_split)) - set(compared_images(of_fold)) == {"mean", "std", "validation_rows"}
