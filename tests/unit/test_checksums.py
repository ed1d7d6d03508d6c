"""A corrupted file is found; one that was only touched or copied is not reported."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deepnets.utils.checksums import find_corrupted, record_checksums, verify
from deepnets.utils.errors import UserError

LATER = 10**9  # nanoseconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files of the job `train` and their checksums."""
    one, two = tmp_path / "model.safetensors", tmp_path / "history.csv"
    with record_checksums("train", one, two):
        one.write_bytes(bytes(1000))
        two.write_text("a,b\n")
    return tmp_path


def write_later(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    recorded = file.with_name(".train.sha256").stat().st_mtime_ns
    os.utime(file, ns=(recorded + LATER, recorded + LATER))


def make_files_newer(folder: Path) -> None:
    past = (folder / "model.safetensors").stat().st_mtime_ns - LATER
    os.utime(folder / ".train.sha256", ns=(past, past))


def refuse_to_read(monkeypatch) -> None:
    monkeypatch.setattr("deepnets.utils.checksums.sha256_file", lambda _path: pytest.fail("a file is read"))


def test_files_as_they_were_written_are_intact_and_are_not_read(folder, monkeypatch):
    refuse_to_read(monkeypatch)
    assert find_corrupted(folder) == []


@pytest.mark.parametrize("content", [b"", bytes(999), bytes(999) + b"\1"])
@pytest.mark.parametrize("remember", [False, True])
def test_emptied_truncated_or_flipped_file_is_found_each_time(folder, content, remember):
    write_later(folder / "model.safetensors", content)
    for _ in range(2):
        assert find_corrupted(folder, remember=remember) == [folder / "model.safetensors"]


def test_touched_file_is_intact_and_if_remembered_read_only_once(folder, monkeypatch):
    make_files_newer(folder)
    assert find_corrupted(folder, remember=True) == []
    refuse_to_read(monkeypatch)
    assert find_corrupted(folder, remember=True) == []


def test_looking_for_corrupted_files_changes_nothing_on_the_disk(folder):
    make_files_newer(folder)
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder, *folder.iterdir()) if path.is_file()
    }
    assert find_corrupted(folder) == []
    write_later(folder / "model.safetensors", b"")
    before[folder / "model.safetensors"] = b"", (folder / "model.safetensors").stat().st_mtime_ns
    assert find_corrupted(folder) == [folder / "model.safetensors"]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_copied_folder_is_whole(folder, tmp_path_factory):
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "folder", copy_function=shutil.copyfile)
    assert find_corrupted(copy) == []


def test_missing_file_is_not_corrupted(folder):
    (folder / "model.safetensors").unlink()
    assert find_corrupted(folder) == []


def test_verify_finds_corruption_that_keeps_the_modification_time(folder):
    file = folder / "model.safetensors"
    verify(file)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(bytes(999) + b"\1")
    os.utime(file, ns=times)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged, its checksum has changed; delete it"):
        verify(file)


def test_job_that_is_killed_while_it_writes_leaves_no_checksum_file(folder):
    def killed() -> None:
        with record_checksums("train", folder / "model.safetensors"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not (folder / ".train.sha256").exists()


@pytest.mark.parametrize("content", [b"\xff", b"", b"short\n"])
def test_unreadable_checksum_file_reports_no_corruption(folder, content):
    (folder / ".train.sha256").write_bytes(content)
    assert find_corrupted(folder) == []


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_a_checksum_file(folder):
    assert subprocess.run(["sha256sum", "--check", "--strict", ".train.sha256"], cwd=folder).returncode == 0


@pytest.mark.parametrize(
    "note", [".photos.sha256", ".model.sha256", ".prepare.sha256", ".plot_experiment.sha256", ".train-mine.sha256"]
)
@pytest.mark.parametrize("name", ["photos.zip", "photos.png", "model.safetensors"])
def test_checksum_file_of_the_user_is_neither_read_nor_touched(folder, note, name):
    (folder / note).write_text(f"{'0' * 64}  {name}\n")
    os.utime(folder / note, ns=(0, 0))
    (folder / name).touch()
    make_files_newer(folder)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    assert find_corrupted(folder, remember=True) == []
    verify(folder / name)
    assert (folder / note).stat().st_mtime_ns == 0


@pytest.mark.parametrize(
    "name",
    [
        "figures/learning_curves.png",
        "figures/learning_curves.svg",
        "comparison/accuracy.png",
        "comparison-my_study-2/accuracy.png",
        "results/report-my_study-2.html",
    ],
)
def test_corrupted_figure_or_report_is_found(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir()
    with record_checksums(file.stem, file):
        file.write_bytes(bytes(1000))
    later = file.with_name(f".{file.stem}.sha256").stat().st_mtime_ns + LATER
    file.write_bytes(b"")
    os.utime(file, ns=(later, later))
    assert find_corrupted(file.parent) == [file]


def test_what_a_killed_run_of_the_job_left_is_removed_and_what_other_jobs_write_stays(tmp_path):
    left = [tmp_path / name for name in (".metrics.deepnets-a1b2c3d4.json", "..evaluate.deepnets-a1b2c3d4.sha256")]
    others = [tmp_path / name for name in (".robustness.deepnets-a1b2c3d4.json", ".metrics.deepnets-a1b2c3d4.csv")]
    for file in left + others:
        file.touch()
    with record_checksums("evaluate", tmp_path / "metrics.json"):
        assert [file for file in left + others if file.exists()] == others
        (tmp_path / "metrics.json").touch()
    assert all(file.exists() for file in others)
