"""A call of scripts/predict.py in this process."""

import csv
import io

import pytest

import predict


def predict_rows(
    capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0, threads: int = 1
) -> tuple[list[dict], list[str]]:
    """Return the rows that it prints on standard output, and its lines on standard error."""
    capfd.readouterr()
    try:
        predict.main([*map(str, arguments), "--gpus", "0", "--threads", str(threads)])
        ended: object = 0
    except SystemExit as end:
        ended = end.code
    printed = capfd.readouterr()
    assert ended == code, printed.err
    return list(csv.DictReader(io.StringIO(printed.out))), printed.err.splitlines()
