"""What the report shows of behaviour: classes, calibration, when to trust an answer, images to look at."""

from html import unescape

import numpy as np
import pytest
from made_up_results import write_predictions
from report_pages import set_size, table_of, tables
from safetensors.numpy import load_file, save_file

from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json

NO_BREAK = "\N{NO-BREAK SPACE}"


def section(text):
    return text.split("#### Behaviour on digits")[1].split("## Experiments")[0]


def test_a_row_per_network_has_calibration_before_and_after_and_when_to_trust_an_answer(
    experiment, write_report, tmp_path
):
    text = section(write_report(experiment(model="vgg16", accuracy=0.8), experiment(model="resnet50")))
    _, _, first, second = table_of(text, "Model")
    assert [first[0], second[0]] == ["ResNet50", "VGG-16"]
    candidates = read_json(tmp_path / "results/digits/comparison/statistics.json")["candidates"]
    network = candidates[1]["networks"][0]
    low, high = network["ece_ci95"]
    error = f"{100 * network['ece']:.2f}<br>({100 * low:.2f} to {100 * high:.2f})"
    assert second[1:4] == [f"{network['log_loss']:.4f}", f"{network['brier']:.4f}", error.replace(" ", NO_BREAK)]
    after = network["with_temperature"]
    assert second[4:7] == [f"{network['temperature']:.2f}", f"{after['log_loss']:.4f}", f"{100 * after['ece']:.2f}"]
    assert second[7] == f"{100 * network['selective_accuracy']['0.9']:.2f}"
    conformal = network["conformal"]
    assert second[9:] == [f"{conformal['mean_size']:.2f}", f"{100 * conformal['coverage']:.2f}"]


def test_of_several_seeds_the_numbers_are_means_with_the_lowest_and_the_highest_calibration_error(
    experiment, write_report, tmp_path
):
    seeds = [experiment(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.97, 0.8, 0.9))]
    text = section(write_report(*seeds))
    assert "Numbers are means over the seeds." in text
    [candidate] = read_json(tmp_path / "results/digits/comparison/statistics.json")["candidates"]
    errors = [100 * network["ece"] for network in candidate["networks"]]
    shown = f"{np.mean(errors):.2f}<br>({min(errors):.2f} to {max(errors):.2f})"
    assert table_of(text, "Model")[2][3] == shown.replace(" ", NO_BREAK)
    assert "0 is best; in brackets, the lowest and highest of several networks." in text
    alone = section(write_report(seeds[0]))
    assert "0 is best; in brackets, the 95 % interval of one network." in alone


@pytest.mark.parametrize("carries_over", [True, False])
def test_a_temperature_that_makes_the_log_loss_of_the_test_images_worse_is_reported(
    experiment, write_report, carries_over
):
    """All validation images are wrong with confidence, so the temperature is high."""
    directory = experiment(accuracy=0.5 if carries_over else 1.0)
    file = directory / "predictions.safetensors"
    tensors = load_file(file)
    tensors["validation_labels"] = (tensors["validation_logits"].argmax(1) + 1) % 10
    save_file(tensors, file, {"spec_sha256": read_json(directory / "metrics.json")["spec_sha256"]})
    words = "For ResNet50, the gain in log loss on the 144 validation images did not carry over to the test images."
    assert (words in section(write_report(directory))) is not carries_over


def test_accuracies_without_a_network_are_given(experiment, write_report):
    directory = experiment(classes=["cat", "dog"], n_test=100)
    true = np.array([0, 1, 1, 1] * 25)
    write_predictions(directory, true, true, 2)
    expected = "always the class dog, the most frequent class of the validation images, is right for 75.00 % of the"
    expected += " test images"
    text = section(write_report(directory))
    assert f"Without a network: {expected}, guessing at random for 50.00 %." in text


def test_images_that_all_networks_miss_and_labels_to_look_at_are_listed(experiment, write_report):
    true = np.arange(360) % 10
    predicted = np.where(np.isin(np.arange(360), (7, 20)), (true + 1) % 10, true)
    folders = [experiment(model=model) for model in ("vgg16", "resnet50")]
    write_predictions(folders[0], true, predicted, 10)
    write_predictions(folders[1], true, np.where(np.arange(360) == 20, 5, predicted), 10)
    text = section(write_report(*folders))
    lists = text.split("2 test images that all 2 trained networks predict wrongly, with the mean probability:")[1]
    missed, suspicious = lists.split(
        "One test image with a label to look at: all 2 trained networks give the same other class, with the lowest"
        " probability of any of them:"
    )
    assert "- image 7: 7, predicted as 8 (94.3 %)" in missed
    assert "- image 20: 0, predicted as" in missed
    assert "- image 7: 7, predicted as 8 (94.3 %)" in suspicious
    assert "image 20" not in suspicious
    assert "likelier than wrong labels" not in text


@pytest.mark.parametrize(("wrong", "is_doubted"), [(18, False), (19, True)])
def test_labels_that_networks_of_less_than_95_percent_contradict_are_doubted_less(
    experiment, write_report, wrong, is_doubted
):
    true = np.arange(360) % 10
    folders = [experiment(model=model) for model in ("vgg16", "resnet50")]
    for folder in folders:
        write_predictions(folder, true, np.where(np.arange(360) < wrong, (true + 1) % 10, true), 10)
    words = "as the best network has 94.7 % accuracy, their own mistakes are likelier than wrong labels (the 10"
    assert (words in section(write_report(*folders))) == is_doubted


def test_sets_of_fewer_than_one_class_are_explained(experiment, write_report):
    text = section(write_report(experiment()))
    assert "below 1, some sets are empty, as no answer is sure enough" in text
    assert "size is better" not in text


def test_the_command_for_maps_of_where_a_network_looked_is_given_for_the_best_on_validation(experiment, write_report):
    worse = experiment(model="vgg16", accuracy=0.99, validation_accuracy=0.8)
    text = section(write_report(worse, experiment(model="resnet50", recipe="quick,lr=0.03")))
    command = "snakemake --cores 2 results/digits/resnet50/quick,lr=0.03/seed0/figures/saliency.png"
    assert command in unescape(text)


def test_no_command_for_maps_is_given_for_a_network_that_has_none(experiment, write_report):
    best = experiment(model="resnet50", accuracy=0.99)
    without_maps(best)
    other = experiment(model="vgg16", accuracy=0.8)
    text = unescape(section(write_report(best, other)))
    assert "snakemake --cores 2 results/digits/vgg16/quick/seed0/figures/saliency.png" in text
    assert "resnet50/quick/seed0/figures/saliency.png" not in text
    without_maps(other)
    text = section(write_report(best, other))
    assert "No maps show here where a network looked: Grad-CAM shows it for networks that end in convolutions" in text
    assert "saliency.png" not in text


def without_maps(directory):
    metrics = read_json(directory / "metrics.json")
    metrics["model"]["grad_cam"] = False
    write_json(directory / "metrics.json", metrics)


def test_images_that_were_files_are_named_by_them(experiment, write_report):
    true = np.arange(360) % 10
    folders = [experiment(model=model) for model in ("vgg16", "resnet50")]
    for folder in folders:
        predicted = np.where(np.arange(360) == 7, 8, true)
        write_predictions(folder, true, predicted, 10, files=[f"test/a|b/{index}.png" for index in range(360)])
    text = write_report(*folders)
    assert "- test/a&#124;b/7.png: 7, predicted as 8 (94.3 %)" in section(text)
    assert "numbers from 0):\ntest/a&#124;b/7.png: 7, predicted as 8" in text


def test_of_one_network_it_is_said_which_recipe_all_seeds_are_of(experiment, write_report):
    runs = [experiment(recipe="quick", lr=0.05, seed=seed, validation_accuracy=0.9) for seed in range(3)]
    runs += [experiment(recipe="quick,lr=0.1", lr=0.1, seed=seed, accuracy=0.5) for seed in range(3)]
    of_all = "all 3 trained networks of ResNet50 (quick, lr 0.05)"
    assert f"No test image is predicted wrongly by {of_all}." in section(write_report(*runs))


def test_one_network_alone_shows_no_image_that_all_miss(experiment, write_report):
    assert "trained networks" not in section(write_report(experiment(accuracy=0.5)))


@pytest.mark.parametrize("accuracy", [1.0, 0.5])
def test_where_no_image_is_missed_by_all_a_sentence_says_it_and_no_figure_is_shown(experiment, write_report, accuracy):
    text = section(write_report(experiment(model="vgg16"), experiment(model="resnet50", accuracy=accuracy)))
    assert ("\nNo test image is predicted wrongly by all 2 trained networks.\n" in text) == (accuracy == 1)
    assert ("digits/comparison/missed_by_all.png" in text) == (accuracy < 1)


def test_an_experiment_has_its_classes_with_intervals_and_its_surest_mistakes(experiment, write_report):
    directory = experiment(accuracy=0.9)
    [text] = [part for part in write_report(directory).split("<details><summary>") if "Least sure right" in part]
    classes = table_of(text, "Class")
    assert len(classes) == 2 + 10
    recall = read_json(directory / "metrics.json")["test"]["per_class"][0]["recall"]
    assert classes[2][:2] == ["0", "36"]
    assert classes[2][3].startswith(f"{100 * recall:.1f} (")
    tensors = load_file(directory / "predictions.safetensors")
    wrong = np.flatnonzero(tensors["test_logits"].argmax(1) != tensors["test_labels"])
    assert f"numbers from 0):\nimage {wrong[0]}: {tensors['test_labels'][wrong[0]]}, predicted as" in text
    assert "Least sure right answers:" in text


def test_a_study_with_robustness_has_a_row_per_network_with_means_over_seeds_and_severities(experiment, write_report):
    folders = [experiment(model="vgg16", accuracy=0.8)]
    folders += [experiment(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.96, 0.98))]
    assert "Corrupted" not in write_report(*folders)
    text = section(write_report(*folders, optional=("robustness",)))
    [table] = [table for table in tables(text) if "Corrupted" in table[0]]
    assert table[0] == ["Model", "As they are", "Corrupted", "Noise", "JPEG"]
    spread = [cell.replace(" ", NO_BREAK) for cell in ("97.00 ± 1.41", "77.60 ± 1.13")]
    assert table[2] == ["ResNet50", *spread, "77.60", "77.60"]
    assert table[3] == ["VGG-16", "80.00", "64.00", "64.00", "64.00"]
    assert "Test accuracy in percent on 360 test images, as they are and corrupted" in text
    assert "±: the standard deviation over the seeds. Differences are not tested." in text
    assert "digits/comparison/corruptions.png" in text
    assert "These images have 28 pixels, so blur" in text
    for folder in folders:
        set_size(folder, 3, 32, 32)
    assert "so blur" not in write_report(*folders, optional=("robustness",))


def test_robustness_of_other_settings_is_refused(experiment, write_report):
    directory = experiment()
    file = directory / "robustness.json"
    write_json(file, read_json(file) | {"spec_sha256": "of another"})
    with pytest.raises(UserError, match=r"robustness\.json: made with other settings than metrics\.json; start Snake"):
        write_report(directory, optional=("robustness",))
    write_json(file, {"accuracy": 1})
    with pytest.raises(UserError, match=r"robustness\.json: damaged \(spec_sha256: Field required\); delete it"):
        write_report(directory, optional=("robustness",))


@pytest.mark.parametrize("classes", [12, 13])
def test_of_many_classes_those_with_the_lowest_f1_are_shown(experiment, write_report, classes):
    directory = experiment(classes=[f"class {place}" for place in range(classes)], accuracy=0.7)
    text = write_report(directory)
    rows = table_of(text, "Class")[2:]
    assert len(rows) == 12
    scores = {row["class"]: row["f1"] for row in read_json(directory / "metrics.json")["test"]["per_class"]}
    shown = {row[0] for row in rows}
    left_out = [score for name, score in scores.items() if name not in shown]
    assert all(score >= max(scores[name] for name in shown) for score in left_out)
    assert len(left_out) == classes - 12
    assert ("metrics.json has 1 more." in text) is (classes == 13)
