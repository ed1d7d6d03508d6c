"""Every file that cannot be written to its end, because the disk is full, is named."""

import contextlib
import errno
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from download_server import CONTENT, raw_file
from matplotlib.figure import Figure
from tiny_dataset import build

from deepnets.data import download
from deepnets.data.array_writer import write_array
from deepnets.figures.style import save
from deepnets.planning.run_hooks import _write_or_exit
from deepnets.training.experiment_dir import _write_history, exclusive
from deepnets.utils.command_line import run
from deepnets.utils.files import atomic_path, write_json, write_text
from deepnets.utils.tensors import save_tensors


@contextlib.contextmanager
def full_disk(limit: int = 10) -> Iterator[None]:
    """Let no file of this process grow beyond `limit` bytes; the error is that of a full disk but for its number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_shard(path: Path) -> None:
    with atomic_path(path) as temporary:
        np.savez(temporary, images=np.zeros((100, 100)))


def copy(path: Path) -> None:
    source = path.with_name("source")
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)


WRITERS: dict[str, Callable[[Path], None]] = {
    "report.md": lambda path: write_text(path, "words " * 100),
    "metrics.json": lambda path: write_json(path, list(range(100))),
    "history.csv": lambda path: _write_history(path, [{"epoch": 1, "train_loss": 0.123456789}] * 2000),
    "model.safetensors": lambda path: save_tensors(path, {"weight": torch.zeros(10_000)}, {}),
    "train_labels.npy": lambda path: write_array(path, np.zeros(10_000)),
    "shard.npz": write_shard,
    "accuracy.png": lambda path: save(Figure(), path),
    "accuracy.svg": lambda path: save(Figure(), path),
    "images.zip": copy,
}


@pytest.mark.parametrize("name", WRITERS)
def test_file_of_every_kind_is_named(tmp_path, name):
    (tmp_path / "source").write_bytes(bytes(1000))
    with full_disk(), pytest.raises(OSError, match="File too large") as error:
        WRITERS[name](tmp_path / name)
    assert error.value.filename == str(tmp_path / name)


def test_owner_of_a_training_run_is_named(tmp_path):
    with full_disk(1), pytest.raises(OSError, match="File too large") as error, exclusive(tmp_path):
        pass
    assert error.value.filename == str(tmp_path / ".train.owner")


def test_part_of_a_download_is_named_and_kept(server, tmp_path):
    with full_disk(5000), pytest.raises(OSError, match="File too large") as error:
        download.fetch(raw_file(f"{server.url}/file.bin"), tmp_path / "raw", "birds")
    part = tmp_path / "raw" / "file.bin.part"
    assert error.value.filename == str(part)
    assert part.read_bytes() == CONTENT[:5000]


def test_file_of_the_prepare_stage_is_named(tmp_path):
    with full_disk(5000), pytest.raises(OSError, match="File too large") as error:
        build(tmp_path, "sklearn_digits")
    assert Path(error.value.filename).parent.parent == tmp_path / "data/tiny/.unfinished"


def test_job_file_is_named_and_the_run_ends_in_one_line(tmp_path):
    with full_disk(), pytest.raises(SystemExit) as end:
        _write_or_exit(write_text, tmp_path / "job.json", "words " * 10)
    assert str(end.value).startswith(f"{tmp_path}/job.json: cannot be written (File too large); free some disk space")


def test_file_that_a_library_writes_without_a_name_is_looked_for_among_the_temporary_ones(caplog, monkeypatch):
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.gettempdir", lambda: "/var/tmp")
    with pytest.raises(SystemExit):
        run(main)
    words = "error: a temporary file, in /var/tmp or /dev/shm: No space left on device; free some disk space."
    assert caplog.messages[0] == words
