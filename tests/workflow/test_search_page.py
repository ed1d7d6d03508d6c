"""docs/how-to/search.md tells the truth: its configuration is valid, and its table has every key."""

import re

import yaml

from deepnets.config.loader import load_config
from deepnets.config.search import Search


def test_configuration_of_the_page_is_valid_and_its_table_has_every_key(root):
    text = (root / "docs/how-to/search.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    config = load_config(root / "config.yaml", yaml.safe_load(example))
    assert list(config.searches) == ["rates"]
    table = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    keys = {key for cell in table for key in re.findall(r"`(\w+)`", cell)}
    assert keys == set(Search.model_fields)
