"""train.py in two processes: MobileNetV2 and ResNet50 on scikit-learn's digits."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_digits

from deepnets.config.recipe import Recipe
from deepnets.training.experiment_dir import exclusive
from deepnets.utils import paths
from deepnets.utils.files import sha256_file, write_json

pytestmark = [pytest.mark.slow, pytest.mark.full]

CLASSES = [str(digit) for digit in range(10)]
NAME = "digits/a/b/seed0"
EXPERIMENT = f"results/{NAME}"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Return a folder data/ with the digits, prepared; it has only their training split."""
    data, digits = tmp_path_factory.mktemp("data"), load_digits()
    folder = data / "digits"
    folder.mkdir()
    arrays = {"train_images.npy": (digits.images * 255 / 16).astype(np.uint8)[:1437, :, :, None]}
    arrays["train_labels.npy"] = digits.target[:1437].astype(np.int64)
    about = {}
    for name, array in arrays.items():
        np.save(folder / name, array)
        about[name] = {"sha256": sha256_file(folder / name), "shape": list(array.shape), "dtype": str(array.dtype)}
    metadata = {"classes": CLASSES, "input_shape": [1, 8, 8], "mean": [0.31], "std": [0.38]}
    start = {"schema_version": 1, "dataset": "digits", "spec": {"source": "sklearn_digits"}}
    write_json(folder / "dataset.json", {**start, "arrays": about, **metadata})
    return data


@pytest.fixture
def start(root, data):
    """Start train.py with a folder as its root: `start(folder, processes=2, architecture="resnet50") -> process`."""
    started = []

    def run(folder: Path, processes: int = 2, architecture: str = "mobilenet_v2", **recipe) -> subprocess.Popen:
        options = {"zero_init_residual": True} if architecture == "resnet50" else {}
        recipe = {"epochs": 3, "batch_size": 32, "lr": 0.02, "warmup": 0.3, "precision": "fp32", **recipe}
        spec = {
            "dataset": {"source": "sklearn_digits", "horizontal_flip": False},
            "model": {"architecture": architecture, **options},
            "recipe": Recipe(**recipe).model_dump(),
            "seed": 0,
        }
        names = {"dataset": "digits", "model": "a", "recipe": "b", "seed": 0}
        write_json(folder / "job.json", {"spec": spec, "experiment": names, "code": {}})
        if not (folder / "data").exists():
            (folder / "data").symlink_to(data)
        command = [sys.executable, str(root / "scripts/train.py"), NAME, "--job", str(folder / "job.json")]
        command += ["--root", str(folder), "--log", str(folder / "log"), "--gpus", "0"]
        command += ["--processes", str(processes), "--threads", str(processes), "--parent", str(os.getpid())]
        environ = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # otherwise a line would report an unused GPU
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that train, by their rank."""
    return sorted(psutil.Process(process.pid).children(), key=lambda child: int(child.environ()["RANK"]))


def wait_for_epoch(process: subprocess.Popen, epoch: int) -> list[str]:
    """Return the lines up to that of an epoch."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if f": epoch {epoch}/" in line:
            return lines
    raise AssertionError("".join(lines))


def finish(process: subprocess.Popen) -> str:
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


def history(folder: Path) -> list[dict]:
    with open(folder / EXPERIMENT / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def timing(folder: Path) -> dict:
    return json.loads((folder / EXPERIMENT / "timing.json").read_text())


def test_resnet50_learns_the_digits_in_two_processes_as_well_as_in_one_and_each_line_is_printed_once(start, tmp_path):
    for count in (1, 2):
        lines = finish(start(tmp_path / str(count), count, "resnet50", epochs=5)).splitlines()
        lines = [line for line in lines if ", step " not in line]  # of slow epochs
        assert [line.split(":")[0] for line in lines] == [NAME] * 6  # one line to begin with, and one for each epoch
    one, two = (history(tmp_path / count) for count in "12")
    assert two[0]["train_loss"] == pytest.approx(one[0]["train_loss"], rel=0.05)
    accuracies = one[-1]["val_accuracy"], two[-1]["val_accuracy"]
    assert min(accuracies) > 0.9
    assert max(accuracies) - min(accuracies) < 0.05  # 7 of 144 images
    assert (timing(tmp_path / "2")["processes"], timing(tmp_path / "2")["threads"]) == (2, 1)
    files = [{path.name for path in (tmp_path / count / EXPERIMENT).iterdir()} for count in "12"]
    assert files[0] == files[1]


@pytest.mark.parametrize("rank", [0, 1])
def test_lost_process_ends_the_training_in_seconds_and_is_named(start, tmp_path, rank):
    process = start(tmp_path, epochs=30)
    wait_for_epoch(process, 1)
    both = workers(process)
    both[rank].kill()
    killed = time.monotonic()
    last = process.communicate(timeout=120)[1].splitlines()[-2]
    assert time.monotonic() - killed < 90  # seconds; torch itself waits half an hour, and machines can be busy
    assert last.startswith(f"error: {NAME}: process {rank + 1} of 2 was ended by SIGKILL")
    assert process.returncode == 2
    assert not any(worker.is_running() for worker in both)


@pytest.mark.parametrize("victim", ["launcher", "second process"])
def test_terminated_training_saves_and_continues_with_any_number_of_processes(start, tmp_path, victim):
    process = start(tmp_path, epochs=4)
    wait_for_epoch(process, 1)
    os.kill(process.pid if victim == "launcher" else workers(process)[1].pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert said.splitlines()[-1].startswith(f"{NAME}: interrupted; the same command continues")
    assert "Traceback" not in said
    assert "resumed at epoch 1." in finish(start(tmp_path, 1, epochs=4))
    assert len(history(tmp_path)) == 4
    assert timing(tmp_path)["processes"] == 1


def test_processes_save_and_end_when_their_launcher_is_killed(start, tmp_path):
    process = start(tmp_path, epochs=30)
    wait_for_epoch(process, 1)
    both = workers(process)
    process.kill()
    _gone, alive = psutil.wait_procs(both, timeout=30)
    assert not alive
    assert list((tmp_path / EXPERIMENT / paths.CHECKPOINTS).glob("state-*.json"))


def test_processes_start_once_the_trainer_before_them_has_ended(start, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with exclusive(tmp_path / EXPERIMENT):
        process = start(tmp_path, epochs=1)
        assert f"waiting for process {os.getpid()} " in process.stderr.readline()
        time.sleep(1)
        assert psutil.Process(process.pid).children() == []
    finish(process)


def test_an_error_of_all_processes_is_printed_once(start, tmp_path):
    process = start(tmp_path, lr=100, warmup=0.0)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert said.count("the loss is not finite in epoch 1 of 3") == 1
    assert said.splitlines()[-2].startswith(f"error: {NAME}: the loss is not finite")


SECOND_RUNS_OUT_OF_MEMORY = """
import os
if os.environ.get("RANK") == "1":
    import torch

    def cross_entropy(*_, **__):
        raise RuntimeError("CUDA out of memory.")

    torch.nn.functional.cross_entropy = cross_entropy
"""


def test_an_error_of_one_process_is_in_the_log_with_its_number(start, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SECOND_RUNS_OUT_OF_MEMORY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = start(tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 2
    log = (tmp_path / "log").read_text()
    assert log.count(f"process 2 of 2: error: {NAME}: out of memory; set accumulation: 2") == 1
