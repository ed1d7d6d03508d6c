"""Each GPU is given to one job at a time, and is free again however the job ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from filelock import FileLock

from deepnets.training import gpu_locks
from deepnets.training.gpu_locks import acquire_gpus
from deepnets.utils.errors import UserError

HOLDER = """
import os, time
from deepnets.training.gpu_locks import acquire_gpus
with acquire_gpus(1, "digits/a/b/seed0"):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(60)
"""


@pytest.fixture
def gpus(fake_gpus, tmp_path, monkeypatch):
    """Put this process on a machine with n GPUs: `gpus(2) -> UUIDs`."""

    def put(count: int) -> list[str]:
        environment, uuids = fake_gpus(tmp_path, count)
        os.environ.update(environment)
        monkeypatch.setattr(gpu_locks, "LOCKS", tmp_path)
        return uuids

    return put


@pytest.fixture
def hold(tmp_path):
    """Let another job hold a GPU: `hold(uuid) -> lock`."""
    locks = []

    def take(uuid: str) -> FileLock:
        locks.append(FileLock(tmp_path / f"deepnets-gpu-{uuid}.lock", thread_local=False))
        locks[-1].acquire(blocking=False)
        return locks[-1]

    yield take
    for lock in locks:
        lock.release()


def said() -> str | None:
    """Return which GPUs CUDA may use."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_job_gets_a_gpu_that_is_free(gpus, hold):
    first, second = gpus(2)
    hold(first)
    with acquire_gpus(1, "digits/a/b/seed0") as names:
        assert names == [second]
        assert said() == second


def test_job_gets_as_many_as_it_asks_for(gpus):
    uuids = gpus(3)
    with acquire_gpus(2, "digits/a/b/seed0"):
        assert said() == ",".join(uuids[:2])


def test_job_waits_until_a_gpu_is_free_and_reports_it(gpus, hold, caplog):
    caplog.set_level("INFO")
    (uuid,) = gpus(1)
    timer = threading.Timer(0.2, hold(uuid).release)
    timer.start()
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert said() == uuid
    assert "digits/a/b/seed0: waiting for a GPU: all are in use" in caplog.text
    timer.join()


def test_gpu_comes_back_when_its_job_is_killed(root, gpus, tmp_path):
    (uuid,) = gpus(1)
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout.readline() == f"{uuid}\n"
        files = {uuid: tmp_path / f"deepnets-gpu-{uuid}.lock"}
        assert gpu_locks._try_to_lock(1, files) == {}
        job.send_signal(signal.SIGKILL)
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert said() == uuid


def test_gpu_comes_back_after_an_error(gpus):
    gpus(1)
    with pytest.raises(KeyError), acquire_gpus(1, "digits/a/b/seed0"):
        raise KeyError
    del os.environ["CUDA_VISIBLE_DEVICES"]
    with acquire_gpus(1, "digits/a/b/seed0"):
        pass


def test_job_that_must_wait_for_two_keeps_none(gpus, hold, tmp_path):
    free, taken = gpus(2)
    hold(taken)
    assert gpu_locks._try_to_lock(2, {name: tmp_path / f"deepnets-gpu-{name}.lock" for name in (free, taken)}) == {}
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert said() == free


def test_gpu_is_the_same_by_its_number_and_by_its_uuid(gpus, hold):
    _first, second = gpus(2)
    hold(second)
    os.environ["CUDA_VISIBLE_DEVICES"] = "1,0"
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert said() == "0"


def test_numbers_of_gpus_are_those_of_nvidia_smi(gpus):
    gpus(2)
    os.environ |= {"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_start_of_a_uuid_stands_for_the_gpu(gpus, hold):
    first, second = gpus(2)
    hold(first)
    os.environ["CUDA_VISIBLE_DEVICES"] = f"{first[:12]},{second[:12]}"
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert said() == second[:12]


@pytest.mark.parametrize(("given", "asked", "locks"), [("0", 1, 0), ("1,0", 2, 0), ("0,1", 1, 1)])
def test_batch_job_with_the_gpus_it_asked_for_needs_no_lock(gpus, tmp_path, given, asked, locks):
    gpus(2)
    os.environ.update({"SLURM_JOB_ID": "12", "CUDA_VISIBLE_DEVICES": given})
    with acquire_gpus(asked, "digits/a/b/seed0") as names:
        assert said() == ",".join(names) == ",".join(given.split(",")[:asked])
        assert len(list(tmp_path.glob("*.lock"))) == locks


@pytest.mark.parametrize(("count", "asked"), [(0, 1), (0, 4), (2, 0)])
def test_where_there_is_no_gpu_or_none_is_asked_for_nothing_is_done(gpus, tmp_path, count, asked):
    gpus(count)
    with acquire_gpus(asked, "digits/a/b/seed0") as names:
        assert (names, said()) == ([], None)
        assert not list(tmp_path.glob("*.lock"))


def test_more_gpus_than_there_are_are_refused(gpus):
    uuids = gpus(2)
    with pytest.raises(UserError, match=rf"--gpus 4: there are 2 here \({uuids[0]}, {uuids[1]}\); ask for fewer"):
        acquire_gpus(4, "digits/a/b/seed0").__enter__()


def test_every_user_may_lock_a_gpu(gpus, tmp_path):
    (uuid,) = gpus(1)
    with acquire_gpus(1, "digits/a/b/seed0"):
        assert (tmp_path / f"deepnets-gpu-{uuid}.lock").stat().st_mode & 0o666 == 0o666


def test_folder_without_room_for_locks_is_one_clear_line(gpus, tmp_path, monkeypatch):
    gpus(1)
    (tmp_path / "file").touch()
    monkeypatch.setattr(gpu_locks, "LOCKS", tmp_path / "file")
    with pytest.raises(UserError, match=r"GPU-.*\.lock: cannot lock a GPU here .* set DEEPNETS_LOCKS to a folder"):
        acquire_gpus(1, "digits/a/b/seed0").__enter__()
