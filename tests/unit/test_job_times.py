"""The time that the jobs of a study took, by stage and as shares."""

import json
import os
import re
from html import unescape

from report_pages import set_timing, tables
from safetensors.numpy import save_file

from deepnets.reporting.job_times import JobTime, from_first_to_last, job_times, starts_of
from deepnets.utils.files import read_json, write_json


def write_benchmark(folder, stage, seconds, ended=1_000_000):
    """Write a job's benchmark file as Snakemake does when the job ends, in seconds since 1970."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stage}.benchmark.tsv"
    file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:01:00\tNA\n")
    os.utime(file, (ended, ended))


def test_time_by_stage_counts_the_jobs_of_the_study_only(experiment, write_report, tmp_path):
    directory = experiment()
    own, other = (tmp_path / "logs/digits/resnet50/quick" / seed for seed in ("seed0", "seed1"))
    for folder, stage, seconds in (
        *((own, "train", 90), (own, "evaluate", 6), (other, "train", 1000)),
        *((tmp_path / "logs/digits", "prepare", 2), (tmp_path / "logs/mnist", "prepare", 1000)),
        *((tmp_path / f"logs/digits/comparison/{name}", "plot_comparison", 1) for name in ("accuracy", "examples")),
    ):
        write_benchmark(folder, stage, seconds)
    write_benchmark(own, "export_int8", 1000)  # on request
    write_benchmark(own / "learning_curves", "plot_experiment", 1000)  # of an older version: a job for each figure
    (own / "plot.benchmark.tsv").write_text("damaged")
    table = next(t for t in tables(write_report(directory)) if t[0][0] == "Stage")
    assert [[unescape(cell) for cell in row[1:]] for row in table[2:]] == [
        ["1", "1 min 30 s".replace(" ", "\xa0"), "90.0 %"],
        ["1", "6.0\xa0s", "6.0 %"],
        ["2", "2.0\xa0s", "2.0 %"],
        ["1", "2.0\xa0s", "2.0 %"],
    ]


def test_stages_and_figures_of_another_study_in_the_same_folder_do_not_count(experiment, write_report, tmp_path):
    directory = experiment()
    for folder, stage in (
        *(("resnet50/quick/seed0", "train"), ("resnet50/quick/seed0", "robustness"), ("resnet50", "latency")),
        *(("comparison", "compare"), ("comparison/accuracy", "plot_comparison")),
        *(("comparison/corruptions", "plot_comparison"), ("comparison/ranking", "plot_comparison")),
    ):
        write_benchmark(tmp_path / "logs/digits" / folder, stage, 1)

    def jobs(*optional):
        table = next(t for t in tables(write_report(directory, optional=optional)) if t[0][0] == "Stage")
        return {re.sub("<.*?>", "", row[0]): int(row[1]) for row in table[2:]}

    assert jobs() == {"train": 1, "compare": 1, "plot_comparison": 1}
    assert jobs("robustness") == {"train": 1, "compare": 1, "robustness": 1, "plot_comparison": 2}
    assert jobs("robustness", "latency").keys() == {"train", "compare", "robustness", "latency", "plot_comparison"}


def test_the_jobs_that_made_the_weights_to_start_from_count(experiment, write_report, tmp_path):
    """The study's experiment starts from another one, and that from weights that a library publishes."""
    directory, first = experiment(), "large/resnet50/long/seed0"
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["weights"] = {"experiment": first, "spec_sha256": "0"}
    write_json(directory / "metrics.json", metrics)
    (tmp_path / "results" / first).mkdir(parents=True)
    spec = {"weights": {"published": "torchvision/resnet50", "sha256": "0"}}
    save_file({}, tmp_path / "results" / first / "model.safetensors", {"spec": json.dumps(spec)})
    for folder, stage, seconds in (
        *(("digits/resnet50/quick/seed0", "train", 90), (first, "train", 200), (first, "evaluate", 1000)),
        *(("large", "download", 30), ("large", "prepare", 20), ("large", "audit", 1000)),
        *(("_weights/torchvision/resnet50", "fetch_weights", 10), ("_weights/timm/resnet50", "fetch_weights", 1000)),
    ):
        write_benchmark(tmp_path / "logs" / folder, stage, seconds)
    text = write_report(directory)
    table = next(t for t in tables(text) if t[0][0] == "Stage")
    assert [[re.sub("<.*?>", "", row[0]), row[1], unescape(row[2]).replace("\xa0", " ")] for row in table[2:]] == [
        ["train", "2", "4 min 50 s"],
        ["download", "1", "30.0 s"],
        ["prepare", "1", "20.0 s"],
        ["fetch_weights", "1", "10.0 s"],
    ]
    assert "those that made the weights from which networks started are among them." in text
    assert "Training steps took" not in text  # those of the first experiment are not known


def test_a_deleted_experiment_to_start_from_is_the_last_that_is_known(tmp_path):
    spec = {"weights": {"experiment": "large/resnet50/long/seed0", "spec_sha256": "0"}}
    assert starts_of([spec, {}], tmp_path) == {("large", "resnet50", "long", "seed0")}


def test_the_time_of_all_jobs_is_divided_into_steps_between_and_around(experiment, write_report, tmp_path):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    set_timing(directory, train_seconds=60, wall_seconds=68)
    write_benchmark(logs, "train", 70)
    write_benchmark(logs, "evaluate", 10)
    text = write_report(directory)
    assert "Training steps took 75.0 % of the total job time, validation and checkpoints during training 10.0 %" in text
    assert "everything else 15.0 %: data" in text


def test_the_share_of_steps_is_left_out_if_a_training_run_was_not_measured_in_full(experiment, write_report, tmp_path):
    one, two = experiment(seed=0), experiment(seed=1)
    for seed in (0, 1):
        write_benchmark(tmp_path / f"logs/digits/resnet50/quick/seed{seed}", "train", 70)
    assert "Training steps took" in write_report(one, two)
    set_timing(one, resumed_from_epochs=[1.5])  # its benchmark file has only the time after that
    assert "Training steps took" not in write_report(one, two)
    set_timing(one, resumed_from_epochs=[])
    (tmp_path / "logs/digits/resnet50/quick/seed1/train.benchmark.tsv").unlink()
    assert "Training steps took" not in write_report(one, two)


def test_wall_time_is_from_the_first_start_to_the_last_end(experiment, write_report, tmp_path):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    write_benchmark(logs, "train", 100, ended=1100)
    write_benchmark(logs, "evaluate", 10, ended=1130)
    text = write_report(directory).replace("\xa0", " ")
    passed = "The jobs took 2 min 10 s from the start of the first to the end of the last"
    assert f"{passed}; for 20.0 s of that time no job was running" in text
    write_benchmark(logs, "evaluate", 30, ended=1130)
    assert f"{passed}.\n" in write_report(directory).replace("\xa0", " ")


def test_where_most_of_the_time_no_job_ran_the_report_names_both_reasons_and_no_span(
    experiment, write_report, tmp_path
):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    write_benchmark(logs, "train", 100, ended=1100)
    write_benchmark(logs, "evaluate", 10, ended=1220)
    assert "for 1 min 50 s of that time" in write_report(directory).replace("\xa0", " ")
    write_benchmark(logs, "evaluate", 10, ended=1222)
    text = write_report(directory)
    assert "no job was running for most of the time: nothing was started, or jobs were waiting in a queue.\n" in text
    assert "from the start of the first" not in text


def test_a_folder_that_was_copied_without_its_times_has_no_span(experiment, write_report, tmp_path):
    directory, logs = experiment(), tmp_path / "logs/digits/resnet50/quick/seed0"
    write_benchmark(logs, "train", 100, ended=1100)
    write_benchmark(logs, "evaluate", 10, ended=1100)
    text = write_report(directory)
    assert "Wall time by stage" in text
    assert "from the start of the first" not in text
    assert "no job was running" not in text


def test_jobs_that_run_at_the_same_time_count_once_in_the_wall_time():
    jobs = [JobTime("train", ended, seconds) for ended, seconds in ((100, 100), (90, 50), (160, 30), (150, 10))]
    assert from_first_to_last(jobs) == (160, 30)


def test_without_benchmarks_there_is_no_table_by_stage(experiment, write_report, tmp_path):
    assert "Snakemake's benchmark files" not in write_report(experiment())
    assert job_times(tmp_path / "nothing", [("digits", "resnet50", "quick", "seed0")]) == []
