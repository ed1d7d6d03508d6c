"""Files and functions stay short enough to be read at once."""

import ast
from pathlib import Path

import pytest

FOLDERS = ("scripts", "benchmarks", "workflow", "tests")
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 51


@pytest.fixture(scope="module")
def files(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]


def test_no_file_is_longer_than_400_lines(root, files):
    files = [*files, *(root / "workflow").rglob("*.smk"), root / "Snakefile"]
    lengths = {path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_longer_than_a_screen(root, files):
    longest = {
        f"{path.relative_to(root)}: {node.name}": node.end_lineno - node.lineno + 1
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(longest) > 2000
    assert {name: length for name, length in longest.items() if length > MOST_LINES_OF_A_FUNCTION} == {}
