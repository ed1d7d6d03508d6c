"""The report: what its sentences claim, its tables, links and names, and the files beside it."""

import csv
import json
import os
import re
import subprocess
import time
from html import unescape
from urllib.parse import unquote

import pytest

import report
from deepnets.reporting.environment import describe, git_state
from deepnets.reporting.job_times import JobTime, from_first_to_last, job_times
from deepnets.utils.errors import UserError

HOSTILE = ["a|b", "<script>alert(1)</script>", "`x`", "line\nbreak", "猫 🐶", "[x](y)", "*b*", "$x$", "_e_", "9"]
MNIST = {"dataset": "mnist", "n_test": 10_000, "accuracy": 0.9921}


@pytest.fixture
def write_report(tmp_path, root):
    """Write the report of experiments given by their directories; return its text."""

    def write(*directories, study="demo", datasets=None, benchmarks=None, template=None):
        nothing = {"variant_of": None, "note": None, "own_files": None}
        about = {directory.parts[-4]: nothing for directory in directories}
        about |= {name: nothing | said for name, said in (datasets or {}).items()}
        spec = {"study": study, "datasets": about, "experiments": [*map(str, directories)]}
        arguments = ["--job", json.dumps({"spec": spec, "code": {}})]
        arguments += ["--published", str(root / "workflow/published.csv")]
        arguments += ["--template", str(template or root / "workflow/templates/report.md.j2")]
        arguments += ["--benchmarks", str(benchmarks)] if benchmarks else []
        for option, name in (
            ("output", "report.md"),
            ("metrics-csv", "metrics.csv"),
            ("environment", "environment.json"),
        ):
            arguments += [f"--{option}", str(tmp_path / "results" / name)]
        report.main(arguments)
        return (tmp_path / "results/report.md").read_text(encoding="utf-8")

    return write


def set_timing(directory, **values):
    timing = json.loads((directory / "timing.json").read_text())
    (directory / "timing.json").write_text(json.dumps(timing | values))


def set_recipe(directory, **values):
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["spec"]["recipe"] |= values
    (directory / "metrics.json").write_text(json.dumps(metrics))


def tables(text):
    """Every table of a page, as lists of rows of cells."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def summary(text):
    return unescape(text.split("\n\n")[1])


# -- sentences --------------------------------------------------------------------------------------------------------


def test_one_model_on_one_dataset_is_told_in_the_singular(experiment, write_report):
    text = summary(write_report(experiment(accuracy=0.9)))
    assert text == (
        "The study demo asks how well ResNet50 classifies digits when trained from scratch, with one seed. "
        "On digits, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %). "
        "The reproduced study has no figure for any of these pairs to compare with."
    )


def test_a_clear_winner_is_named_with_its_interval(experiment, write_report):
    text = summary(
        write_report(experiment(model="vgg16", accuracy=0.5), experiment(model="mobilenet_v2", accuracy=0.95))
    )
    assert (
        "asks which of VGG-16 and MobileNetV2 classifies digits best when trained from scratch, with one seed each."
        in text
    )
    assert "On digits, MobileNetV2 was best with 95.00 % test accuracy (95 % interval 92.24 to 96.81 %)." in text


def test_overlapping_intervals_leave_the_order_open(experiment, write_report):
    models = {"vgg16": 0.94, "resnet50": 0.95, "mobilenet_v2": 0.5}
    text = summary(write_report(*(experiment(model=model, accuracy=value) for model, value in models.items())))
    assert "which of 3 networks (VGG-16, ResNet50 and MobileNetV2)" in text
    assert "ResNet50 was ahead with 95.00 %" in text
    assert "its interval overlaps that of VGG-16: the order is open." in text


def test_all_published_accuracies_exceeded_is_said_with_how_many_are_clear(experiment, write_report):
    clear, close = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.9865}, model="resnet50"),
    )
    text = summary(write_report(clear, close))
    assert text.endswith(
        "Test accuracy is above the published one in both pairs that have one, "
        "in 1 of them by more than the 95 % interval."
    )


def test_published_accuracies_not_reached_are_named(experiment, write_report):
    above, below = (
        experiment(**MNIST, model="mobilenet_v2"),
        experiment(**{**MNIST, "accuracy": 0.97}, model="resnet50"),
    )
    text = summary(write_report(above, below))
    assert "in 1 of 2 pairs that have one by" not in text
    assert text.endswith("in 1 of 2 pairs that have one, by more than the 95 % interval; not above: ResNet50 on mnist.")
    assert summary(write_report(below)).endswith("accuracy of ResNet50 on mnist is not above the published 98.61 %.")


def test_an_equal_accuracy_is_not_above(experiment, write_report):
    text = summary(write_report(experiment(**{**MNIST, "accuracy": 0.9861}, model="resnet50")))
    assert text.endswith("accuracy of ResNet50 on mnist is not above the published 98.61 %.")


def test_several_seeds_and_recipes_are_said(experiment, write_report):
    directories = [experiment(recipe=recipe, seed=seed, accuracy=0.9) for recipe in ("a", "b") for seed in (0, 1)]
    assert "with 2 recipes and 2 seeds each." in summary(write_report(*directories))


def test_many_datasets_are_counted_not_listed(experiment, write_report):
    text = summary(write_report(*(experiment(dataset=f"set{i}") for i in range(9))))
    assert "classifies 9 datasets when" in text
    assert "the tables below have the other 3." in text


def test_a_warning_stands_before_the_results_and_with_its_experiment(experiment, write_report):
    text = write_report(experiment(model="vgg16", warnings=["under-trained: 31% after 8 epochs; try 16"]))
    line = "**VGG-16 on digits, recipe quick, seed 0**: under-trained: 31% after 8 epochs; try 16."
    assert f"> [!WARNING]\n> - {line}" in text[: text.index("## Results")]
    assert "**Warning:** under-trained" in text[text.index("## Experiments") :]
    assert "[!WARNING]" not in write_report(experiment(model="vgg16"))


def test_different_versions_of_torch_are_a_warning(experiment, write_report):
    old, new = experiment(seed=0), experiment(seed=1)
    set_timing(old, versions={"torch": "2.11.0"})
    assert "> - The experiments were trained with different versions of torch: 2.11.0 and 2.15.0." in write_report(
        old, new
    )


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_run_stands_over_its_published_row_and_the_difference(experiment, write_report):
    table = tables(write_report(experiment(**MNIST, model="mobilenet_v2")))[0]
    header, _, run, published, difference = table
    assert header == [
        *("Model", "Size (MB)", "Trainable parameters", "Train loss", "Test loss"),
        *("Train acc. (%)", "Test acc. (%)", "Precision", "Recall"),
    ]
    assert run[:4] == ["**MobileNetV2**", "9.11", "1,814,346", "0.01447"]
    assert run[6].replace("\N{NO-BREAK SPACE}", " ") == "**99.21**<br>(99.02 to 99.37)"
    assert published == [
        *("MobileNetV2, published", "9.11", "1,814,346", "0.04369", "0.09918", "98.61", "94.06", "0.94", "0.94")
    ]
    assert difference == ["difference", "0", "0", "−0.0292", "−0.0710", "+0.97", "+5.15", "+0.05", "+0.05"]


def test_a_pair_that_nobody_published_has_its_row_only(experiment, write_report):
    assert len(tables(write_report(experiment(dataset="digits")))[0]) == 3


def test_a_variant_is_compared_with_what_it_stands_for_and_says_so(experiment, write_report):
    about = {"cifar10-jpeg": {"variant_of": "cifar10", "note": "JPEG copy, harder."}}
    text = write_report(experiment(dataset="cifar10-jpeg", accuracy=0.7), datasets=about)
    assert "It stands in for cifar10: published figures are for cifar10 itself.\nNote: JPEG copy, harder." in text
    assert tables(text)[0][3][:2] == ["ResNet50, published", "108.61"]
    assert tables(text)[0][4][6] == "−3.58"


def test_a_model_of_another_name_is_compared_by_its_architecture(experiment, write_report):
    text = write_report(experiment(**MNIST, model="resnet50_full", architecture="resnet50"))
    assert [row[0] for row in tables(text)[0][2:]] == ["**resnet50_full**", "ResNet50, published", "difference"]


def test_runs_of_one_architecture_stand_together_over_one_published_row(experiment, write_report):
    recipes = [experiment(**MNIST, model=model, recipe=recipe) for recipe in "ab" for model in ("vgg16", "resnet50")]
    assert [row[0] for row in tables(write_report(*recipes))[0][2:7]] == [
        *("**VGG-16 (a)**", "**VGG-16 (b)**", "VGG-16, published", "difference, VGG-16 (a)", "difference, VGG-16 (b)")
    ]


def test_seeds_are_one_row_with_the_mean_of_every_figure(experiment, write_report):
    text = write_report(*(experiment(seed=seed, accuracy=0.9 + seed / 10, n_test=1000) for seed in (0, 1)))
    row = tables(text)[0][2]
    assert row[0] == "**ResNet50, 2 seeds**"
    assert row[4] == f"{(0.24 + 0.01) / 2:.4g}"
    assert row[6].startswith("**95.00**<br>(")
    assert "mean of 2 seeds; 95 % interval over the seeds (Student's t)." in text


def test_a_loss_that_was_not_finite_is_a_dash(experiment, write_report):
    directory = experiment(**MNIST)
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["test"]["loss"] = None
    (directory / "metrics.json").write_text(json.dumps(metrics))
    assert [row[4] for row in tables(write_report(directory))[0][2:]] == ["–", "0.03467", "–"]


def test_recipes_are_told_by_what_differs(experiment, write_report):
    text = write_report(experiment(recipe="short", epochs=1), experiment(recipe="long", epochs=9))
    assert tables(text)[1] == [
        ["Recipe", "Used for", "epochs"],
        ["---", "---", "---:"],
        ["short", "ResNet50 on digits", "1"],
        ["long", "ResNet50 on digits", "9"],
    ]
    assert "All of them:\nbatch_size 64, optimizer sgd, lr 0.05, augment.rotation 10.0" in text
    assert "off: clip_norm, augment.mixup." in text


def test_one_recipe_needs_no_table(experiment, write_report):
    assert "One recipe for all experiments:\nepochs 8, batch_size 64" in write_report(experiment())


def test_a_setting_is_told_as_it_took_effect(experiment, write_report):
    text = write_report(experiment(flips=False), experiment("photos", flips=True))
    assert tables(text)[2][0][2:] == ["augment.horizontal_flip"]
    assert [row[2] for row in tables(text)[2][2:]] == ["no", "yes"]


def test_what_is_off_in_one_recipe_is_told_by_its_settings_in_another(experiment, write_report):
    directories = experiment(recipe="plain"), experiment(recipe="growing")
    for directory, resizing in zip(directories, (None, {"start": 0.5, "until": 0.8}), strict=True):
        set_recipe(directory, progressive_resizing=resizing)
    table = tables(write_report(*directories))[1]
    assert [row[2:] for row in table if row[0] != "---"] == [
        ["progressive_resizing.start", "progressive_resizing.until"],
        ["–", "–"],
        ["0.5", "0.8"],
    ]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"weight_averaging": "none"}, "momentum 0.9"),
        ({"weight_averaging": "ema"}, "ema_decay 0.99, momentum 0.9, weight_averaging ema"),
        ({"weight_averaging": "swa"}, "averaging_start 0.75, momentum 0.9, weight_averaging swa"),
        ({"weight_averaging": "none", "optimizer": "adamw"}, ""),
    ],
)
def test_settings_that_do_nothing_are_left_out(experiment, write_report, chosen, told):
    directory = experiment()
    set_recipe(directory, ema_decay=0.99, averaging_start=0.75, momentum=0.9, **chosen)
    line = write_report(directory).split("One recipe for all experiments:\n")[1].split("; off")[0]
    names = ("weight_averaging", "ema_decay", "averaging_start", "momentum")
    assert ", ".join(part for part in sorted(line.split(", ")) if part.split()[0] in names) == told


# -- cost -------------------------------------------------------------------------------------------------------------


def write_benchmark(folder, stage, seconds, ended=1_000_000):
    """Write a job's benchmark file as Snakemake does when the job ends, in seconds since 1970."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stage}.benchmark.tsv"
    file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:01:00\tNA\n")
    os.utime(file, (ended, ended))


def test_time_by_stage_is_that_of_the_studys_own_jobs(experiment, write_report, tmp_path):
    directory = experiment()
    own, other = (tmp_path / "logs/digits/resnet50/quick" / seed for seed in ("seed0", "seed1"))
    for folder, stage, seconds in (
        *((own, "train", 90), (own, "evaluate", 6), (other, "train", 1000)),
        *((tmp_path / "logs/digits", "prepare", 2), (tmp_path / "logs/mnist", "prepare", 1000)),
        *((tmp_path / f"logs/digits/comparison/{figure}", "plot_comparison", 1) for figure in ("one", "two")),
    ):
        write_benchmark(folder, stage, seconds)
    (own / "plot.benchmark.tsv").write_text("damaged")
    table = next(t for t in tables(write_report(directory, benchmarks=tmp_path / "logs")) if t[0][0] == "Stage")
    assert [[unescape(cell) for cell in row[1:]] for row in table[2:]] == [
        ["1", "1 min 30 s".replace(" ", "\xa0"), "90.0 %"],
        ["1", "6.0\xa0s", "6.0 %"],
        ["2", "2.0\xa0s", "2.0 %"],
        ["1", "2.0\xa0s", "2.0 %"],
    ]


def test_time_of_all_jobs_is_that_of_steps_between_and_around(experiment, write_report, tmp_path):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    set_timing(directory, train_seconds=60, wall_seconds=68)
    write_benchmark(logs, "train", 70)
    write_benchmark(logs, "evaluate", 10)
    text = write_report(directory, benchmarks=tmp_path / "logs")
    assert "Of the time of all jobs, 75.0 % were steps of training, 10.0 % validation and saved states" in text
    assert "15.0 % all that is around training" in text


def test_share_of_the_steps_is_not_told_where_a_training_is_measured_by_halves(experiment, write_report, tmp_path):
    one, two = experiment(seed=0), experiment(seed=1)
    for seed in (0, 1):
        write_benchmark(tmp_path / f"logs/digits/resnet50/quick/seed{seed}", "train", 70)
    assert "were steps" in write_report(one, two, benchmarks=tmp_path / "logs")
    set_timing(one, resumed_from_epochs=[1.5])  # its benchmark file tells of the time after that
    assert "were steps" not in write_report(one, two, benchmarks=tmp_path / "logs")
    set_timing(one, resumed_from_epochs=[])
    (tmp_path / "logs/digits/resnet50/quick/seed1/train.benchmark.tsv").unlink()
    assert "were steps" not in write_report(one, two, benchmarks=tmp_path / "logs")


def test_wall_time_is_from_the_first_start_to_the_last_end(experiment, write_report, tmp_path):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    write_benchmark(logs, "train", 100, ended=1100)
    write_benchmark(logs, "evaluate", 10, ended=1130)
    text = write_report(directory, benchmarks=tmp_path / "logs").replace("\xa0", " ")
    passed = "From the start of the first job to the end of the last 2 min 10 s passed"
    assert f"{passed}, 20.0 s of it without a job at work" in text
    write_benchmark(logs, "evaluate", 30, ended=1130)
    assert f"{passed}.\n" in write_report(directory, benchmarks=tmp_path / "logs").replace("\xa0", " ")


def test_jobs_side_by_side_count_once_towards_the_wall_time():
    jobs = [JobTime("train", ended, seconds) for ended, seconds in ((100, 100), (90, 50), (160, 30), (150, 10))]
    assert from_first_to_last(jobs) == (160, 30)


def test_without_benchmarks_there_is_no_table_by_stage(experiment, write_report, tmp_path):
    assert "Snakemake's benchmark files" not in write_report(experiment(), benchmarks=tmp_path / "nothing")
    assert job_times(tmp_path / "nothing", [("digits", "resnet50", "quick", "seed0")]) == []


# -- a page that holds together ---------------------------------------------------------------------------------------


def links(text):
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [unquote(unescape(target)) for target in targets]


def test_every_link_is_relative_and_resolves(experiment, write_report, tmp_path):
    budgets = [experiment(model="vgg16", recipe=f"b{epochs}", epochs=epochs) for epochs in (1, 2)]
    for directory in budgets:
        (directory / "figures").mkdir()
        for figure in ("learning_curves", "confusion_matrix"):
            (directory / f"figures/{figure}.png").touch()
    (tmp_path / "results/digits/comparison").mkdir()
    for figure in ("accuracy", "accuracy_vs_parameters", "accuracy_vs_time", "accuracy_vs_budget"):
        (tmp_path / f"results/digits/comparison/{figure}.png").touch()
    targets = links(write_report(*budgets))
    assert len(targets) == 4 + 2 * 5 + 2
    assert [target for target in targets if not (tmp_path / "results" / target).is_file()] == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"model": "vgg16", "epochs": 2}, id="two models"),
        pytest.param({"recipe": "lr", "lr": 0.1}, id="two learning rates"),
        pytest.param({"recipe": "record", "lr": 0.1, "epochs": 200}, id="quick and record"),
    ],
)
def test_a_study_without_budgets_shows_no_budget_figure(experiment, write_report, other):
    targets = links(write_report(experiment(), experiment(**other)))
    assert "digits/comparison/accuracy_vs_time.png" in targets
    assert "digits/comparison/accuracy_vs_budget.png" not in targets


def test_names_cannot_break_the_page(experiment, write_report):
    directory = experiment(classes=HOSTILE, accuracy=0.5, warnings=["|".join(HOSTILE)], device_name="<b>|CPU`")
    text = write_report(directory, study="a|<i>`", datasets={"digits": {"note": " ".join(HOSTILE)}})
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
    page = re.sub(r"(?s)```+sh.*?```+", "", text)  # names in commands are text, whatever they hold
    assert set(re.findall(r"<(\w+)", page)) == {"br", "code", "details", "img", "summary"}
    assert text.count("<details") == text.count("</details>") == 2
    assert "`" not in page
    assert "[x](y)" not in page
    assert "Note: a|b <script>alert(1)</script> `x` line break 猫 🐶 [x](y) *b* $x$ _e_ 9" in unescape(text)


def test_no_value_is_left_undefined_or_none(experiment, write_report):
    text = write_report(experiment(**MNIST), experiment())
    assert not re.search(r"\bNone\b|\bnan\b|undefined|\{\{|\{%", text)


def test_a_template_that_asks_for_what_is_not_there_is_a_defect(experiment, write_report, tmp_path):
    template = tmp_path / "template.md.j2"
    template.write_text("{{ nothing }}")
    with pytest.raises(Exception, match="'nothing' is undefined"):
        write_report(experiment(), template=template)


def test_the_experiment_is_told_with_its_commonest_confusion(experiment, write_report):
    directory = experiment(classes=["cat", "dog"], n_test=100, accuracy=0.9)
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["test"]["confusion_matrix"] = [[43, 7], [3, 47]]
    (directory / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(directory)
    assert "<details><summary>ResNet50 on digits, recipe quick, seed 0: 90.00 %</summary>" in text
    assert "Most often taken:\ncat for dog (7 of 50),\ndog for cat (3 of 50)." in text


def test_accuracies_of_the_curves_are_told_from_those_of_the_tables(experiment, write_report):
    experiments = write_report(experiment()).split("## Experiments\n\n")[1]
    assert experiments.startswith("The curves' training accuracy is the mean over an epoch, on augmented images, while")


def test_figures_of_a_sample_say_so(experiment, write_report):
    directory = experiment()
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["train"] |= {"n": 10000, "of": 54000}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    assert "Figures are over 10,000 (a fixed random sample of 54,000) training," in write_report(directory)


def test_a_training_that_was_resumed_within_an_epoch_is_reported(experiment, write_report):
    directory = experiment()
    set_timing(directory, resumed_from_epochs=[1.25])
    assert "1.25" in write_report(directory)


@pytest.fixture
def cores(monkeypatch):
    """`cores(2)`: reports are made on a machine of two cores."""
    return lambda count: monkeypatch.setattr(report, "describe", lambda root: describe(root) | {"cores": count})


@pytest.mark.parametrize(("on_machine", "threads", "told"), [(2, 1, 2), (2, 2, 2), (1, 2, 2), (16, 4, 16)])
def test_the_commands_name_the_study_its_cores_and_its_threads(
    experiment, write_report, cores, on_machine, threads, told
):
    directory = experiment()
    set_timing(directory, threads=threads)
    cores(on_machine)
    text = write_report(directory, study="paper")
    command = f"snakemake --cores {told} results/report.md --config study=paper"
    command += f" --set-threads train={threads} evaluate={threads}"
    assert f"make setup && source .venv/bin/activate\n{command}\n" in text


def test_the_commands_give_each_training_as_many_threads_as_it_had(experiment, write_report, cores):
    directories = [experiment(seed=seed) for seed in range(4)]
    for directory, threads in zip(directories, (1, 3, 2, 1), strict=True):
        set_timing(directory, threads=threads)
    cores(4)
    seeds = "results/digits/resnet50/quick/seed"
    assert re.findall(r"^snakemake .*", write_report(*directories), re.MULTILINE) == [
        f"snakemake --cores 4 {seeds}1/metrics.json --config study=demo --set-threads train=3 evaluate=3",
        f"snakemake --cores 4 {seeds}2/metrics.json --config study=demo --set-threads train=2 evaluate=2",
        "snakemake --cores 4 results/report.md --config study=demo --set-threads train=1 evaluate=1",
    ]


def test_files_that_nobody_can_download_are_named_with_where_to_put_them(experiment, write_report):
    assert "at hand" not in write_report(experiment())
    text = write_report(experiment(), datasets={"digits": {"own_files": "packs/birds.zip"}})
    assert (
        "digits is not downloaded: <code>packs/birds.zip</code> has to be at hand, in the clone or in a folder that "
        "<code>DEEPNETS_MIRROR=folder</code> before the command names." in text
    )


@pytest.mark.parametrize("path", ["/home/me/birds.zip", "~/birds.zip"])
def test_the_folders_of_this_machine_stay_out_of_the_report(experiment, write_report, path):
    text = write_report(experiment(), datasets={"digits": {"own_files": path}})
    assert (
        "<code>birds.zip</code> has to be at hand, where <code>datasets.digits.path</code> of config.yaml says" in text
    )
    assert path not in text


def test_the_commands_ask_for_as_many_processes_as_a_training_had(experiment, write_report):
    directory = experiment()
    set_timing(directory, processes=2)
    text = write_report(directory)
    assert "snakemake --cores 4" in text
    assert "--set-threads train=4 evaluate=2 --set-resources train:processes=2" in text
    assert "2 threads in each of 2 processes" in text


def test_the_same_figures_are_promised_only_where_all_trainings_were_deterministic(experiment, write_report):
    directories = experiment(seed=0), experiment(seed=1)
    promise = "the same figures to the last digit."
    assert promise in write_report(*directories)
    set_timing(directories[1], device="cuda", deterministic=False)
    text = write_report(*directories)
    assert promise not in text
    assert "<code>DEEPNETS_DETERMINISTIC=1</code> before the command" in text


def test_the_same_figures_are_not_promised_where_batches_were_split_for_memory(experiment, write_report):
    directories = experiment(seed=0), experiment(seed=1)
    set_timing(directories[1], accumulation=4)
    text = write_report(*directories)
    assert "to the last digit" not in text
    assert "> - **ResNet50 on digits, recipe quick, seed 1**: memory ran out" in text[: text.index("## Results")]
    assert "cpu, 2 threads, fp32, batches in 4 parts" in text
    assert "DETERMINISTIC" not in text


def test_the_commands_repeat_a_deterministic_training_on_a_gpu(experiment, write_report):
    directory = experiment()
    assert "DEEPNETS_DETERMINISTIC" not in write_report(directory)
    set_timing(directory, device="cuda")
    assert "\nDEEPNETS_DETERMINISTIC=1 snakemake --cores " in write_report(directory)


def test_the_same_results_give_the_same_report(experiment, write_report):
    directory = experiment(**MNIST)
    assert write_report(directory) == write_report(directory)


def test_a_thousand_experiments_are_still_a_page_that_code_hosts_render(experiment, write_report):
    directories = [
        experiment(f"set{dataset}", f"net{model}", recipe, seed, accuracy=0.8 + model / 100, epochs=2)
        for dataset in range(10)
        for model in range(10)
        for recipe in ("quick", "long")
        for seed in range(5)
    ]
    start = time.monotonic()
    text = write_report(*directories)
    assert time.monotonic() - start < 60
    assert len(text.encode()) < 512_000
    assert text.count("<details") == 11
    assert len(tables(text)[0]) == 2 + 20


@pytest.fixture
def sweep(experiment, write_report):
    """The report of 3 networks with 100 recipes each, one after the other more accurate."""
    return write_report(
        *(
            experiment("mnist", model, f"lr{place:02}", accuracy=0.5 + 0.15 * number + place / 1000, epochs=1 + place)
            for number, model in enumerate(("vgg16", "resnet50", "my_net"))
            for place in range(100)
        )
    )


def test_of_many_runs_the_table_has_each_networks_best_and_the_best_of_the_others(sweep):
    names = [row[0].strip("*") for row in tables(sweep)[0][2:]]
    runs = [name for name in names if name.endswith(")") and not name.startswith("difference")]
    assert [name for name in runs if "my_net" not in name] == ["VGG-16 (lr99)", "ResNet50 (lr99)"]
    assert len(runs) == 40
    assert "ResNet50, published" in names
    assert "[metrics.csv](metrics.csv) has 260 more." in sweep


def test_of_many_runs_of_a_network_the_best_is_compared_with_the_published_row(sweep):
    names = [row[0] for row in tables(sweep)[0][2:]]
    assert [name for name in names if name.startswith("difference")] == ["difference", "difference, my_net (lr99)"]


def test_of_many_experiments_the_most_accurate_are_listed(sweep):
    rows = next(table for table in tables(sweep) if table[0][-1] == "Test acc. (%)" and "Seed" in table[0])[2:]
    assert len(rows) == 200
    assert [row[0] for row in rows if row[0] == "VGG-16"] == []
    assert "<summary>300 experiments on mnist: the most accurate 200</summary>" in sweep
    assert "The other 100 are in [metrics.csv](metrics.csv)." in sweep


def test_many_recipes_and_trainings_are_told_in_short(sweep):
    recipes = next(table for table in tables(sweep) if table[0][0] == "Recipe")
    assert len(recipes) == 2 + 100
    costs = next(table for table in tables(sweep) if "Trainings" in table[0])
    assert [row[1:4] for row in costs[2:]] == [
        [name, "cpu, 2 threads, fp32", "100"] for name in ("VGG-16", "ResNet50", "my_net")
    ]
    assert costs[2][4:6] == ["1 h 40 min".replace(" ", "\xa0"), "1 min 00 s".replace(" ", "\xa0")]


# -- files beside it, and errors --------------------------------------------------------------------------------------


def test_metrics_csv_has_one_row_per_experiment(experiment, write_report, tmp_path):
    write_report(experiment(seed=0, accuracy=0.9), experiment(seed=1, model="vgg16", warnings=["w"]))
    first, second = csv.DictReader((tmp_path / "results/metrics.csv").read_text().splitlines())
    assert (first["dataset"], first["model"], first["recipe"], first["seed"]) == ("digits", "resnet50", "quick", "0")
    assert (float(first["test_accuracy"]), first["epochs"], first["threads"]) == (0.9, "8", "2")
    assert first["accumulation"] == "1"
    assert float(first["test_accuracy_ci95_low"]) < 0.9 < float(first["test_accuracy_ci95_high"])
    assert (second["architecture"], second["parameters"], second["warnings"]) == ("vgg16", "134308810", "1")
    assert len(first["spec_sha256"]) == 64


def test_metrics_csv_tells_the_images_trained_on_from_the_sample_evaluated(experiment, write_report, tmp_path):
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


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "timing.json"])
def test_a_damaged_file_stops_the_report_and_leaves_the_old_one(experiment, write_report, tmp_path, name):
    directory = experiment()
    before = write_report(directory)
    (directory / name).write_text("{")
    with pytest.raises(UserError, match=rf"seed0/{re.escape(name)}: damaged"):
        write_report(directory)
    assert (tmp_path / "results/report.md").read_text() == before


def test_a_missing_template_is_named_with_the_way_out(experiment, write_report, tmp_path):
    with pytest.raises(UserError, match=r"none\.j2: the file is missing; restore it with: git checkout"):
        write_report(experiment(), template=tmp_path / "none.j2")


def test_the_environment_names_machine_and_versions(experiment, write_report, tmp_path, root):
    write_report(experiment())
    environment = json.loads((tmp_path / "results/environment.json").read_text())
    assert environment["packages"]["matplotlib"]
    assert environment["cores"] >= 1
    assert describe(root) | {"generated": ""} == environment | {"generated": ""}


def test_a_checkout_is_known_by_its_commit_and_whether_its_code_was_changed(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True)

    assert git_state(tmp_path) == (None, None)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x.py").touch()
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "m")
    (tmp_path / "my_notes.txt").touch()
    commit, modified = git_state(tmp_path)
    assert (len(commit), modified) == (40, False)
    assert git_state(tmp_path / "scripts") == (None, None)  # unpacked inside somebody else's checkout
    (tmp_path / "scripts/x.py").write_text("1")
    assert git_state(tmp_path) == (commit, True)
