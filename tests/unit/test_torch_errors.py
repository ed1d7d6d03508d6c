"""Failures that torch reports only by its texts and modules."""

import os
import subprocess
import sys

import pytest
import torch

from deepnets.utils.torch_errors import is_failed_compilation

COMPILE = """
import torch
from deepnets.utils.torch_errors import is_failed_compilation
network = torch.compile(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()))
try:
    network(torch.ones(2, 4))
except Exception as error:
    print(is_failed_compilation(error))
"""


def test_missing_compiler_is_a_failed_compilation(root, tmp_path):
    own = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", COMPILE]
    assert subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, text=True).stdout == "True\n"


def test_other_errors_of_torch_are_not_a_failed_compilation():
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_failed_compilation(caught.value)
