"""Folds in the statistics and the report: each image counts once, and intervals are honest."""

import numpy as np
import pytest
from made_up_results import write_predictions, write_statistics

from deepnets.comparison.aggregate import group_seeds
from deepnets.comparison.folds import compare_folds, folds_interval
from deepnets.config.experiment import compared_images
from deepnets.evaluation.results import read_result
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
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["dataset"] |= {"folds": len(SIZES), "fold": fold}
    metrics["spec_sha256"] = sha256_text(canonical_json(metrics["spec"]))
    write_json(directory / "metrics.json", metrics)
    true = np.arange(size) % 10
    predicted = np.where(np.isin(np.arange(size), wrong), (true + 1) % 10, true)
    write_predictions(directory, true, predicted, 10, [f"{fold}_{row}.png" for row in range(size)])
    return directory


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
    assert "38 test images" not in text.partition("in the first of 3 folds")[0]
    assert "40 test images in the first of 3 folds; each image is a test image in one of them." in text
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
    for kind in ("of one training run Wilson's", "of folds from the spread", "exact McNemar", "t tests over the folds"):
        assert kind in methods
    assert "t tests over seeds" not in text


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
