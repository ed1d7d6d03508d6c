"""A file that is no longer what was written is told from one that was only touched or copied."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deepnets.utils.checksums import damaged, recorded

LATER = 10**9  # nanoseconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    one, two = tmp_path / "one.bin", tmp_path / "two words.csv"
    with recorded("job", one, two):
        one.write_bytes(bytes(1000))
        two.write_text("a,b\n")
    return tmp_path


def write_later(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    note = file.with_name(".job.sha256").stat().st_mtime_ns
    os.utime(file, ns=(note + LATER, note + LATER))


def test_files_as_they_were_written_are_whole(folder):
    assert list(damaged(folder)) == []


@pytest.mark.parametrize("content", [b"", bytes(999), bytes(999) + b"\1"])
def test_emptied_truncated_or_flipped_file_is_damaged(folder, content):
    write_later(folder / "one.bin", content)
    assert list(damaged(folder)) == [folder / "one.bin"]


def test_touched_file_is_whole_and_read_only_once(folder, monkeypatch):
    past = (folder / "one.bin").stat().st_mtime_ns - LATER
    os.utime(folder / ".job.sha256", ns=(past, past))
    assert list(damaged(folder)) == []
    monkeypatch.setattr("deepnets.utils.checksums.sha256_file", lambda _path: pytest.fail("read again"))
    assert list(damaged(folder)) == []


def test_copied_folder_is_whole(folder, tmp_path_factory):
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "folder", copy_function=shutil.copyfile)
    assert list(damaged(copy)) == []


def test_missing_file_is_not_damaged(folder):
    (folder / "one.bin").unlink()
    assert list(damaged(folder)) == []


def test_job_that_is_killed_while_it_writes_leaves_no_note(folder):
    def killed() -> None:
        with recorded("job", folder / "one.bin"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not (folder / ".job.sha256").exists()


@pytest.mark.parametrize("note", [b"\xff", b"", b"short\n"])
def test_damaged_note_accuses_nobody(folder, note):
    (folder / ".job.sha256").write_bytes(note)
    assert list(damaged(folder)) == []


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_note_is_what_sha256sum_reads(folder):
    assert subprocess.run(["sha256sum", "--check", "--strict", ".job.sha256"], cwd=folder).returncode == 0
