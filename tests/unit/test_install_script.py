"""Tests that need programs of the system: `make` installs these or fails, and never passes without the tests."""

import os
import subprocess
import sys

import pytest

FAKES = {
    "id": "echo 0",
    "dpkg-query": "exit 1",
    "apt-get": 'echo "E: no network for $*"; exit 100',
}


@pytest.fixture
def without_network(tmp_path):
    """The environment of root on a Debian that reaches no other machine."""
    for name, line in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def test_packages_that_cannot_be_installed_are_an_error_with_the_words_of_apt(root, without_network):
    done = subprocess.run([root / "tests/install.sh", "a", "b"], env=without_network, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["E: no network for update", "Could not install a b: see above"]


@pytest.mark.parametrize(("must_run", "code", "word"), [("1", 1, "1 error"), ("", 0, "1 skipped")])
def test_without_chromium_tests_are_skipped_but_those_that_make_asks_for_fail(root, tmp_path, must_run, code, word):
    pytest.importorskip("playwright")
    test = "tests/browser/test_pages.py::test_contents_are_open_where_there_is_room_and_lead_to_the_headings"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PATH": str(tmp_path), "MUST_RUN": must_run}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert (done.returncode, word in done.stdout, "needs Chromium" in done.stdout) == (code, True, True), done.stdout


@pytest.mark.parametrize("folder", ["browser", "cluster"])
def test_make_asks_for_the_tests_of_browser_and_cluster(root, folder):
    text = (root / "Makefile").read_text(encoding="utf-8")
    assert f"\tMUST_RUN=1 $(VENV)/python -m pytest tests/{folder}\n" in text
