"""results/{dataset}/comparison/statistics.json: what it holds, what it refuses, what it costs."""

import time
import tracemalloc

import numpy as np
import pytest
from made_up_results import write_predictions, write_statistics
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from deepnets.comparison.statistics_file import read_statistics
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json

FOUR = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")


@pytest.fixture
def compare(experiment, tmp_path):
    """Write statistics.json of experiments on digits, given as keyword arguments; return its content."""

    def make(*options, **settings):
        return read_json(write_statistics(tmp_path, *(experiment(**each) for each in options), **settings)["digits"])

    return make


def right_of(directory):
    tensors = load_file(directory / "predictions.safetensors")
    return tensors["test_logits"].argmax(1) == tensors["test_labels"]


def test_it_holds_what_other_implementations_find(experiment, tmp_path):
    accuracies = dict(zip(FOUR, (0.7, 0.93, 0.95, 0.955), strict=True))
    folders = {model: experiment(model=model, accuracy=value) for model, value in accuracies.items()}
    found = read_json(write_statistics(tmp_path, *folders.values())["digits"])
    assert (found["schema_version"], found["dataset"], found["n"], found["margin"]) == (1, "digits", 360, 0.005)
    right = {model: right_of(folder) for model, folder in folders.items()}
    assert [each["model"] for each in found["candidates"]] == [*reversed(FOUR)], "the best on validation first"
    for candidate in found["candidates"]:
        metrics = read_json(folders[candidate["model"]] / "metrics.json")
        assert (candidate["recipe"], candidate["seeds"], candidate["selected"]) == ("quick", [0], True)
        assert candidate["accuracy"] == metrics["test"]["accuracy"]
        assert candidate["ci95"] == metrics["test"]["accuracy_ci95"]
        assert candidate["validation_accuracy"] == metrics["validation"]["accuracy"]
        assert candidate["std"] is None
    p = []
    for pair in found["pairs"]:
        a, b = right[pair["a"][0]], right[pair["b"][0]]
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert (pair["a_only"], pair["b_only"]) == (table[0][1], table[1][0])
        assert pair["p"] == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert pair["difference"] == pytest.approx(a.mean() - b.mean())
        assert pair["ci95"][0] < pair["difference"] < pair["ci95"][1]
        assert (pair["seeds"], pair["probability_a_beats_b"]) == (1, None)
        p.append(pair["p"])
    corrected = multipletests(p, method="holm")[1]
    assert [pair["p_holm"] for pair in found["pairs"]] == pytest.approx(corrected.tolist())
    verdicts = ["a" if value < 0.05 else "open" for value in corrected]
    assert [pair["verdict"] for pair in found["pairs"]] == verdicts
    groups = {each["model"]: set(each["group"]) for each in found["candidates"]}
    shared = [bool(groups[pair["a"][0]] & groups[pair["b"][0]]) for pair in found["pairs"]]
    assert shared == [each == "open" for each in verdicts]
    assert set(verdicts) == {"a", "open"}
    assert [pair["settle"] is None for pair in found["pairs"]] == [each == "a" for each in verdicts]


def test_numbers_of_each_network_are_those_of_scikit_learn(experiment, tmp_path):
    directory = experiment(accuracy=0.9, model="vgg16")
    rng, file = np.random.default_rng(0), directory / "predictions.safetensors"
    tensors = load_file(file)
    for split in ("test", "validation"):
        tensors[f"{split}_logits"] += rng.normal(size=tensors[f"{split}_logits"].shape).astype(np.float32)
    save_file(tensors, file, {"spec_sha256": read_json(directory / "metrics.json")["spec_sha256"]})
    found = read_json(write_statistics(tmp_path, directory, experiment(accuracy=0.9))["digits"])
    [network] = next(each["networks"] for each in found["candidates"] if each["model"] == "vgg16")
    probabilities = softmax(tensors["test_logits"].astype(np.float64), axis=1)
    assert network["accuracy"] == accuracy_score(tensors["test_labels"], probabilities.argmax(1))
    assert network["log_loss"] == pytest.approx(log_loss(tensors["test_labels"], probabilities))
    scaled = softmax(tensors["test_logits"].astype(np.float64) / network["temperature"], axis=1)
    assert network["with_temperature"]["log_loss"] == pytest.approx(log_loss(tensors["test_labels"], scaled), rel=1e-5)
    assert sum(each["n"] for each in network["reliability"]) == 360
    assert network["conformal"]["target"] == 0.95
    assert found["committee"]["networks"] == 2


def test_what_needs_no_network_and_what_all_networks_miss(experiment, tmp_path):
    true, folders = np.arange(360) % 10, [experiment(model=model) for model in FOUR[:3]]
    for directory, wrong in zip(folders, ((3, 4, 5), (3, 5, 6), (3, 5)), strict=True):
        predicted = np.where(np.isin(np.arange(360), wrong), (true + 1) % 10, true)
        write_predictions(directory, true, predicted, 10)
    found = read_json(write_statistics(tmp_path, *folders)["digits"])
    assert found["baselines"] == {"majority": {"class": 0, "accuracy": 0.1}, "chance": 0.1}
    assert [image["index"] for image in found["missed_by_all"]["images"]] == [3, 5]
    assert found["missed_by_all"]["count"] == 2
    network = next(each["networks"][0] for each in found["candidates"] if each["model"] == FOUR[0])
    surest = network["confident_mistakes"]
    assert [(image["index"], image["label"], image["predicted"]) for image in surest] == [
        (3, 3, 4),
        (4, 4, 5),
        (5, 5, 6),
    ]
    assert len(network["doubtful_hits"]) == 5
    assert network["risk_coverage"][-1] == [1, pytest.approx(3 / 360)]


def test_several_seeds_are_one_candidate_with_an_interval_over_seeds_and_images(compare):
    runs = [{"model": model, "seed": seed, "accuracy": 0.9} for model in FOUR[:2] for seed in range(3)]
    found = compare(*runs)
    assert [each["seeds"] for each in found["candidates"]] == [[0, 1, 2]] * 2
    assert found["candidates"][0]["ci95"][1] - found["candidates"][0]["ci95"][0] > 0.03
    assert found["candidates"][0]["std"] == pytest.approx(0, abs=1e-9)
    [pair] = found["pairs"]
    assert (pair["seeds"], pair["a_only"], pair["b_only"], pair["verdict"]) == (3, None, None, "open")
    assert pair["probability_a_beats_b"] == 0.5


def test_a_single_run_is_compared_with_the_run_of_the_same_seed(experiment, tmp_path):
    one = experiment(model="vgg16", seed=1, accuracy=0.8)
    several = [experiment(model="resnet50", seed=seed, accuracy=0.9) for seed in range(3)]
    [pair] = read_json(write_statistics(tmp_path, one, *several)["digits"])["pairs"]
    a, b = right_of(several[1]), right_of(one)
    assert (pair["seeds"], pair["a_only"], pair["b_only"]) == (1, (a & ~b).sum(), (b & ~a).sum())
    assert pair["probability_a_beats_b"] is None


def test_of_several_recipes_validation_chooses_and_the_others_are_compared_too(compare):
    found = compare(
        {"recipe": "lucky", "accuracy": 0.99, "validation_accuracy": 0.9},
        {"recipe": "chosen", "accuracy": 0.95, "validation_accuracy": 0.96},
        {"model": "vgg16", "accuracy": 0.5},
    )
    selected = [(each["recipe"], each["selected"]) for each in found["candidates"]]
    assert selected == [("chosen", True), ("quick", True), ("lucky", False)], "in this order"
    assert [(pair["a"][1], pair["b"][1]) for pair in found["pairs"]] == [
        *(("chosen", "quick"), ("chosen", "lucky"), ("quick", "lucky"))
    ]
    assert found["committee"]["networks"] == 2  # of the chosen ones
    [sweep] = found["sweeps"]
    assert (sweep["model"], sweep["expected_best_validation"]) == ("resnet50", pytest.approx([0.93, 0.96]))


def test_recipes_with_fewer_epochs_as_of_trials_that_stopped_early_are_no_full_trials_of_a_sweep(compare):
    stopped = [{"recipe": f"s{n}", "epochs": 2, "validation_accuracy": 0.5} for n in range(3)]
    full = [{"recipe": f"r{n}", "epochs": 8, "validation_accuracy": 0.9 + n / 100} for n in range(3)]
    [sweep] = compare(*stopped, *full, {"model": "vgg16", "epochs": 1})["sweeps"]
    assert sweep["expected_best_validation"] == pytest.approx([0.91, (0.91 + 2 * 0.92) / 3, 0.92])


def test_of_very_many_recipes_those_best_on_validation_are_compared_and_each_model_first(compare):
    recipes = [
        {"recipe": f"r{place}", "accuracy": 0.9, "validation_accuracy": 0.5 + place / 1000} for place in range(70)
    ]
    found = compare(*recipes, {"model": "vgg16", "accuracy": 0.1})
    compared = [each for each in found["candidates"] if each["group"] is not None]
    assert len(compared) == 50
    assert len(found["pairs"]) == 50 * 49 / 2
    assert {each["recipe"] for each in compared} == {"quick", *(f"r{place}" for place in range(21, 70))}


def test_equal_networks_are_equivalent_only_within_the_margin_of_the_configuration(compare):
    runs = [{"model": model, "accuracy": 1.0, "n_test": 2000} for model in FOUR[:2]]
    assert [compare(*runs, margin=margin)["pairs"][0]["verdict"] for margin in (0.0005, 0.05)] == ["open", "equivalent"]


def test_a_single_network_has_no_pairs(compare):
    found = compare({"model": "vgg16"})
    assert (found["pairs"], found["committee"], found["suspicious_labels"]["count"]) == ([], None, 0)
    assert found["candidates"][0]["group"] == "a"


def test_the_same_experiments_give_the_same_bytes(experiment, tmp_path):
    folders = [experiment(model=model, seed=seed) for model in FOUR for seed in (0, 1)]
    first = write_statistics(tmp_path, *folders)["digits"].read_bytes()
    assert write_statistics(tmp_path, *folders)["digits"].read_bytes() == first


def test_a_loss_that_is_not_finite_is_null(experiment, tmp_path):
    directory = experiment()
    tensors = load_file(directory / "predictions.safetensors")
    tensors["test_logits"][0] = np.nan
    save_file(tensors, directory / "predictions.safetensors", {"spec_sha256": spec_of(directory)})
    found = read_json(write_statistics(tmp_path, directory)["digits"])
    assert found["candidates"][0]["networks"][0]["log_loss"] is None


# -- refused -----------------------------------------------------------------------------------------------------------


def spec_of(directory):
    return read_json(directory / "metrics.json")["spec_sha256"]


def test_predictions_of_other_test_images_are_refused(experiment, tmp_path):
    one, other = experiment(model="vgg16", n_test=360), experiment(model="resnet50", n_test=350)
    with pytest.raises(UserError, match=r"resnet50.*predictions\.safetensors: of other test images than .*vgg16"):
        write_statistics(tmp_path, one, other)
    assert not list(tmp_path.rglob("statistics.json"))


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "keys", "shapes", "labels", "spec"])
def test_predictions_that_cannot_be_used_are_named(experiment, tmp_path, kind):
    directory = experiment()
    file = directory / "predictions.safetensors"
    tensors = load_file(file)
    file.unlink()
    if kind in ("empty", "text"):
        file.write_text("" if kind == "empty" else "logits of a network")
    if kind == "keys":
        del tensors["validation_labels"]
    if kind == "shapes":
        tensors["test_labels"] = tensors["test_labels"][:-1]
    if kind == "labels":
        tensors["test_labels"] = tensors["test_labels"] + 1
    if kind not in ("missing", "empty", "text"):
        save_file(tensors, file, {"spec_sha256": "0" if kind == "spec" else spec_of(directory)})
    words = {"missing": "missing", "spec": "of other settings than metrics.json"}.get(kind, "damaged")
    with pytest.raises(UserError, match=rf"predictions\.safetensors: .*{words}"):
        write_statistics(tmp_path, directory)


def test_statistics_of_other_experiments_are_refused_and_damaged_ones_are_named(experiment, tmp_path):
    folders = [experiment(model=model) for model in FOUR]
    path = write_statistics(tmp_path, *folders)["digits"]
    names = [folder.relative_to(tmp_path).as_posix() for folder in folders]
    assert read_statistics(path, names).n == 360
    with pytest.raises(UserError, match=r"statistics\.json: about other experiments.*compare\.py digits"):
        read_statistics(path, names[:-1])
    write_json(path, read_json(path) | {"spec": {"experiments": names, "specs": ["0"] * 4}})
    assert read_statistics(path, names, ["0"] * 4).dataset == "digits"
    with pytest.raises(UserError, match=r"statistics\.json: about other experiments or settings"):
        read_statistics(path, names, ["1"] * 4)
    content = read_json(path)
    content["pairs"].pop()
    write_json(path, content)
    with pytest.raises(UserError, match=r"statistics\.json: damaged .*pairs must be"):
        read_statistics(path, names, ["0"] * 4)


# -- cost --------------------------------------------------------------------------------------------------------------


def write_many(experiment, experiments, images):
    """Write experiments of ten models with the seeds that it takes; return their folders."""
    rng, true, folders = np.random.default_rng(0), np.arange(images) % 10, []
    for number in range(experiments):
        directory = experiment(model=f"net{number % 10}", seed=number // 10, n_test=20)
        predicted = np.where(rng.random(images) < 0.9, true, (true + 1) % 10)
        write_predictions(directory, true, predicted, 10)
        folders.append(directory)
    return folders


@pytest.mark.slow
def test_50_experiments_on_10000_images_take_seconds(experiment, tmp_path):
    folders = write_many(experiment, 50, 10_000)
    start = time.process_time()
    write_statistics(tmp_path, *folders)
    assert time.process_time() - start < 10


@pytest.mark.slow
def test_memory_grows_by_less_than_200_kb_per_experiment_of_10000_images(experiment, tmp_path):
    """So 1,000 experiments need less than 0.2 GB more than one."""
    folders, peaks = write_many(experiment, 60, 10_000), []
    for number in (20, 60):
        tracemalloc.start()
        write_statistics(tmp_path, *folders[:number])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 40 * 200_000
