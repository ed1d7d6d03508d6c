"""A whole study, from images to the report: its files are there, and its numbers are right."""

import csv
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build

EXPERIMENTS = [f"results/shapes/{name}/seed0" for name in ("mobilenet_v2/brief", "small/brief", "small/gentle")]
EXPERIMENT_FILES = [
    *("model.safetensors", "history.csv", "timing.json", "metrics.json"),
    *("predictions.safetensors", "predictions.csv"),
    *(f"figures/{name}.{kind}" for name in ("learning_curves", "confusion_matrix") for kind in ("png", "svg")),
]
SUMMARY_KEYS = {"parameters", "trainable_parameters", "mult_adds", "size_mb", "weights_mb", "input_size", "grad_cam"}
SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml"}


@pytest.fixture(params=EXPERIMENTS, ids=lambda folder: "-".join(folder.split("/")[2:4]))
def experiment(finished_study, request) -> Path:
    return finished_study / request.param


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_in(metrics: dict) -> tuple:
    return tuple(metrics["experiment"].values())


# -- the files of a study ----------------------------------------------------------------------------------------------


def test_every_experiment_leaves_its_files_and_no_others(experiment):
    left = {path.relative_to(experiment).as_posix() for path in experiment.rglob("*") if path.is_file()}
    assert {name for name in left if not Path(name).name.startswith(".")} == set(EXPERIMENT_FILES)
    for name in left:
        assert (experiment / name).read_bytes().startswith(SIGNATURES.get(Path(name).suffix, b"")), name


def test_metrics_have_the_keys_of_the_contract(experiment):
    metrics = read_json(experiment / "metrics.json")
    assert metrics["schema_version"] == 1
    assert experiment.as_posix().endswith("{dataset}/{model}/{recipe}/seed{seed}".format(**metrics["experiment"]))
    assert set(metrics["spec"]) == {"dataset", "model", "recipe", "seed"}
    assert all({"n", "loss", "accuracy"} <= set(metrics[part]) for part in ("train", "validation", "test"))
    assert {"precision_macro", "recall_macro", "f1_macro", "accuracy_ci95", "ece", "per_class", "confusion_matrix"} <= (
        set(metrics["test"])
    )
    assert set(metrics["model"]) >= SUMMARY_KEYS


def test_history_has_a_row_per_epoch_whose_last_is_the_result(experiment):
    rows, metrics = read_rows(experiment / "history.csv"), read_json(experiment / "metrics.json")
    assert list(rows[0]) == [
        *("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "images_per_second")
    ]
    assert [int(row["epoch"]) for row in rows] == list(range(1, metrics["spec"]["recipe"]["epochs"] + 1))
    assert float(rows[-1]["val_accuracy"]) == pytest.approx(metrics["validation"]["accuracy"])


def test_timing_has_all_that_may_differ_between_two_runs(experiment):
    timing = read_json(experiment / "timing.json")
    assert {"device", "precision", "threads", "wall_seconds", "images_per_second"} <= set(timing)
    assert timing["resumed_from_epochs"] == []


def test_the_dataset_says_what_it_was_made_from_and_what_it_holds(finished_study):
    info = read_json(finished_study / "data/shapes/dataset.json")
    assert info["splits"] == {"train": 80, "test": 20}
    assert info["input_shape"] == [1, 16, 16]
    images = np.load(finished_study / "data/shapes/train_images.npy", mmap_mode="r", allow_pickle=False)
    assert info["mean"] == pytest.approx([images.mean() / 255], abs=1e-6)
    assert info["std"] == pytest.approx([images.std() / 255], abs=1e-6)
    listed = {file["name"] for file in read_json(finished_study / "data/shapes/raw.json")["files"]}
    shapes = finished_study / "shapes"
    assert listed == {path.relative_to(shapes).as_posix() for path in shapes.rglob("*.png")}


def test_summaries_and_tables_are_there(finished_study):
    for model in ("small", "mobilenet_v2"):
        assert set(read_json(finished_study / f"results/shapes/{model}/summary.json")) >= SUMMARY_KEYS
        assert "Total params" in (finished_study / f"results/shapes/{model}/summary.txt").read_text(encoding="utf-8")
    rows = read_rows(finished_study / "results/metrics.csv")
    assert [f"results/{r['dataset']}/{r['model']}/{r['recipe']}/seed{r['seed']}" for r in rows] == EXPERIMENTS
    assert "torch" in read_json(finished_study / "results/environment.json")["packages"]


def test_weights_hold_what_is_needed_to_use_them(experiment):
    from safetensors import safe_open

    with safe_open(experiment / "model.safetensors", "numpy") as file:
        metadata = file.metadata()
    info = read_json(experiment.parents[4] / "data/shapes/dataset.json")
    assert metadata["spec_sha256"] == read_json(experiment / "metrics.json")["spec_sha256"]
    assert {key: json.loads(metadata[key]) for key in ("classes", "input_shape", "mean", "std")} == {
        key: info[key] for key in ("classes", "input_shape", "mean", "std")
    }


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_metrics_agree_with_scikit_learn_on_the_predictions(experiment):
    predictions, metrics = load_file(experiment / "predictions.safetensors"), read_json(experiment / "metrics.json")
    for part in ("validation", "test"):
        logits, labels = predictions[f"{part}_logits"], predictions[f"{part}_labels"]
        assert logits.dtype == np.float32
        assert labels.dtype == np.int64
        classes = np.arange(logits.shape[1])
        probabilities = softmax(logits.astype(float), axis=1)
        assert metrics[part]["n"] == len(labels)
        assert metrics[part]["loss"] == pytest.approx(
            sklearn_metrics.log_loss(labels, probabilities, labels=classes), abs=1e-6
        )
        assert metrics[part]["accuracy"] == pytest.approx(
            sklearn_metrics.accuracy_score(labels, logits.argmax(1)), abs=1e-6
        )
    test, predicted = metrics["test"], logits.argmax(1)
    expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert [test[f"{name}_macro"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3], abs=1e-6)
    assert test["confusion_matrix"] == sklearn_metrics.confusion_matrix(labels, predicted, labels=classes).tolist()
    right = int((predicted == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
    assert test["accuracy_ci95"] == pytest.approx([interval.low, interval.high], abs=1e-6)


def test_predictions_are_in_the_order_of_the_dataset(finished_study, experiment):
    labels = load_file(experiment / "predictions.safetensors")["test_labels"]
    assert (labels == np.load(finished_study / "data/shapes/test_labels.npy", allow_pickle=False)).all()


@pytest.mark.full
@pytest.mark.parametrize("cores", [1, 4])  # the finished study has run on 2
def test_two_runs_from_scratch_are_the_same_to_the_last_byte_on_any_cores(
    study, finished_study, snakemake, differing, cores
):
    shutil.rmtree(study / "results")
    shutil.rmtree(study / "data")
    metrics = [f"{folder}/metrics.json" for folder in EXPERIMENTS]
    done = snakemake(study, *metrics, "--set-threads", "train=1", "evaluate=1", cores=cores)
    assert done.returncode == 0, done.stdout
    for folder in EXPERIMENTS:
        assert differing(study / folder, finished_study / folder) == []


def test_real_images_train_without_a_download(study, snakemake):
    config, folder = study / "config.yaml", study / "results/digits/small/brief/seed0"
    config.write_text(config.read_text().replace("batch_size: 8", "batch_size: 64"))
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = snakemake(study, folder.relative_to(study).as_posix() + "/metrics.json", **nowhere)
    assert done.returncode == 0, done.stdout
    metrics = read_json(folder / "metrics.json")
    train, validation, test = (metrics[part] for part in ("train", "validation", "test"))
    assert train["of"] + validation["n"] + test["n"] == 1797
    assert train["n"] == 500  # a sample
    assert metrics["classes"] == [str(digit) for digit in range(10)]
    assert re.search(r"epoch 3/3 .*loss.*accuracy.*images/s.*left", done.stdout)


# -- the report --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(finished_study) -> str:
    return (finished_study / "results/report.md").read_text(encoding="utf-8")


def test_the_report_links_files_that_are_there_relative_to_itself(finished_study, report):
    targets = re.findall(r"\]\(([^)\s]+)\)", report) + re.findall(r'(?:src|href)="([^"]+)"', report)
    files = [unquote(target) for target in targets if not target.startswith(("https://", "#"))]
    assert len(files) > 10
    assert not [name for name in files if not (finished_study / "results" / name).is_file()]
    assert not [name for name in files if name.startswith(("/", ".."))]


def test_the_report_shows_the_figures_of_every_experiment(finished_study, report):
    for folder in EXPERIMENTS:
        metrics = read_json(finished_study / folder / "metrics.json")
        assert f"{100 * metrics['test']['accuracy']:.2f}" in report
        assert f"{metrics['model']['trainable_parameters']:,}" in report
        assert f"{folder.removeprefix('results/')}/figures/learning_curves.png" in report


def test_the_report_has_the_time_of_every_job_but_its_own(report):
    rows = re.findall(r"^\| <code>(\w+)</code> \| (\d+) \|", report, re.MULTILINE)
    assert dict(rows) == {
        **{"download": "1", "prepare": "1", "summarize": "2", "train": "3", "evaluate": "3"},
        **{"compare": "1", "plot_experiment": "3", "plot_comparison": "11", "audit": "1"},
    }


def test_the_report_names_no_path_of_this_machine(finished_study, report):
    assert str(finished_study) not in report
    assert str(Path.home()) not in report


def test_class_names_do_no_harm_and_are_kept_as_they_are(finished_study, report):
    classes = sorted(path.name for path in (finished_study / "shapes/train").iterdir())
    metrics = read_json(finished_study / EXPERIMENTS[0] / "metrics.json")
    assert metrics["classes"] == [entry["class"] for entry in metrics["test"]["per_class"]] == classes
    assert not list(finished_study.rglob("x"))
    assert "<script>" not in report
    tables = re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_a_second_run_does_nothing(study, snakemake):
    def times() -> dict[Path, int]:  # the time of a checksum file is that of the last check
        files = (path for path in (study / "results").rglob("*") if path.suffix != ".sha256")
        return {path: path.stat().st_mtime_ns for path in files}

    before = times()
    done = snakemake(study, "results/report.md")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
    assert times() == before
