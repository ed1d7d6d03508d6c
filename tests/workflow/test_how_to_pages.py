"""The pages of docs/how-to tell the truth: their configurations are valid, and tests run their commands."""

import re
from pathlib import Path

import pytest
from pages import blocks

from deepnets.config import yaml_reader
from deepnets.config.loader import load_config
from deepnets.planning.status import Status
from deepnets.planning.status_lines import status_lines

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/how-to").glob("*.md"))
CONFIGURATIONS = [page.name for page in PAGES if blocks(page, "yaml")]
# Kinds of commands that test_readme.py plans or looks up and tests/e2e/test_by_hand.py runs, and those of one page.
RUN = re.compile(r"(?:\w+=\S+ )*(?:\.venv/bin/)?(?:snakemake|make|python scripts/\w+\.py) ")
RUN_BY_ONE = {
    "export.md": ("python predict.py ",),  # in a bundle: tests/e2e/test_by_hand.py
    "predict.md": ("curl ",),  # tests/unit/test_server.py
    "pretrained-weights.md": ("cp ",),  # test_weights_page.py
}
INSTALLS = "python -m pip install "


@pytest.mark.parametrize("page", CONFIGURATIONS)
def test_every_configuration_is_valid(page, tmp_path, monkeypatch):
    """Files that a page tells the reader to make are there, and packages that it tells them to install."""
    (tmp_path / "my_models.py").write_text("".join(text for _, text in blocks(ROOT / "docs/how-to" / page, "python")))
    (tmp_path / "lite0.pth").touch()
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for _, text in blocks(ROOT / "docs/how-to" / page, "yaml"):
        (tmp_path / "block.yaml").write_text(text)
        changes = yaml_reader.read(tmp_path / "block.yaml").content
        config = load_config(ROOT / "config.yaml", changes)
        for study in changes.get("studies", {}):
            assert config.experiments(study)


def test_every_command_is_of_a_kind_that_a_test_runs():
    for page in PAGES:
        for _, text in blocks(page, "bash"):
            for line in text.splitlines():
                known = RUN.match(f"{line} ") or line.startswith((INSTALLS, *RUN_BY_ONE.get(page.name, ())))
                assert known, f"{page.name}: let a test run it, and list it here: {line}"


def test_every_block_has_a_language():
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(fences[::2]), page.name
        assert not any(fences[1::2]), page.name


def test_status_of_a_study_is_printed_as_the_page_shows_it():
    [(_, text)] = blocks(ROOT / "docs/how-to/watch-and-compare.md", "text")
    first, *rows = text.splitlines()
    found = [re.fullmatch(r"  (\w+) +(\S+) *(.*)", row).groups() for row in rows]
    statuses = [Status(name, state, words) for state, name, words in found]
    assert status_lines("demo", statuses, 360) == [first, *rows]


def test_experiments_on_the_pages_have_models_and_recipes_of_config_yaml():
    config = yaml_reader.read(ROOT / "config.yaml").content
    for page in PAGES:
        for model, recipe in re.findall(r"results/digits/(\w+)/(\w+)[,/]", page.read_text(encoding="utf-8")):
            assert model in config["models"], f"{page.name}: {model}"
            assert recipe in config["recipes"], f"{page.name}: {recipe}"


OTHERS = [ROOT / name for name in ("config/README.md", "docs/configuration.md", "docs/gpus.md", "docs/tutorial.md")]
COMMAND = re.compile(r"(?:^|`)(?:\w+=\S+ )*(?:snakemake|python) [^`]", re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_a_page_says_to_activate_the_environment_before_its_first_command(page):
    """Or it writes `.venv/bin/snakemake`, as the README does."""
    text = page.read_text(encoding="utf-8")
    command = COMMAND.search(text)
    assert command is None or "source .venv/bin/activate" in text[: command.start()]
