"""How a script ends: a line for what the user can mend, a traceback for a defect."""

import errno
import logging
import os
import subprocess
import sys

import pytest
import torch

from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.failures import is_failed_compilation
from deepnets.utils.logging import LOG, log_to


@pytest.fixture(autouse=True)
def fresh_log():
    """Log handlers as they were, whatever a test has set."""
    handlers = LOG.handlers
    yield
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = handlers


def end(error):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run(main)
    return end.value.code


def test_user_error_is_its_own_words_and_exit_code_2(caplog):
    assert end(UserError("a.json: damaged; delete it.")) == 2
    assert caplog.messages == ["error: a.json: damaged; delete it."]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_full_disk_and_forbidden_folder_are_a_line_that_names_the_file(caplog, number):
    assert end(OSError(number, "cannot", "results/x.csv")) == 2
    assert caplog.messages[0].startswith("error: results/x.csv: cannot; free some space")
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.11 PiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_out_of_memory_is_a_line_with_the_way_out(caplog, error):
    assert end(error) == 2
    assert caplog.messages[0].startswith("error: out of memory; ")
    assert "run less side by side (--cores)" in caplog.messages[0]
    assert caplog.records[0].exc_info is None


def test_torchs_own_words_are_known_as_out_of_memory(caplog):
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(10**15)
    assert end(refusal.value) == 2


def test_defect_keeps_its_traceback_and_exit_code_1(caplog):
    assert end(KeyError("oops")) == 1
    assert caplog.records[0].exc_info[0] is KeyError


def test_log_goes_on_where_an_interrupted_job_left_it(tmp_path):
    for line in ("first", "second"):
        log_to(tmp_path / "logs/train.log")
        LOG.log(logging.INFO, line)
        LOG.handlers[1].close()
    assert (tmp_path / "logs/train.log").read_text() == "first\nsecond\n"


COMPILE = """
import torch
from deepnets.utils.failures import is_failed_compilation
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


def test_other_errors_of_torch_are_no_failed_compilation():
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_failed_compilation(caught.value)
