"""`make status`: what the files of a study say about each of its experiments."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from config_files import load, with_stages

from deepnets.config.loader import load_config
from deepnets.planning.image_changes import QUICKLY_SEEN
from deepnets.planning.jobs import Jobs
from deepnets.planning.status import (
    Status,
    experiment_status,
    failed_measurements,
    last_line_of_failure,
    outdated_results,
    seconds_left,
    study_status,
)
from deepnets.planning.study_time import write_study_plan
from deepnets.utils import paths
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG, log_to

NOW = 1_800_000_000.0
NAME = "digits/vgg16/quick/seed0"  # the first experiment of the demo
FOLDER = f"results/{NAME}"
PROGRESS = {
    "epochs": 3,
    "epochs_done": 1.254,
    "val_accuracy": 0.9512,
    "images_per_second": 70.4,
    "seconds_left": 80.0,
    "seconds": 200.0,
}


@pytest.fixture
def jobs(root, tmp_path, monkeypatch):
    """The jobs of the demo, with results in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Jobs(load_config(root / "config.yaml"), root, tmp_path)


def of_first(jobs) -> tuple[str, str]:
    """State of the first experiment, and the words about it."""
    status = study_status(jobs, NOW)[0]
    assert status.name == NAME
    return status.state, status.words


def train(progress: dict | None = None, ago: float = 3.0, folder: str = FOLDER) -> None:
    """Leave what a training run writes while it runs, a few seconds ago."""
    files = [Path(folder, ".train.owner")]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    files[0].write_text("process 123 on node7")
    if progress is not None:
        write_json(f"{folder}/.train.progress", progress)
        files.append(Path(folder, ".train.progress"))
    for file in files:
        os.utime(file, (NOW - ago, NOW - ago))


def log_error(stage: str, error: Exception) -> None:
    """Log an error as the script of a stage of the first experiment does."""

    def fail() -> None:
        folders = {"prepare": "digits", "summarize": "digits/vgg16", "latency": "digits/vgg16"}
        log_to(Path("logs", folders.get(stage, NAME), f"{stage}.log"))
        LOG.info("%s: 1293 images, fp32, 1 thread", NAME)
        raise error

    with pytest.raises(SystemExit):
        run(fail)
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = []


def finish(jobs) -> dict:
    """Leave the results of the first experiment; return its spec."""
    spec = jobs.study[0].spec
    write_json(f"{FOLDER}/metrics.json", {"spec": spec, "validation": {"n": 144, "accuracy": 0.9861}})
    write_json(f"{FOLDER}/timing.json", {"device": "cpu", "wall_seconds": 109.3})
    return spec


def save_weights(spec: dict, **images: object) -> None:
    """Leave weights of the first experiment; `images`: what they say of the images that they were trained on."""
    import torch

    from deepnets.utils.tensors import save_tensors

    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    save_tensors(Path(FOLDER, "model.safetensors"), {"weight": torch.zeros(1)}, {"spec": spec, **images})


# -- states ----------------------------------------------------------------------------------------------------------


def test_where_nothing_has_run_every_experiment_waits(jobs):
    statuses = study_status(jobs, NOW)
    assert [(each.state, each.words) for each in statuses] == [("waiting", "")] * 4
    assert seconds_left(statuses, jobs) is None


def test_running_experiment_has_epoch_accuracy_speed_and_time_left(jobs):
    train(PROGRESS)
    assert of_first(jobs) == ("running", "1.25 of 3 epochs, validation 95.12%, 70 images/s, 1:20 left")


@pytest.mark.parametrize("progress", [None, {}, {**PROGRESS, "epochs_done": "x"}])
def test_training_run_that_has_just_started_is_running(jobs, progress):
    train(progress)
    assert of_first(jobs) == ("running", "starting")


def test_what_is_not_known_yet_is_left_out(jobs):
    train({**PROGRESS, "val_accuracy": None, "images_per_second": None, "seconds_left": None, "seconds": None})
    assert of_first(jobs) == ("running", "1.25 of 3 epochs")


@pytest.mark.parametrize(("seconds", "time"), [(600, "10 min"), (7500, "2 h 05 min")])
def test_training_run_that_was_killed_without_a_word_has_failed(jobs, seconds, time):
    train(PROGRESS, ago=seconds)
    words = f"no sign of life for {time} of process 123 on node7; it was killed or lost"
    assert of_first(jobs) == ("failed", words)


def test_clock_of_another_machine_may_be_ahead_and_its_file_a_minute_late(jobs):
    for ago in (-100, 100):
        train(PROGRESS, ago=ago)
        assert of_first(jobs)[0] == "running"


def test_finished_experiment_has_its_validation_accuracy_and_time(jobs):
    finish(jobs)
    assert of_first(jobs) == ("done", "validation 98.61%, trained in 1:49")


def test_experiment_that_is_retrained_is_running(jobs):
    finish(jobs)
    train(PROGRESS)
    assert of_first(jobs)[0] == "running"


def test_result_of_other_settings_waits_to_be_rebuilt(jobs):
    spec = finish(jobs)
    write_json(f"{FOLDER}/metrics.json", {"spec": {**spec, "seed": 1}})
    assert of_first(jobs) == ("waiting", "made with other settings; to be rebuilt")


def test_result_of_other_images_than_the_prepared_ones_waits_to_be_rebuilt(jobs):
    old, new = ({"arrays": {"test_labels.npy": {"sha256": sha256}}} for sha256 in "12")
    spec = finish(jobs)
    save_weights(spec, **old)
    write_json(f"{FOLDER}/metrics.json", {"spec": spec, **old})
    assert of_first(jobs)[0] == "done", "its data may have been deleted"
    write_json("data/digits/dataset.json", old)
    assert of_first(jobs)[0] == "done"
    write_json("data/digits/dataset.json", {**new, "classes": []})
    assert of_first(jobs) == ("waiting", "made from other images; to be rebuilt")
    save_weights(spec, **new)
    assert of_first(jobs) == ("waiting", "trained; its evaluation runs or comes next")


def test_results_whose_images_have_changed_since_are_counted(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path, {"datasets/photos/path": "photos", "studies/demo/0/datasets": ["photos"]})
    images = [Path(f"photos/train/{label}/1.png") for label in "ab"]
    for image in images:
        image.parent.mkdir(parents=True)
        image.write_bytes(b"1")

    def state() -> str:
        return config.datasets["photos"].local_state("photos")

    def outdated(jobs: Jobs) -> int:
        return outdated_results(study_status(jobs, NOW), jobs)

    def begun() -> Jobs:
        return Jobs(config, root, tmp_path)

    for experiment in begun().study[1:]:  # three of four
        write_json(f"{experiment.directory}/metrics.json", {"spec": experiment.spec})
    assert outdated(begun()) == 0, "nothing was listed"
    write_json("data/photos/raw.json", {"state": state()})
    assert outdated(begun()) == 0
    images[0].write_bytes(b"12")
    watching = begun()
    assert outdated(watching) == 3
    write_json("data/photos/dataset.json", {"splits": {"train": QUICKLY_SEEN, "test": 1}})
    assert outdated(begun()) == 0, "that would take long"
    write_json("data/photos/dataset.json", {"splits": {"train": 1, "test": 1}})
    write_json("data/photos/raw.json", {"state": state()})
    assert outdated(watching) == 0, "listed again while somebody watches"
    shutil.rmtree("photos")
    assert outdated(begun()) == 0, "they may have been deleted"


def test_trained_experiment_waits_for_its_evaluation(jobs):
    save_weights(jobs.study[0].spec)
    assert of_first(jobs) == ("waiting", "trained; its evaluation runs or comes next")


def test_interrupted_experiment_says_where_it_continues(jobs):
    import torch

    from deepnets.training.checkpoints import CheckpointDir

    checkpoints = CheckpointDir(Path(FOLDER, ".resume"), "key", print)
    for epoch in (1, 2):
        checkpoints.save(epoch, {"weight": torch.zeros(1)}, {"epoch": epoch, "step": 0})
    assert of_first(jobs) == ("waiting", "interrupted; continues after epoch 2")


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["prepare", "summarize", "train", "evaluate"])
def test_failed_experiment_has_the_last_line_of_the_log_of_whichever_stage_failed(jobs, stage):
    log_error(stage, UserError("config.yaml: lr: the loss is not finite: lower lr"))
    state, words = of_first(jobs)
    log = next(Path("logs").rglob("*.log"))
    assert (state, words) == (
        "failed",
        f"error: config.yaml: lr: the loss is not finite: lower lr ({jobs.root / log})",
    )


def test_experiment_whose_published_weights_could_not_be_fetched_has_failed(jobs):
    log = Path("logs/_weights/timm/convnext_atto/fetch_weights.log")
    log.parent.mkdir(parents=True)
    log.write_text("error: no route to host\nThen run the same command again.\n")
    other = jobs.study[0]
    starts = replace(other, spec={**other.spec, "weights": {"published": "timm/convnext_atto"}})
    found = experiment_status(starts, jobs.root, NOW)
    assert (found.state, found.stage) == ("failed", "fetch_weights")
    assert found.words == f"error: no route to host ({jobs.root / log})"
    assert experiment_status(other, jobs.root, NOW).state == "waiting"


@pytest.mark.parametrize(
    ("stage", "name", "log"),
    [
        ("robustness", f"{NAME} robustness", f"logs/{NAME}/robustness.log"),
        ("latency", "digits/vgg16 latency", "logs/digits/vgg16/latency.log"),
    ],
)
def test_failed_measurement_is_shown_though_its_experiment_is_done(root, jobs, stage, name, log):
    jobs = Jobs(load_config(root / "config.yaml", with_stages(root, "demo", "latency", "robustness")), root, jobs.root)
    finish(jobs)
    log_error(stage, UserError("out of memory"))
    [failed] = failed_measurements(jobs)
    assert (failed.name, failed.stage) == (name, stage)
    assert failed.words == f"error: out of memory ({jobs.root / log})"
    assert of_first(jobs)[0] == "done"
    other = Jobs(load_config(root / "config.yaml"), root, jobs.root)
    assert failed_measurements(other) == []
    output = jobs.root / paths.OUTPUTS[stage][0].format(**jobs.study[0].names)
    write_json(output, {})
    assert failed_measurements(jobs) == []


def test_internal_error_has_the_last_line_of_its_traceback(jobs):
    log_error("train", RuntimeError("boom"))
    assert of_first(jobs)[0] == "failed"
    assert of_first(jobs)[1].startswith("RuntimeError: boom (")


@pytest.mark.parametrize("error", [UserError("no"), RuntimeError("no")])
def test_experiment_that_was_started_again_since_has_not_failed(jobs, error):
    log_error("train", error)
    with open(f"logs/{NAME}/train.log", "a") as log:
        print(f"{NAME}: interrupted; the same command continues from the saved state", file=log)
    assert of_first(jobs) == ("waiting", "")


def test_old_failure_of_a_stage_that_has_succeeded_since_does_not_count(jobs):
    log_error("prepare", UserError("no image"))
    Path("logs/digits/prepare.benchmark.tsv").write_text("s\n1.0\n")  # the data was deleted afterwards
    assert of_first(jobs) == ("waiting", "")


def test_the_last_line_of_an_error_of_several_counts_them(jobs):
    log_error("prepare", UserError("1.png: damaged\n2.png: empty\n3.png: truncated"))
    log = jobs.root / "logs/digits/prepare.log"
    assert of_first(jobs) == ("failed", f"3.png: truncated (the last of 3 lines) ({log})")


def test_control_characters_of_a_log_do_not_reach_the_terminal():
    assert last_line_of_failure(["error: \x1b[2J", "Then run the same command again."], NAME) == r"error: \x1b[2J"


# -- the time left ---------------------------------------------------------------------------------------------------


def test_time_left_is_scaled_by_the_run_that_runs_and_shared_out(jobs, monkeypatch):
    estimates = {"vgg16": 100.0, "inception_v3": 300.0, "resnet50": 50.0, "mobilenet_v2": 10.0}
    monkeypatch.setattr(
        "deepnets.planning.requests.Requests.training_core_seconds", lambda self, each: estimates[each.model]
    )
    train(PROGRESS)  # takes 200 s instead of 100
    statuses = study_status(jobs, NOW)
    assert seconds_left(statuses, jobs) == 80 + 2 * (300 + 50 + 10)
    write_study_plan({}, side_by_side=2)
    assert seconds_left(statuses, jobs) == 2 * 300, "the longest one takes longer than half of all"


def test_time_left_counts_finished_runs_too_and_first_those_of_the_same_network(jobs, monkeypatch):
    monkeypatch.setattr("deepnets.planning.requests.Requests.training_core_seconds", lambda self, each: 100.0)
    study = [Status(each.directory, "waiting") for each in jobs.study]
    study[0] = Status(study[0].name, "running", seconds=200.0, seconds_left=80.0)
    study[1] = Status(study[1].name, "done", seconds=400.0)
    assert seconds_left(study, jobs) == 80 + 300 + 300, "the others take twice and four times the estimate"
    again = Jobs(jobs.config, jobs.code_root, jobs.root, [*jobs.study[:3], replace(jobs.study[1], seed=1)])
    assert seconds_left(study, again) == 80 + 300 + 400


def test_time_left_of_a_study_that_stands_still_is_that_of_what_waits(jobs):
    finish(jobs)
    log = Path("logs/digits/mobilenet_v2/quick/seed0/train.log")
    left = seconds_left(study_status(jobs, NOW), jobs)
    assert left > 0
    log.parent.mkdir(parents=True)
    log.write_text("error: no\nThen run the same command again.\n")
    assert seconds_left(study_status(jobs, NOW), jobs) < left, "what has failed is not counted"


# -- the script ------------------------------------------------------------------------------------------------------


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, folder / "scripts/status.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


@pytest.fixture(scope="module")
def clone(checkout, tmp_path_factory):
    """A clone in which nothing has run."""
    return checkout(tmp_path_factory.mktemp("clone"))


def test_script_writes_nothing_and_loads_no_torch(clone):
    before = sorted(clone.rglob("*"))
    done = call(clone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("study demo: 4 experiments: 4 waiting\n")
    assert sorted(clone.rglob("*")) == before
    loads = "import sys, status; status.main([]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", loads], cwd=clone, env={**os.environ, "PYTHONPATH": "scripts"}).returncode
        == 0
    )


def test_study_and_values_are_given_as_to_snakemake(clone):
    (clone / "more.yaml").write_text(
        "study: more\nstudies:\n  more: [{datasets: [digits], models: [vgg16], recipe: quick}]\n"
    )
    assert call(clone, "--study", "paper").stdout.startswith("study paper: 6 experiments:")
    assert call(clone, "--config", "study=paper").stdout.startswith("study paper: 6 experiments:")
    assert call(clone, "--configfile", "more.yaml").stdout.startswith("study more: 1 experiment:")
    nested = "studies={demo: [{datasets: [digits], models: [vgg16], recipe: quick, seeds: [0, 1]}]}"
    assert call(clone, "--config", nested).stdout.startswith("study demo: 2 experiments:")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--config", "recipes={quick: {epohs: 3}}"], "--config: recipes.quick.epohs: unknown key (got 3)"),
        (["--config", "paper"], "--configfile or --config: "),
        (["--configfile", "missing.yaml"], "--configfile or --config: "),
        (["--study", "papr"], "--study: study: unknown study (got 'papr'); did you mean 'paper'?"),
        (["--study", "papr", "--config", "tensorboard=false"], "--config or --study: study: unknown study (got "),
    ],
)
def test_mistake_is_a_plain_line(clone, arguments, error):
    done = call(clone, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {error}")
    assert "Traceback" not in done.stderr


def test_broken_configuration_is_a_plain_line(clone, tmp_path):
    folder = shutil.copytree(clone, tmp_path / "broken")
    (folder / "config.yaml").write_text("study: [demo\n")
    done = call(folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: config.yaml:")
    assert "Traceback" not in done.stderr
