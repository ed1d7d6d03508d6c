"""The report's section on how to reproduce it: commands, files that are needed, promises."""

import json
import re
from html import unescape

import pytest
from made_up_results import write_exported
from matplotlib.figure import Figure
from report_pages import set_runs, set_timing

from deepnets.figures.style import save
from deepnets.reporting import report
from deepnets.reporting.environment import describe
from deepnets.utils.files import read_json
from deepnets.utils.specs import settings_sha256


@pytest.fixture
def cores(monkeypatch):
    """`cores(2)`: reports are made on a machine of two cores."""
    return lambda count: monkeypatch.setattr(report, "describe", lambda root: describe(root) | {"cores": count})


@pytest.mark.parametrize(("on_machine", "threads", "expected"), [(2, 1, 2), (2, 2, 2), (1, 2, 2), (16, 4, 16)])
def test_the_commands_name_the_study_its_cores_and_its_threads(
    experiment, write_report, cores, on_machine, threads, expected
):
    directory = experiment()
    set_timing(directory, threads=threads)
    cores(on_machine)
    text = write_report(directory, study="paper")
    command = f"snakemake --cores {expected} results/report.md --config study=paper"
    command += f" --set-threads train={threads} evaluate={threads}"
    assert f"make setup && source .venv/bin/activate\n{command}\n" in text


def test_the_commands_give_each_training_run_the_threads_that_it_had(experiment, write_report, cores):
    directories = [experiment(seed=seed) for seed in range(4)]
    for directory, threads in zip(directories, (1, 3, 2, 1), strict=True):
        set_timing(directory, threads=threads)
    cores(4)
    seeds = "results/digits/resnet50/quick/seed"
    _, section = write_report(*directories).split("## How to reproduce")
    assert re.findall(r"^snakemake .*", section, re.MULTILINE) == [
        f"snakemake --cores 4 {seeds}1/metrics.json --config study=demo --set-threads train=3 evaluate=3",
        f"snakemake --cores 4 {seeds}2/metrics.json --config study=demo --set-threads train=2 evaluate=2",
        "snakemake --cores 4 results/report.md --config study=demo --set-threads train=1 evaluate=1",
    ]


def test_what_no_study_makes_has_a_command_of_its_own_and_then_that_of_the_report(experiment, write_report, cores):
    cores(2)
    directories = [experiment(seed=seed) for seed in (0, 1)]
    write_exported(directories[0], "export")
    write_exported(directories[0], "export_int8")
    made_by = {key: read_json(directories[1] / "metrics.json")[key] for key in ("experiment", "spec")}
    (directories[1] / "figures").mkdir()
    save(Figure(), directories[1] / "figures/saliency.png", settings_sha256(made_by))
    seeds = "results/digits/resnet50/quick/seed"
    report = "snakemake --cores 2 results/report.md --config study=demo --set-threads train=2 evaluate=2"
    files = [f"{seeds}0/model.onnx {seeds}0/model_int8.onnx", f"{seeds}1/figures/saliency.png"]
    lines = [report, "snakemake --cores 2 --config study=demo -- \\", f"  {files[0]} \\", f"  {files[1]}", report]
    assert "\n".join(lines) in write_report(*directories)


def test_the_best_network_of_each_dataset_has_the_commands_that_use_it(experiment, write_report):
    worse = experiment(model="vgg16", accuracy=0.99, validation_accuracy=0.8)
    runs = [worse, experiment(recipe="quick,lr=0.03"), *(experiment(f"set{n}", "vgg16") for n in range(4))]
    _, section = write_report(*runs).split("## Use a network")
    block = section.split("```")[1]
    folder = "results/digits/resnet50/quick,lr=0.03/seed0"
    assert f"python scripts/predict.py {folder} photo.png folder/" in block
    assert f"snakemake --cores 2 {folder}/model.onnx {folder}/MODEL_CARD.md" in block
    assert re.findall("(?m)^# .*", block) == ["# ResNet50 on digits", "# VGG-16 on set0", "# VGG-16 on set1"]


def test_files_that_cannot_be_downloaded_are_named_with_their_place(experiment, write_report):
    assert "cannot be downloaded" not in write_report(experiment())
    text = write_report(experiment(), datasets={"digits": {"own_files": "packs/birds.zip"}})
    assert (
        "digits cannot be downloaded: put <code>packs/birds.zip</code> in the clone, or in a folder that you name with "
        "<code>DEEPNETS_MIRROR=folder</code> before the command." in text
    )


@pytest.mark.parametrize("path", ["/home/me/birds.zip", "~/birds.zip", "../birds.zip"])
def test_the_folders_of_this_machine_stay_out_of_the_report(experiment, write_report, path):
    text = write_report(experiment(), datasets={"digits": {"own_files": path}})
    assert "put <code>birds.zip</code> at the path in <code>datasets.digits.path</code> of config.yaml." in text
    assert path not in text


def test_the_commands_ask_for_the_processes_that_a_training_run_had(experiment, write_report):
    directory = experiment()
    set_timing(directory, processes=2)
    text = write_report(directory)
    assert "snakemake --cores 4" in text
    assert "--set-threads train=4 evaluate=2 --set-resources train:processes=2" in text
    assert "2 threads in each of 2 processes" in text


def test_the_same_numbers_are_promised_only_if_all_training_was_deterministic(experiment, write_report):
    directories = experiment(seed=0), experiment(seed=1)
    promise = "the same numbers to the last digit."
    assert promise in write_report(*directories)
    set_timing(directories[1], device="cuda", deterministic=False)
    text = write_report(*directories)
    assert promise not in text
    assert "<code>DEEPNETS_DETERMINISTIC=1</code> before the command" in text


def test_the_same_numbers_are_not_promised_if_batches_were_split_for_memory(experiment, write_report):
    directories = experiment(seed=0), experiment(seed=1)
    set_timing(directories[1], accumulation=4)
    text = write_report(*directories)
    assert "to the last digit" not in text
    assert "> - **ResNet50 on digits, recipe quick, seed 1**: memory ran out" in text[: text.index("## Results")]
    assert "cpu, 2 threads, fp32, 4 micro-batches per batch" in text
    assert "DETERMINISTIC" not in text


VERSIONS = {"python": "3.12.1", "torch": "2.16.0"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"threads": 1}, "1 thread, then 2 threads"),
        ({"processes": 2}, "2 threads in each of 2 processes, then 2 threads"),
        ({"device_name": "Other CPU"}, "Other CPU, then Some CPU"),
        ({"device": "cuda", "device_name": "H100"}, "H100, then Some CPU"),
        ({"precision": "bf16"}, "bf16, then fp32"),
        ({"versions": VERSIONS}, "python 3.12.1, torch 2.16.0, then python 3.12.1, torch 2.15.0"),
    ],
)
def test_the_same_numbers_are_not_promised_if_training_was_continued_under_other_conditions(
    experiment, write_report, change, named
):
    directories = experiment(seed=0), experiment(seed=1)
    set_runs(directories[1], change, {})
    text = write_report(*directories)
    assert "to the last digit" not in text
    assert "The same numbers are not promised for every experiment: in some training runs memory ran out" in text
    warning = f"seed 1**: interrupted and continued under other conditions ({named})"
    assert warning in unescape(text[: text.index("## Results")])
    set_runs(directories[1], {}, {})
    assert "the same numbers to the last digit." in write_report(*directories)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"threads": 1}, "2 threads, then 1 thread"),
        ({"device_name": "Other CPU"}, "Some CPU, then Other CPU"),
        ({"precision": "bf16"}, "fp32, then bf16"),
    ],
)
def test_the_same_numbers_are_not_promised_if_the_evaluation_had_other_conditions(
    experiment, write_report, change, named
):
    directory = experiment()
    set_runs(directory, {})
    run = json.loads((directory / "timing.json").read_text())["runs"][0]
    file = directory / "metrics.json"
    metrics = json.loads(file.read_text())
    for evaluated_on, promised in ((run, True), (run | change, False)):
        file.write_text(json.dumps(metrics | {"evaluated_on": evaluated_on}))
        text = unescape(write_report(directory))
        assert ("the same numbers to the last digit." in text) is promised
        assert (f"trained and evaluated under different conditions ({named})" in text) is not promised


def test_a_split_of_an_earlier_run_is_reported_like_one_of_the_last(experiment, write_report):
    directory = experiment()
    set_runs(directory, {"accumulation": 4}, {"accumulation": 1})
    text = write_report(directory)
    assert "to the last digit" not in text
    assert "memory ran out, so each batch was computed in 4 micro-batches instead of 1" in text
    assert "cpu, 2 threads, fp32, 4 micro-batches per batch" in text


def test_an_earlier_run_that_was_not_deterministic_takes_the_promise_away(experiment, write_report):
    directory = experiment()
    set_runs(directory, {"deterministic": False}, {})
    assert "the same numbers to the last digit." not in write_report(directory)


def test_each_machine_that_took_part_is_in_the_report(experiment, write_report):
    directory = experiment()
    set_runs(directory, {"device_name": "Other CPU", "threads": 4}, {})
    text = write_report(directory)
    assert "Other CPU, 4 threads, fp32" in text[text.index("## Provenance") :]
    assert "cpu, 4 threads, fp32, then cpu, 2 threads, fp32" in text


def test_the_commands_repeat_a_deterministic_training_on_a_gpu(experiment, write_report):
    directory = experiment()
    assert "DEEPNETS_DETERMINISTIC" not in write_report(directory)
    set_timing(directory, device="cuda")
    assert "\nDEEPNETS_DETERMINISTIC=1 snakemake --cores " in write_report(directory)


def test_the_commit_is_said_to_be_that_of_the_report_as_training_may_be_older(experiment, write_report, monkeypatch):
    monkeypatch.setattr(report, "describe", lambda root: describe(root) | {"git_commit": "abc", "git_modified": False})
    text = write_report(experiment())
    provenance = text[text.index("## Provenance") :]
    assert "| Report made by commit | <code>abc</code> |" in provenance
    assert "Training runs may be older than this commit: Snakemake trains again only where" in provenance
