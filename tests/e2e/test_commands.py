"""Commands on a finished study: a second run, a run after a kill, the summary, the one-page report."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from zipfile import ZipFile

import pytest
import yaml

from deepnets.config.yaml_reader import read

EXPERIMENT = "results/shapes/small/gentle/seed0"


@pytest.fixture
def make_report(study):
    """Call `make report` in the study's folder, with the environment that runs the tests."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    (study / ".venv").symlink_to(sys.prefix)
    command = ["make", "--assume-old", ".venv/.installed", "report", "CORES=2"]
    return lambda: subprocess.run(command, cwd=study, capture_output=True, text=True)


@pytest.fixture
def working(study):
    """Stop a plain Snakemake while it runs a job: process and locks stay until it is killed."""
    shutil.rmtree(study / "results/shapes/comparison")
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    process = subprocess.Popen(command, cwd=study, stderr=subprocess.DEVNULL, start_new_session=True)
    while not any(lock.stat().st_size for lock in (study / ".snakemake/locks").glob("*.output.lock")):  # its last one
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGSTOP)
    yield process
    kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


REMOVED = "left by a run that was killed; removed"


def test_make_report_a_second_time_does_nothing(make_report):
    done = make_report()
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr
    assert REMOVED not in done.stderr


def test_make_report_continues_after_snakemake_was_killed(make_report, working):
    kill(working)
    done = make_report()
    assert done.returncode == 0, done.stderr
    assert REMOVED in done.stderr
    assert "Plot accuracy of the models on shapes" in done.stderr


def test_plain_snakemake_continues_after_another_was_killed(study, snakemake, working):
    kill(working)
    done = snakemake(study)
    assert done.returncode == 0, done.stdout
    assert REMOVED in done.stdout


def test_lock_of_a_snakemake_that_lives_is_left_alone(study, snakemake, working):
    done = snakemake(study)
    assert done.returncode != 0
    assert REMOVED not in done.stdout
    assert re.search(r"another run is going on in this folder \(pid \d+, since \d\d:\d\d\); wait for it", done.stdout)


def test_lock_of_another_machine_is_left_alone_with_what_to_do(study, snakemake, working):
    kill(working)
    (study / ".snakemake/alive").write_text("another")
    done = snakemake(study)
    assert done.returncode != 0
    assert REMOVED not in done.stdout
    assert "--unlock" in done.stdout


@pytest.mark.parametrize("command", [["--unlock"], ["--summary"]])
def test_what_people_need_around_a_run_works_without_cores(study, snakemake, command):
    done = snakemake(study, *command, cores=None)
    assert done.returncode == 0, done.stdout


def test_one_page_with_all_figures_is_written(study, snakemake):
    done = snakemake(study, "--report", "results/workflow.html", cores=None)
    assert done.returncode == 0, done.stdout
    page = (study / "results/workflow.html").read_text(encoding="utf-8")
    assert "Learning curves" in page
    assert "Confusion matrix" in page
    assert "first" in page  # the study's name, in the methods paragraph


def test_printed_line_of_a_training_run_can_be_run_by_hand(study, snakemake):
    shutil.rmtree(study / EXPERIMENT)
    planned = snakemake(study, "--dry-run", "--printshellcmds", f"{EXPERIMENT}/metrics.json").stdout
    line = next(line for line in planned.splitlines() if "train.py" in line).partition("Shell command: ")[2]
    # In parentheses, as docs/how-to/run.md says: the line's process is then not a child of the process $PPID.
    done = subprocess.run(["bash", "-c", f"({line})\necho ended"], cwd=study, text=True, capture_output=True)
    assert done.stdout == "ended\n", done.stderr
    assert (study / EXPERIMENT / "model.safetensors").exists(), done.stderr


def test_a_network_is_exported_when_its_file_is_asked_for_and_not_again(study, snakemake):
    file = "results/shapes/small/brief/seed0/model.onnx"
    done = snakemake(study, file)
    assert done.returncode == 0, done.stdout
    assert re.search(r"model\.onnx differs from the network by \d\.\de-\d+ at most, on 20 test images", done.stdout)
    assert (study / file).is_file()
    assert "Nothing to be done" in snakemake(study, file).stdout
    (study / file).write_bytes(b"damaged")
    assert "differs from the network by" in snakemake(study, file).stdout


@pytest.mark.slow
@pytest.mark.full
def test_two_networks_of_the_demo_are_exported(checkout, snakemake, tmp_path):
    """After a few steps of training each; their files are compared with them on real images."""
    folder = checkout(tmp_path / "clone")
    config = read(folder / "config.yaml").content
    for recipe in (config["recipes"]["quick"], *config["recipes"]["quick"]["on"].values()):
        recipe["epochs"] = 0.05
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    networks = ("vgg16", "resnet50")
    done = snakemake(folder, *(f"results/digits/{name}/quick/seed0/model.onnx" for name in networks))
    assert done.returncode == 0, done.stdout
    line = r"digits/(\w+)/.* model\.onnx differs from the network by (\S+) at most, on 256 test images"
    found = re.findall(line, done.stdout)
    assert sorted(name for name, _ in found) == sorted(networks)
    assert all(float(largest) < 1e-3 for _, largest in found)


def test_a_model_card_is_written_when_it_is_asked_for_and_what_users_add_stays(study, snakemake):
    file = study / "results/shapes/small/brief/seed0/MODEL_CARD.md"
    name = str(file.relative_to(study))
    done = snakemake(study, name)
    assert done.returncode == 0, done.stdout
    assert "small on shapes" in file.read_text(encoding="utf-8")
    file.write_text("completed by hand")
    assert "Nothing to be done" in snakemake(study, name).stdout
    assert file.read_text() == "completed by hand"


def test_a_bundle_is_packed_with_all_that_it_holds_and_again_when_the_card_is_completed(study, snakemake):
    folder = study / "results/shapes/small/brief/seed0"
    name = str((folder / "bundle.zip").relative_to(study))
    done = snakemake(study, name)
    assert done.returncode == 0, done.stdout
    with ZipFile(folder / "bundle.zip") as bundle:
        assert bundle.read("shapes-small-brief-seed0/model.onnx") == (folder / "model.onnx").read_bytes()
        assert b"<code>model.onnx</code>" in bundle.read("shapes-small-brief-seed0/MODEL_CARD.md")
    assert "Nothing to be done" in snakemake(study, name).stdout
    with open(folder / "MODEL_CARD.md", "a") as card:
        card.write("completed by hand")
    assert snakemake(study, name).returncode == 0
    with ZipFile(folder / "bundle.zip") as bundle:
        assert bundle.read("shapes-small-brief-seed0/MODEL_CARD.md").endswith(b"completed by hand")
