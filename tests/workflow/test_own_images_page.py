"""docs/how-to/own-images.md tells the truth: its configurations are read, and its lines are the real ones."""

import re

import yaml
from PIL import Image

from deepnets.config.loader import load_config
from deepnets.data.download import download
from deepnets.data.label_table import USUAL_NAMES
from deepnets.data.prepare import prepare
from deepnets.utils.logging import LOG


def blocks(root) -> dict[str, list[str]]:
    """The blocks of the page, by language."""
    text = (root / "docs/how-to/own-images.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


def test_choices_on_the_page_are_printed(root, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    for name, count in (("owl", 20), ("wren", 10)):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (300, 200) if index % 4 else (500, 400)).save(tmp_path / "birds" / name / f"{index}.png")
    page = blocks(root)
    options = load_config(root / "config.yaml", yaml.safe_load(page["yaml"][0])).datasets["birds"]
    download("birds", options.raw_spec(), None, tmp_path / "raw.json")
    with caplog.at_level("INFO", LOG.name):
        prepare("birds", options.prepared_spec(), tmp_path / "raw.json", tmp_path / "dataset.json")
    for line in page["text"][0].splitlines():
        assert line in caplog.messages


def test_table_of_the_page_is_read(root, tmp_path, monkeypatch):
    """Its two rows are repeated, as a class needs two images."""
    monkeypatch.chdir(tmp_path)
    page = blocks(root)
    heading, *rows = page["csv"][0].splitlines()
    rows += [row.replace("/", "/more") for row in rows]
    (tmp_path / "labels.csv").write_text("\n".join([heading, *rows]))
    (tmp_path / "pictures").mkdir()
    for row in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / row.partition(",")[0])
    (example,) = [block for block in page["yaml"] if "labels.csv" in block]
    options = load_config(root / "config.yaml", yaml.safe_load(example)).datasets["birds"]
    options.check_files("birds", tmp_path)
    assert options.local_state("birds")


def test_page_has_the_usual_names_of_columns(root):
    text = (root / "docs/how-to/own-images.md").read_text(encoding="utf-8")
    for names in USUAL_NAMES.values():
        listed = f"{', '.join(names[:-1])} or {names[-1]}"
        assert f"| {listed} |" in text or f"| {listed};" in text
