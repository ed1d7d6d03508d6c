"""`.train.progress`, by which `make status` knows how far a training run is."""

import json
import threading
import time

import pytest
from small_trainer import After, checkpoints_in, trainer
from tiny_experiment import restored_process, train

from deepnets.training import progress_file
from deepnets.training.progress_file import progress_in_file, progress_of
from deepnets.training.trainer import Interrupted
from deepnets.utils.paths import PROGRESS_FILE


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(progress_file, "PROGRESS_SECONDS", 0.01)


def test_before_the_first_step_only_the_length_is_known():
    assert progress_of(trainer(), None) == {
        "epochs": 3.0,
        "epochs_done": 0.0,
        "val_accuracy": None,
        "images_per_second": None,
        "seconds_left": None,
        "seconds": None,
    }


def test_progress_has_epochs_accuracy_speed_and_time_left_in_the_midst_of_an_epoch(tmp_path):
    training = trainer()  # three steps of ten images in each of three epochs
    with pytest.raises(Interrupted):
        training.fit(checkpoints_in(tmp_path), should_stop=After(4))
    training.progress.seconds = 2.0  # of the one step of the second epoch
    found = progress_of(training, (time.monotonic() - 8.0, 0))
    assert found["epochs_done"] == 1.333
    assert found["val_accuracy"] == training.progress.history[0]["val_accuracy"]
    assert found["images_per_second"] == 5.0
    assert found["seconds_left"] == pytest.approx(5 * 2.0, rel=0.01)
    assert found["seconds"] == pytest.approx(9 * 2.0, rel=0.01)


def test_time_left_counts_the_larger_images_that_are_still_to_come():
    training = trainer(progressive_resizing={"start": 0.5, "until": 0.7})
    training.progress.epoch, training.progress.step = 1, 1
    found = progress_of(training, (time.monotonic() - 8.0, 0))
    done, left = 4 * 3**2, 3 * 4**2 + 2 * 6**2  # pixels of an image of each of the nine steps
    assert found["seconds_left"] == pytest.approx(8.0 * left / done, rel=0.01)
    assert found["seconds"] == pytest.approx(8.0 * (left + done) / done, rel=0.01)


def test_a_run_that_ends_within_an_epoch_has_done_all_its_steps():
    training = trainer(epochs=1.5)
    training.progress.epoch = 2
    found = progress_of(training, (time.monotonic() - 8.0, 0))
    assert (found["epochs_done"], found["seconds_left"]) == (pytest.approx(4 / 3, abs=0.001), 0)


def test_a_resumed_run_is_as_fast_as_its_own_steps(tmp_path):
    with pytest.raises(Interrupted):
        trainer().fit(checkpoints_in(tmp_path), should_stop=After(4))
    training = trainer()
    assert progress_file._first_point(training) is None, "the steps of the earlier run are not read yet"
    training._resume(checkpoints_in(tmp_path))
    training._begin_run()
    now, steps = progress_file._first_point(training)
    assert steps == 4
    training.progress.step += 1
    assert progress_of(training, (now - 3.0, steps))["seconds_left"] == pytest.approx(4 * 3.0, rel=0.01)


@pytest.mark.usefixtures("often")
def test_file_is_written_again_and_again_while_the_run_waits(tmp_path):
    with progress_in_file(tmp_path, trainer()):
        written = set()
        until = time.monotonic() + 10
        while len(written) < 3 and time.monotonic() < until:
            if (tmp_path / PROGRESS_FILE).exists():
                written.add((tmp_path / PROGRESS_FILE).stat().st_mtime_ns)
        assert len(written) == 3
        assert json.loads((tmp_path / PROGRESS_FILE).read_text())["epochs"] == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "progress file"]


@pytest.mark.usefixtures("often")
def test_folder_that_cannot_be_written_does_not_end_the_run(tmp_path):
    with progress_in_file(tmp_path / "missing", trainer()):
        time.sleep(0.05)
    assert not (tmp_path / "missing").exists()


@pytest.mark.usefixtures("often")
def test_file_is_there_while_an_experiment_trains_and_gone_afterwards(data, tmp_path, monkeypatch):
    seen = []
    of_trainer = progress_file.progress_of
    monkeypatch.setattr(progress_file, "progress_of", lambda *args: seen.append(of_trainer(*args)) or seen[-1])
    with restored_process():
        train(data, tmp_path)
    assert {each["epochs"] for each in seen} == {6}
    assert max(each["epochs_done"] for each in seen) > 1
    assert not list(tmp_path.glob(".train.progress*"))
