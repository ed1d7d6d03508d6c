"""scripts/show_report.py, the last line of `make report`: the report's path and its first sentence."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def show(root, tmp_path):
    """Run the script in `tmp_path`."""
    environ = os.environ | {"PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, root / "scripts/show_report.py"]
    return lambda: subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)


def test_path_and_first_sentence_of_the_report_are_printed_on_one_line(show, experiment, write_report):
    write_report(experiment(accuracy=0.9))
    done = show()
    sentence = "On digits, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %)."
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"results/report.md, results/report.html: {sentence}\n"


def test_missing_report_is_one_plain_line_that_names_the_command_and_exit_code_2(show):
    done = show()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: results/report.md: the file is missing; write it with: make report\n"
