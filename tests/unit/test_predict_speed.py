"""The benchmark of scripts/predict.py starts, and measures both kinds of files."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow  # five starts of torch
def test_few_pictures_are_measured(root):
    command = [sys.executable, root / "benchmarks/predict_speed.py", "--images", "40", "--size", "16"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^40 (\w+) of 16 px", done.stdout, re.MULTILINE) == ["jpg", "png"]
    assert done.stdout.count("    predict.py: ") == done.stdout.count("    Pillow alone, one process: ") == 2
