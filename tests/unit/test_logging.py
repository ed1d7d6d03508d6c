"""Where log lines go."""

import logging

import pytest

from deepnets.utils.logging import LOG, log_to


@pytest.fixture(autouse=True)
def fresh_log():
    """Log handlers as they were, whatever a test has set."""
    handlers = LOG.handlers
    yield
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers = handlers


def test_log_continues_where_an_interrupted_job_left_it(tmp_path):
    for line in ("first", "second"):
        log_to(tmp_path / "logs/train.log")
        LOG.log(logging.INFO, line)
        LOG.handlers[1].close()
    assert (tmp_path / "logs/train.log").read_text() == "first\nsecond\n"
