"""docs/how-to/networks.md tells the truth: its configuration, its file and its messages are tried."""

import re
import sys

import pytest
import yaml

from deepnets.config.loader import load_config
from deepnets.evaluation.network_summary import summarize
from deepnets.utils.errors import UserError


@pytest.fixture
def page(root, tmp_path, monkeypatch):
    """The blocks of the page, by language; its file of networks is in the working directory."""
    text = (root / "docs/how-to/networks.md").read_text(encoding="utf-8")
    blocks = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        blocks.setdefault(language, []).append(block)
    (tmp_path / "my_models.py").write_text(blocks["python"][0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield blocks
    sys.modules.pop("own_network_my_models", None)


def test_every_network_of_the_page_is_summarized(root, page):
    [example] = map(yaml.safe_load, page["yaml"])
    config = load_config(root / "config.yaml", example)
    digits = config.datasets["digits"]
    for name in example["models"]:
        counted, _ = summarize(config.models[name].spec("digits", digits), digits.input_shape, digits.num_classes)
        assert counted["parameters"] > 1000
    assert {each.partition("/")[0] for each in (model["architecture"] for model in example["models"].values())} == {
        "torchvision",
        "timm",
        "my_models.py:SmallNet",
    }


def test_messages_of_the_page_are_the_real_ones(root, page):
    option, size = (block.strip() for block in page["text"])
    models = {"convnext_atto": {"architecture": "timm/convnext_atto", "drop_path_rat": 0.1}}
    with pytest.raises(UserError) as refusal:
        load_config(root / "config.yaml", {"models": models})
    assert str(refusal.value).rpartition("config.yaml: ")[2] == option.removeprefix("config.yaml: ")
    with pytest.raises(UserError) as refusal:
        summarize({"architecture": "torchvision/alexnet"}, (1, 28, 28), 10)
    assert str(refusal.value) == size
