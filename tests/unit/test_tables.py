"""The report's tables of results and recipes, and metrics.csv."""

import csv
import json

import pytest
from report_pages import MNIST, set_recipe, set_timing, table_of, tables


def test_a_run_is_followed_by_its_published_row_and_the_difference(experiment, write_report):
    table = tables(write_report(experiment(**MNIST, model="mobilenet_v2")))[0]
    header, _, run, published, difference = table
    assert header == [
        *("Model", "Validation acc. (%)", "Test acc. (%)", "Group", "Epochs", "Training time"),
        *("Size (MB)", "Trainable parameters", "Train loss", "Test loss", "Train acc. (%)"),
        *("Precision (%)", "Recall (%)"),
    ]
    accuracy, time = "99.21<br>(99.02 to 99.37)", "1 min 00 s"
    plain = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in run]
    assert plain[:9] == ["MobileNetV2", "99.21", accuracy, "a", "8", time, "9.11", "1,814,346", "0.01447"]
    assert published == [
        *("MobileNetV2, published", "–", "94.06", "–", "–", "–"),
        *("9.11", "1,814,346", "0.04369", "0.09918", "98.61", "94", "94"),
    ]
    assert difference == [
        *("difference", "–", "+5.15", "–", "–", "–"),
        *("0", "0", "−0.0292", "−0.0710", "+0.97", "+5", "+5"),
    ]


def test_the_best_on_validation_comes_first_whatever_its_test_accuracy(experiment, write_report):
    of_runs = (("vgg16", 0.9, 0.99), ("resnet50", 0.98, 0.9), ("mobilenet_v2", 0.95, 0.95))
    runs = [experiment(model=model, validation_accuracy=chosen, accuracy=test) for model, chosen, test in of_runs]
    rows = tables(write_report(*runs))[0][2:5]
    assert [row[0] for row in rows] == ["ResNet50", "MobileNetV2", "VGG-16"]
    assert [row[1] for row in rows] == ["98.00", "95.00", "90.00"]


def test_a_trial_that_its_search_stopped_early_is_named_so(experiment, write_report):
    stopped, done = experiment(recipe="quick,epochs=2,lr=0.1", epochs=2), experiment(recipe="quick,lr=0.05")
    names = [row[0] for row in tables(write_report(stopped, done, stopped=(stopped,)))[0][2:]]
    assert names == [
        "**ResNet50 (quick, epochs 2, lr 0.1), stopped early**",
        "ResNet50 (quick, epochs 8, lr 0.05)<br><small>not chosen</small>",
    ]


def test_epochs_and_training_time_are_means_over_the_seeds(experiment, write_report):
    runs = [experiment(seed=seed, epochs=5, wall_seconds=seconds) for seed, seconds in enumerate((50, 80))]
    assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in tables(write_report(*runs))[0][2][4:6]] == [
        *("5", "1 min 05 s")
    ]


def test_a_pair_that_nobody_published_has_its_row_only(experiment, write_report):
    assert len(tables(write_report(experiment(dataset="digits")))[0]) == 3


def test_a_variant_is_compared_with_the_dataset_that_it_stands_for(experiment, write_report):
    about = {"cifar10-jpeg": {"variant_of": "cifar10", "note": "JPEG copy, harder."}}
    text = write_report(experiment(dataset="cifar10-jpeg", accuracy=0.7), datasets=about)
    assert (
        "This dataset stands for cifar10: the published numbers are for cifar10 itself.\nNote: JPEG copy, harder."
        in text
    )
    header, _, _, published, difference = tables(text)[0]
    assert (published[0], published[header.index("Size (MB)")]) == ("ResNet50, published", "108.61")
    assert difference[header.index("Test acc. (%)")] == "−3.58"


def test_a_model_of_another_name_is_compared_by_its_architecture(experiment, write_report):
    text = write_report(experiment(**MNIST, model="resnet50_full", architecture="resnet50"))
    assert [row[0] for row in tables(text)[0][2:]] == ["resnet50_full", "ResNet50, published", "difference"]


def test_the_published_row_stands_once_below_the_run_of_its_network_that_is_best_on_validation(
    experiment, write_report
):
    validation = {("a", "vgg16"): 0.9, ("a", "resnet50"): 0.7, ("b", "vgg16"): 0.8, ("b", "resnet50"): 0.95}
    runs = [
        experiment(**MNIST, model=model, recipe=recipe, validation_accuracy=value)
        for (recipe, model), value in validation.items()
    ]
    assert [row[0] for row in tables(write_report(*runs))[0][2:]] == [
        *("**ResNet50 (b)**", "ResNet50, published", "difference"),
        *("**VGG-16 (a)**", "VGG-16, published", "difference"),
        *(f"{name}<br><small>not chosen</small>" for name in ("VGG-16 (b)", "ResNet50 (a)")),
        "<em>Committee of 2 networks</em><br><small>not ranked</small>",
    ]


def test_seeds_are_one_row_with_the_mean_of_every_number(experiment, write_report):
    text = write_report(*(experiment(seed=seed, accuracy=0.9 + seed / 10, n_test=1000) for seed in (0, 1)))
    header, _, row, committee = tables(text)[0]
    assert row[0] == "ResNet50, 2 seeds"
    assert row[header.index("Test loss")] == f"{(0.24 + 0.01) / 2:.4g}"
    accuracy = row[header.index("Test acc. (%)")].replace("\N{NO-BREAK SPACE}", " ")
    assert accuracy.startswith("95.00 ± 7.07<br>(")  # 90 and 100
    assert committee[0].startswith("<em>Committee of 2 networks</em>")
    caption = "95 % interval over seeds and images; the spread over 2 seeds is hardly known"
    assert f"mean of 2 seeds; {caption}; ±: the standard deviation over the seeds." in text
    assert "±" not in write_report(experiment())


def test_the_committee_has_a_row_of_its_own_that_is_not_ranked(experiment, write_report, tmp_path):
    text = write_report(experiment(model="vgg16", accuracy=0.9), experiment(accuracy=0.8))
    header, _, *rows, committee = tables(text)[0]
    assert len(rows) == 2
    assert committee[0] == "<em>Committee of 2 networks</em><br><small>not ranked</small>"
    found = json.loads((tmp_path / "results/digits/comparison/statistics.json").read_text())["committee"]
    numbers = [f"{100 * value:.2f}" for value in (found["accuracy"], *found["ci95"])]
    cells = dict(zip(header, committee, strict=True))
    shown = cells.pop("Test acc. (%)").replace("\N{NO-BREAK SPACE}", " ")
    assert shown == "{}<br>({} to {})".format(*numbers)
    assert {*list(cells.values())[1:]} == {"–"}
    assert "The committee answers by the mean of the probabilities of all these trained networks. It costs" in text
    assert "ommittee" not in write_report(experiment())


def test_nothing_is_bold_because_of_its_test_accuracy(experiment, write_report):
    runs = [experiment(model="vgg16", accuracy=0.5), experiment(model="mobilenet_v2", accuracy=1.0)]
    assert "**" not in str(tables(write_report(*runs))[0])


def test_two_that_share_a_letter_cannot_be_distinguished(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95, "mobilenet_v2": 0.5}
    text = write_report(*(experiment(model=model, accuracy=value) for model, value in models.items()))
    header, _, *rows = tables(text)[0]
    letters = {row[0]: row[header.index("Group")] for row in rows[:3]}
    assert letters == {"VGG-16": "a", "ResNet50": "a", "MobileNetV2": "b"}
    assert "exact McNemar tests of the trained networks, which say nothing about other seeds), 3 pairs" in text


def test_of_several_recipes_the_one_that_validation_chose_is_in_bold(experiment, write_report):
    lucky = experiment(recipe="lucky", accuracy=0.99, validation_accuracy=0.9)
    chosen = experiment(recipe="chosen", accuracy=0.97, validation_accuracy=0.95)
    text = write_report(lucky, chosen)
    assert [row[0] for row in tables(text)[0][2:4]] == [
        "**ResNet50 (chosen)**",
        "ResNet50 (lucky)<br><small>not chosen</small>",
    ]
    assert "Of each network, the recipe in bold has the best validation accuracy and stands for it. Test acc" in text


def test_a_loss_that_was_not_finite_is_a_dash(experiment, write_report):
    directory = experiment(**MNIST)
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["test"]["loss"] = None
    (directory / "metrics.json").write_text(json.dumps(metrics))
    header, _, *rows = tables(write_report(directory))[0]
    assert [row[header.index("Test loss")] for row in rows] == ["–", "0.03467", "–"]


def test_mirror_averages_have_a_column_of_their_own_and_leave_the_headline(experiment, write_report, tmp_path):
    averaged, plain = experiment("photos", accuracy=0.9), experiment("photos", accuracy=0.9, model="vgg16")
    metrics = json.loads((averaged / "metrics.json").read_text())
    test = {key: value for key, value in metrics["test"].items() if key not in ("per_class", "confusion_matrix")}
    metrics["mirror_averaged"] = {"validation": metrics["validation"] | {"accuracy": 0.93}, "test": test}
    test["accuracy"] = 0.95
    (averaged / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(averaged, plain)
    header, _, *rows = tables(text)[0]
    assert header[-1] == "Mirror-averaged test acc. (%)"
    test = header.index("Test acc. (%)")
    assert [(row[test][:5], row[-1]) for row in rows[:2]] == [("90.00", "95.00"), ("90.00", "–")]
    assert "Mirror-averaged: the mean of the probabilities of each test image and of its mirror image decides" in text
    assert "Averaged over each image and its mirror image: test accuracy 95.00 %, validation accuracy 93.00 %." in text
    assert "95.00" not in text.split("## Results")[0]
    first, second = csv.DictReader((tmp_path / "results/metrics.csv").read_text().splitlines())
    cells = [first[f"mirror_averaged_{name}"] for name in ("test_accuracy", "validation_accuracy")]
    assert (first["test_accuracy"], cells) == ("0.9", ["0.95", "0.93"])
    assert second["mirror_averaged_test_accuracy"] == ""


def test_a_report_without_mirror_averages_does_not_mention_them(experiment, write_report):
    assert "irror-averaged" not in write_report(experiment("photos"))


def test_each_training_run_has_its_epochs_and_its_time_by_the_clock_and_of_the_processor(experiment, write_report):
    new, old = experiment(epochs=3), experiment(model="vgg16", epochs=2)
    set_timing(new, resumed_from_epochs=[1.25])
    set_timing(old, cpu_seconds=None)
    header, _, *rows = next(table for table in tables(write_report(new, old)) if "CPU time" in table[0])
    assert header == [
        *("Model", "Dataset", "Recipe", "Seed", "On"),
        *("Epochs", "Wall time", "CPU time", "Images/s", "Peak memory (MB)"),
    ]
    times = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row[5:8]] for row in rows]
    assert times == [["3 (resumed after 1.25)", "1 min 00 s", "1 min 48 s"], ["2", "1 min 00 s", "–"]]


def test_recipes_are_described_by_what_differs(experiment, write_report):
    text = write_report(experiment(recipe="short", epochs=1), experiment(recipe="long", epochs=9))
    assert table_of(text, "Recipe") == [
        ["Recipe", "Used for", "epochs"],
        ["---", "---", "---:"],
        ["short", "ResNet50 on digits", "1"],
        ["long", "ResNet50 on digits", "9"],
    ]
    assert "Common to all recipes:\nbatch_size 64, optimizer sgd, lr 0.05, augment.rotation 10.0" in text
    assert "off: clip_norm, augment.mixup." in text


def test_each_recipe_has_its_values_in_its_name(experiment, write_report):
    recipes = ("quick", "quick,lr=0.03", "quick,augment.crop_padding=2,lr=0.03")
    text = write_report(*(experiment(recipe=recipe, lr=0.01 * (i + 1)) for i, recipe in enumerate(recipes)))
    of_runs = tables(text)[0]
    names = ["quick", "quick, lr 0.03", "quick, augment.crop_padding 2, lr 0.03"]
    # Validation accuracies are equal: the first is chosen. Its own learning rate stands next to the others.
    chosen = "**ResNet50 (quick, lr 0.01)**"
    of_models = [chosen, *(f"ResNet50 ({name})<br><small>not chosen</small>" for name in names[1:])]
    assert [row[0].replace("\\", "") for row in of_runs[2:5]] == of_models
    assert names == [row[0].replace("\\", "") for row in table_of(text, "Recipe")[2:]]
    assert "quick, lr 0.03, seed 0" in text


def test_one_recipe_needs_no_table(experiment, write_report):
    assert "One recipe for all experiments:\nepochs 8, batch_size 64" in write_report(experiment())


def test_an_option_is_shown_as_it_took_effect(experiment, write_report):
    text = write_report(experiment(flips=False), experiment("photos", flips=True))
    assert table_of(text, "Recipe")[0][2:] == ["augment.horizontal_flip"]
    assert [row[2] for row in table_of(text, "Recipe")[2:]] == ["no", "yes"]


def test_an_option_that_is_off_in_one_recipe_is_described_by_its_options_in_another(experiment, write_report):
    directories = experiment(recipe="plain"), experiment(recipe="growing")
    for directory, resizing in zip(directories, (None, {"start": 0.5, "until": 0.8}), strict=True):
        set_recipe(directory, progressive_resizing=resizing)
    table = table_of(write_report(*directories), "Recipe")
    assert [row[2:] for row in table if row[0] != "---"] == [
        ["progressive_resizing.start", "progressive_resizing.until"],
        ["–", "–"],
        ["0.5", "0.8"],
    ]


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ({"weight_averaging": "none"}, "momentum 0.9"),
        ({"weight_averaging": "ema"}, "ema_decay 0.99, momentum 0.9, weight_averaging ema"),
        ({"weight_averaging": "swa"}, "averaging_start 0.75, momentum 0.9, weight_averaging swa"),
        ({"weight_averaging": "none", "optimizer": "adamw"}, ""),
    ],
)
def test_options_without_effect_are_left_out(experiment, write_report, chosen, shown):
    directory = experiment()
    set_recipe(directory, ema_decay=0.99, averaging_start=0.75, momentum=0.9, **chosen)
    line = write_report(directory).split("One recipe for all experiments:\n")[1].split("; off")[0]
    names = ("weight_averaging", "ema_decay", "averaging_start", "momentum")
    assert ", ".join(part for part in sorted(line.split(", ")) if part.split()[0] in names) == shown


def test_metrics_csv_has_one_row_per_experiment(experiment, write_report, tmp_path):
    write_report(experiment(seed=0, accuracy=0.9), experiment(seed=1, model="vgg16", warnings=["w"]))
    first, second = csv.DictReader((tmp_path / "results/metrics.csv").read_text().splitlines())
    assert (first["dataset"], first["model"], first["recipe"], first["seed"]) == ("digits", "resnet50", "quick", "0")
    assert (float(first["test_accuracy"]), first["epochs"], first["threads"]) == (0.9, "8", "2")
    assert first["accumulation"] == "1"
    assert (first["wall_seconds"], first["cpu_seconds"]) == ("60.0", "108.0")
    assert float(first["test_accuracy_ci95_low"]) < 0.9 < float(first["test_accuracy_ci95_high"])
    assert (second["architecture"], second["parameters"], second["warnings"]) == ("vgg16", "134308810", "1")
    assert len(first["spec_sha256"]) == 64


def test_metrics_csv_separates_the_images_trained_on_from_the_sample_evaluated(experiment, write_report, tmp_path):
    sampled, whole = experiment(seed=0), experiment(seed=1)
    metrics = json.loads((sampled / "metrics.json").read_text())
    metrics["train"] |= {"n": 10000, "of": 54000}
    (sampled / "metrics.json").write_text(json.dumps(metrics))
    write_report(sampled, whole)
    rows = csv.DictReader((tmp_path / "results/metrics.csv").read_text().splitlines())
    assert [(row["train_images"], row["train_images_evaluated"]) for row in rows] == [
        ("54000", "10000"),
        ("1293", "1293"),
    ]
