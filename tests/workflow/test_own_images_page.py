"""docs/how-to/own-images.md tells the truth: its configurations are read, and its lines are the real ones."""

import re

import yaml
from PIL import Image

from deepnets.config.loader import load_config
from deepnets.data.download import download
from deepnets.data.prepare import prepare
from deepnets.utils.logging import LOG


def blocks(root) -> dict[str, list[str]]:
    """The blocks of the page, by language."""
    text = (root / "docs/how-to/own-images.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


def test_every_configuration_of_the_page_is_valid(root):
    for example in blocks(root)["yaml"]:
        load_config(root / "config.yaml", yaml.safe_load(example))


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
