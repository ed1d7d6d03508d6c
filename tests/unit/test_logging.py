"""Where log lines go."""

import ast
import logging
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from deepnets.planning.job import NAMES
from deepnets.utils.command_line import INTERNAL_ERROR_LINE, run
from deepnets.utils.logging import LOG, log_to

WILDCARDS = {"library": "timm", "network": "a", "dataset": "a", "model": "a", "recipe": "a", "seed": "0"}
WILDCARDS |= {"suffix": "", "figure": "a"}


def test_log_continues_where_an_interrupted_job_left_it(tmp_path):
    for line in ("first", "second"):
        log_to(tmp_path / "logs/train.log")
        LOG.log(logging.INFO, line)
        LOG.handlers[1].close()
    assert (tmp_path / "logs/train.log").read_text() == "first\nsecond\n"


def late_imports(script: Path) -> list[str]:
    """Return the modules that a script imports inside its `main`."""
    nodes = ast.walk(ast.parse(script.read_text()))
    return [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.col_offset]


def log_of_failure(stage: str, folder: Path) -> str:
    """Return the log of a job whose file is damaged."""
    (folder / "job.json").write_text("{")
    options = [NAMES[stage].format(**WILDCARDS), "--job", str(folder / "job.json"), "--log", str(folder / "log")]
    with pytest.raises(SystemExit):
        run(lambda: import_module(stage).main(options))
    return (folder / "log").read_text()


@pytest.mark.parametrize("stage", NAMES)
def test_an_error_before_a_job_starts_its_work_is_in_its_log(root, tmp_path, monkeypatch, stage):
    """`make status` reads the logs; of a job on a node, they are all that is left."""
    for module in late_imports(root / f"scripts/{stage}.py"):
        monkeypatch.setitem(sys.modules, module, MagicMock())
    assert "job.json: damaged, not JSON" in log_of_failure(stage, tmp_path)


@pytest.mark.parametrize("stage", ["train", "evaluate", "summarize", "export", "fetch_weights"])
def test_an_import_that_fails_in_a_job_is_in_its_log(root, tmp_path, monkeypatch, stage):
    for module in late_imports(root / f"scripts/{stage}.py"):
        monkeypatch.setitem(sys.modules, module, None)
    assert INTERNAL_ERROR_LINE in log_of_failure(stage, tmp_path)
