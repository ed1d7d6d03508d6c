"""A dataset four times as large as memory trains, and memory stays flat."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from deepnets.utils.files import sha256_file, write_json

pytestmark = [pytest.mark.slow, pytest.mark.full]

LIMIT = 800 * 10**6  # bytes; torch and the network take 520 of them
SIDE = 64
IMAGES = 4 * LIMIT // (3 * SIDE * SIDE)
CGROUPS = Path("/sys/fs/cgroup")

MEAN_COLOUR = """
from torch import nn
from deepnets.utils.option_types import StrictModel

MIN_IMAGE_SIZE = 1


class Options(StrictModel):
    pass


def build(num_classes, in_channels, options):  # little computation, so that reading the images takes most of the time
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes))
"""


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a control group whose processes share `limit` bytes, without swap; skip the test if that is impossible."""
    versions = ((CGROUPS / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
                (CGROUPS, "memory.max", "memory.swap.max"))  # fmt: skip
    for parent, most, most_with_swap in versions:
        group = parent / f"deepnets-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / most).exists():
                (group / most).write_text(str(limit))
                with contextlib.suppress(OSError):  # no swap, or not counted
                    (group / most_with_swap).write_text(str(limit if parent.name == "memory" else 0))
                yield group
                return
        finally:
            group.rmdir()
    pytest.skip("needs to be root where control groups can limit memory")


def run_in(group: Path, *command: object, **settings) -> subprocess.Popen:
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    return subprocess.Popen(["sh", "-c", enter, group, *command], **settings)


def anonymous_mb(pid: int) -> float:
    """Return the anonymous memory of a process in MB: no file holds it, so the kernel cannot drop it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def prepared(folder: Path) -> Path:
    """Prepare black images in a sparse file, which fills memory when it is read, and no disk; return dataset.json."""
    shapes = {"train_images.npy": (np.uint8, (IMAGES, SIDE, SIDE, 3)), "train_labels.npy": (np.int64, (IMAGES,))}
    folder.mkdir(parents=True)
    arrays = {}
    for name, (dtype, shape) in shapes.items():
        array = np.lib.format.open_memmap(folder / name, "w+", dtype, shape)
        if dtype is np.int64:
            array[:] = np.arange(IMAGES) % 10
            array.flush()
        sha256 = sha256_file(folder / name) if dtype is np.int64 else "not asked for: it is too large"
        arrays[name] = {"sha256": sha256, "shape": shape, "dtype": array.dtype.name}
    metadata = {"classes": list("0123456789"), "input_shape": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.2] * 3}
    write_json(
        folder / "dataset.json", {"schema_version": 1, "dataset": "large", "spec": {}, "arrays": arrays, **metadata}
    )
    return folder / "dataset.json"


def is_in_memory(folder: Path) -> bool:
    mounts = [p for p in psutil.disk_partitions(all=True) if folder.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype in ("tmpfs", "ramfs")


def test_dataset_of_four_times_the_memory_trains_and_memory_stays_flat(checkout, tmp_path):
    if is_in_memory(tmp_path):
        pytest.skip("needs a temporary folder on a disk")
    clone = checkout(tmp_path / "clone")
    data = prepared(clone / "data/large")
    (clone / "scripts/deepnets/models/mean_colour.py").write_text(MEAN_COLOUR)
    spec = {"dataset": {"horizontal_flip": False}, "model": {"architecture": "mean_colour"}, "seed": 0}
    spec["recipe"] = {"epochs": 1, "batch_size": 256, "lr": 0.01}
    names = {"dataset": "large", "model": "mean_colour", "recipe": "once", "seed": 0}
    job, log = tmp_path / "job.json", tmp_path / "train.log"
    write_json(job, {"spec": spec, "experiment": names, "code": {}})
    train = [sys.executable, clone / "scripts/train.py", "large/mean_colour/once/seed0", "--job", job]
    train += ["--root", clone, "--log", log, "--gpus", "0"]
    with memory_group(LIMIT) as group:
        load = "import numpy, sys; numpy.load(sys.argv[1])"
        whole = run_in(group, sys.executable, "-c", load, data.with_name("train_images.npy"))
        assert whole.wait() == -signal.SIGKILL  # the limit works: reading the array into memory is killed
        training, taken = run_in(group, *train, env={**os.environ, "OMP_NUM_THREADS": "1"}), []
        while training.poll() is None:
            if log.exists():  # all is loaded, the first step begins
                taken.append(anonymous_mb(training.pid))
            time.sleep(0.05)
    assert training.returncode == 0, log.read_text()
    print(f"{max(taken):.0f} MB of anonymous memory at most, of {LIMIT / 1e6:.0f} MB")  # for docs/scaling.md: pytest -s
    third = len(taken) // 3
    assert third > 10
    assert max(taken[third:]) < 1.05 * max(taken[:third])
    assert max(taken) < LIMIT / 1e6
