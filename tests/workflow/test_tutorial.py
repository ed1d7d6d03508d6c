"""docs/tutorial.md tells the truth: it is followed step by step."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import blocks

from deepnets.config import yaml_reader

# `.venv` is this Python; nothing is to be installed into it.
PROGRAMS = {"make": ["make", "--assume-old", ".venv/.installed"], "python": [sys.executable]}


def run(folder: Path, line: str) -> str:
    """Run a command line of the page; return what it prints."""
    program, *arguments = shlex.split(line)
    done = subprocess.run(
        [*PROGRAMS[program], *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return done.stdout


def change(folder: Path, text: str) -> None:
    """Change config.yaml as a block of the page says; its reader reads `on:` as text."""
    (folder / "block.yaml").write_text(text)
    changes, config = (yaml_reader.read(folder / name).content for name in ("block.yaml", "config.yaml"))
    (folder / "config.yaml").write_text(yaml.safe_dump(yaml_reader.merge(config, changes)))


def pattern(line: str) -> str:
    """What a line of the page stands for; `...` is any text."""
    return re.escape(line).replace(re.escape("..."), ".*")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_page_runs_from_top_to_bottom_and_prints_what_it_shows(root, checkout, tmp_path):
    folder, page = checkout(tmp_path / "study"), root / "docs/tutorial.md"
    (folder / ".venv").symlink_to(sys.prefix)
    change(folder, "recipes: {quick: {epochs: 1}}")  # instead of 10: seconds, and nothing on the page depends on it
    printed, shown = "", 0
    for language, text in blocks(page, "python", "bash", "yaml", "text"):
        if language == "python":
            (folder / "draw.py").write_text(text)
        elif language == "yaml":
            change(folder, text)
        elif language == "bash":
            printed = "".join(run(folder, line) for line in text.splitlines())
        else:
            for line in text.splitlines():
                assert re.search(pattern(line), printed), f"{line}\nis not in\n{printed}"
                shown += 1
    assert shown > 10
    report = (folder / "results/report.md").read_text(encoding="utf-8")
    sections = re.findall(r"^\| ([A-Z]\w+.*?) \|.* \|.* \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(sections) == 9
    for section in sections:
        assert re.search(rf"^#+ {section}$", report, re.MULTILINE), section


def test_three_lines_are_enough_as_the_models_and_the_recipe_are_in_config_yaml(root):
    config = yaml_reader.read(root / "config.yaml").content
    first, second = (yaml.load(text, yaml.BaseLoader) for _, text in blocks(root / "docs/tutorial.md", "yaml"))
    [entry] = first["studies"]["shapes"]
    assert set(entry["models"]) <= set(config["models"])
    recipe = config["recipes"][entry["recipe"]]
    assert recipe["epochs"] == 10
    assert recipe["lr"] == 0.05
    assert set(second["recipes"]["quick"]["on"]) <= set(entry["models"])
