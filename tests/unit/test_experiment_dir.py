"""One trainer per experiment, and model files that say what they are."""

import os
import platform
import re
import signal
import subprocess
import sys
import threading

import pytest
import torch

from deepnets.training import experiment_dir
from deepnets.training.experiment_dir import exclusive, load_model_file
from deepnets.training.owner_file import owner
from deepnets.utils.errors import UserError
from deepnets.utils.tensors import save_tensors

HOLDER = """
import sys, time
from pathlib import Path
from deepnets.training.experiment_dir import exclusive
with exclusive(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(experiment_dir, "WAIT_SECONDS", 0.2)


@pytest.fixture
def holder(root, tmp_path):
    """Another process that trains in tmp_path / "seed0"."""
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "seed0")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


@pytest.mark.usefixtures("impatient")
def test_second_trainer_is_refused_by_name_until_the_first_is_dead(holder, tmp_path):
    first = re.escape(f"process {holder.pid} on {platform.node()}")
    with pytest.raises(
        UserError, match=rf"seed0: {first} is still training here; wait .* continues from the last saved state"
    ):
        exclusive(tmp_path / "seed0").__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(tmp_path / "seed0"):
        assert f"process {os.getpid()} " in (tmp_path / "seed0" / ".train.owner").read_text()


@pytest.mark.usefixtures("impatient")
def test_second_trainer_names_the_process_that_it_waits_for(tmp_path, caplog):
    with exclusive(tmp_path), pytest.raises(UserError):
        exclusive(tmp_path).__enter__()
    assert f"waiting for process {os.getpid()} on {platform.node()}, which trains here" in caplog.text


def test_second_trainer_continues_when_the_first_has_finished(tmp_path):
    first = exclusive(tmp_path)
    first.__enter__()
    timer = threading.Timer(0.2, first.__exit__, (None, None, None))
    timer.start()
    with exclusive(tmp_path):
        assert (tmp_path / ".train.owner").exists()
    timer.join()


@pytest.mark.usefixtures("impatient")
def test_job_of_a_batch_system_waits_for_as_long_as_it_takes(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    timer = threading.Timer(1, holder.kill)
    timer.start()
    with exclusive(tmp_path / "seed0"):
        assert holder.wait() == -signal.SIGKILL
    timer.join()


def test_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass
    assert not (tmp_path / ".train.owner").exists()


@pytest.mark.usefixtures("impatient")
def test_two_experiments_do_not_wait_for_each_other(tmp_path):
    with exclusive(tmp_path / "seed0"), exclusive(tmp_path / "seed1"):
        pass


def test_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"seed0: cannot write here \(Not a directory\); make the folder writable"):
        exclusive(tmp_path / "file" / "seed0").__enter__()


def test_model_file_gives_its_facts_decoded(tmp_path):
    path = tmp_path / "model.safetensors"
    written = {"spec": {"seed": 0}, "spec_sha256": "12", "mean": [0.5], "classes": ["0"]}
    save_tensors(path, {"w": torch.ones(2)}, written)
    weights, metadata = load_model_file(path)
    assert torch.equal(weights["w"], torch.ones(2))
    assert metadata == written


def test_model_file_of_another_program_is_one_clear_line(tmp_path):
    save_tensors(tmp_path / "model.safetensors", {"w": torch.ones(2)}, {"format": "pt"})
    with pytest.raises(UserError, match=r"model\.safetensors: .*; delete it"):
        load_model_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("content", "said"), [(b"process 1 on a", "process 1 on a"), (b"", "?"), (b"\xff", "?")])
def test_owner_of_a_folder_is_what_its_file_says_if_it_can_be_read(tmp_path, content, said):
    assert owner(tmp_path, "?") == "?"
    (tmp_path / ".train.owner").write_bytes(content)
    assert owner(tmp_path, "?") == said
