"""`tensorboard: true`: event files in logs/, on request, and nothing runs again for them."""

import importlib.util
import sys

import pytest
from tiny_experiment import arguments, call, experiment_folder, history, restored_process

import train as train_script
from deepnets.config.loader import load_config
from deepnets.planning.jobs import Jobs
from deepnets.training import tensorboard
from deepnets.training.tensorboard import TAGS, EventFile, event_file
from deepnets.utils.errors import UserError

ROW = dict.fromkeys(TAGS, 0.5)


class Recorder:
    """Stands in for torch's SummaryWriter."""

    def __init__(self):
        self.events, self.closed = [], False

    def add_scalar(self, *event):
        self.events.append(event)

    def flush(self):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def as_if_installed(monkeypatch):
    monkeypatch.setattr("deepnets.config.schema.find_spec", lambda name: name == "tensorboard")


def test_each_row_is_written_once_and_those_of_earlier_runs_too():
    recorder = Recorder()
    with EventFile(recorder) as events:
        events.write([ROW, ROW])  # the first epoch after a resume
        events.write([ROW, ROW, ROW])
    steps = [step for tag, _, step in recorder.events if tag == "loss/train"]
    assert steps == [1, 2, 3]
    assert {tag for tag, _, _ in recorder.events} == set(TAGS.values())
    assert recorder.closed


def test_a_training_run_writes_its_history_into_the_logs(data, tmp_path, monkeypatch):
    recorder, folders = Recorder(), []
    monkeypatch.setattr(tensorboard, "_writer", lambda folder: folders.append(folder) or recorder)
    with restored_process():
        call(train_script.main, [*arguments(data, tmp_path), "--tensorboard"])
    assert folders == [tmp_path / "logs/digits/mobilenet_v2/quick/seed3/tensorboard"]
    accuracies = [value for tag, value, _ in recorder.events if tag == "accuracy/validation"]
    assert accuracies == [float(row["val_accuracy"]) for row in history(experiment_folder(tmp_path))]
    assert recorder.closed


def test_no_file_is_written_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with event_file(None) as events:
        events.write([ROW])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("as_if_installed")
def test_the_option_is_part_of_no_job(root):
    def fingerprints(option: bool) -> list[str]:
        jobs = Jobs(load_config(root / "config.yaml", {"tensorboard": option}), root)
        return [jobs.fingerprint(job.stage, job.wildcards) for job in jobs.of_study()]

    assert fingerprints(True) == fingerprints(False)


def test_missing_package_is_one_line_before_anything_runs_and_in_a_job(root, tmp_path, monkeypatch):
    monkeypatch.setattr("deepnets.config.schema.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^--config: tensorboard: true needs the package .*: python -m pip install"):
        load_config(root / "config.yaml", {"tensorboard": True})
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"^--tensorboard: needs the package tensorboard .* set tensorboard: false"):
        event_file(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
@pytest.mark.filterwarnings("default")  # not of this project's
def test_tensorboard_reads_the_file_and_finds_no_earlier_one(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rows in ([ROW], [ROW, ROW]):
        with event_file(tmp_path) as events:
            events.write(rows)
    (file,) = tmp_path.iterdir()
    found = EventAccumulator(str(file)).Reload()
    assert set(found.Tags()["scalars"]) == set(TAGS.values())
    assert [event.step for event in found.Scalars("loss/train")] == [1, 2]
