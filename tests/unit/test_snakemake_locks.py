"""A run of Snakemake that starts as another ends loses the folder of locks, and continues."""

import shutil

import pytest
from snakemake.persistence.file import FilePersistence

from deepnets.planning import snakemake_locks
from deepnets.planning.snakemake_locks import LOCKS, survive_other_ends


@pytest.fixture
def persistence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snakemake_locks, "PAUSE_SECONDS", 0)
    return FilePersistence()


def test_locks_are_written_where_their_folder_has_gone(persistence):
    survive_other_ends(persistence)
    shutil.rmtree(LOCKS)
    persistence._write_locks("output", (name for name in ["results/report.md"]))
    assert list(persistence._read_locks()) == [("output", "results/report.md")]


def test_a_lock_that_goes_while_it_is_read_is_no_lock(persistence):
    calls = []

    def read_locks():
        calls.append(None)
        if len(calls) == 1:
            yield "output", "results/report.md"
            raise FileNotFoundError("0.output.lock")

    persistence._read_locks = read_locks
    survive_other_ends(persistence)
    assert persistence._read_locks() == []


def test_an_error_that_stays_is_raised(persistence):
    def delete_locks():
        raise PermissionError("locks")

    persistence._delete_locks = delete_locks
    survive_other_ends(persistence)
    with pytest.raises(PermissionError):
        persistence._delete_locks()
