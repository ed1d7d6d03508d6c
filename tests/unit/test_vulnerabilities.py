"""How `make lint` reports the known vulnerabilities of the pinned packages."""

import json
import subprocess

import pytest

import vulnerabilities
from deepnets.utils.errors import UserError

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "own", "skip_reason": "not found"}
HOLES = [{"id": "CVE-2026-1", "fix_versions": ["13.0.1", "14.0.0"]}, {"id": "CVE-2026-2", "fix_versions": []}]


@pytest.fixture
def answer(monkeypatch):
    """Have pip-audit answer with a given text."""

    def answers(stdout: str, stderr: str = "") -> None:
        done = subprocess.CompletedProcess([], 1, stdout, stderr)
        monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: done)

    return answers


def test_every_vulnerability_is_a_line_that_says_what_to_do(answer):
    answer(json.dumps({"dependencies": [CLEAN, {"name": "pillow", "version": "13.0.0", "vulns": HOLES}, UNKNOWN]}))
    with pytest.raises(UserError) as error:
        vulnerabilities.main([])
    assert str(error.value).splitlines() == [
        "requirements.txt: pillow 13.0.0: CVE-2026-1; raise it to 13.0.1 or 14.0.0 in pyproject.toml, then"
        " make requirements",
        "requirements.txt: pillow 13.0.0: CVE-2026-2; no version fixes it",
    ]


def test_packages_that_could_not_be_looked_up_are_counted(answer, capsys):
    answer(json.dumps({"dependencies": [CLEAN, UNKNOWN]}))
    vulnerabilities.main([])
    assert capsys.readouterr().out == "requirements.txt: 1 of 2 packages looked up, no known vulnerability\n"


@pytest.mark.parametrize("stdout", ["", "[]", "{}"])
def test_missing_network_is_reported_and_is_not_an_error(answer, capsys, stdout):
    answer(stdout, "Traceback\nConnectionError: no route\n")
    vulnerabilities.main([])
    assert capsys.readouterr().out == "requirements.txt: not audited (ConnectionError: no route)\n"
