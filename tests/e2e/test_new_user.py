"""A new user's first study: README.md's example, with the user's pictures, network and weights, up to the report."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pages import blocks
from PIL import Image, ImageDraw

from deepnets.config.loader import load_config
from deepnets.utils.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.full]

NETWORK = "timm/starnet_s050"  # which is named nowhere else in this project
# As in a program of the user's, which knows other classes and nothing of this project.
OWN_TRAINING = """
import sys, torch
from my_models import SmallNet

torch.save(SmallNet(num_classes=5, in_channels=3).state_dict(), sys.argv[1])
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_example_of_the_readme_leads_from_own_pictures_networks_and_weights_to_a_report(
    root, checkout, tmp_path, monkeypatch
):
    folder = checkout(tmp_path / "deeper-networks")
    draw_birds(folder / "birds")
    [(_, example)] = blocks(root / "README.md", "yaml")
    example, changed = re.subn(r"{architecture: timm/[^}]+}", f"{{architecture: {NETWORK}}}", example)
    assert changed == 1
    example, changed = re.subn(r"(models: \[mine\].* seeds: )\[.*?\]", r"\1[0]", example)  # for the test's time
    assert changed == 1
    models = yaml.safe_load(example)["models"]
    [network] = [name for name, options in models.items() if options["architecture"] == NETWORK]
    config = with_example((folder / "config.yaml").read_text(encoding="utf-8"), example)
    config = re.sub(r"^(    epochs:) [\d.]+", r"\1 1", config, flags=re.MULTILINE)  # a step, as there are few pictures
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "my_models.py").write_text(blocks(root / "docs/how-to/networks.md", "python")[0][1])
    subprocess.run([sys.executable, "-c", OWN_TRAINING, models["mine"]["weights"]], cwd=folder, check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    command = ["make", "--assume-old", ".venv/.installed", "report", "CORES=2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^results/report\.md, results/report\.html: On birds, ", done.stdout, re.MULTILINE)

    monkeypatch.chdir(folder)
    experiments = load_config("config.yaml").experiments()
    swept = {(each.recipe, each.seed) for each in experiments if each.model == network}
    assert len(swept) == 9  # three values, three seeds
    rows = read_rows(Path("results/metrics.csv"))
    assert sorted(map(names, rows)) == sorted((each.model, each.recipe, str(each.seed)) for each in experiments)
    report = Path("results/report.md").read_text(encoding="utf-8")
    assert all(f"quick, lr {value}" in report for value in {recipe.partition("=")[2] for recipe, _ in swept} - {""})
    assert f"<code>{models['mine']['weights']}</code>" in report
    of_mine = next(each for each in experiments if each.model == "mine")
    started = read_json(Path(of_mine.directory, "metrics.json"))["started_from"]
    assert started["replaced"] == ["9.weight", "9.bias"]


def draw_birds(folder: Path) -> None:
    """Draw 15 pictures of each of two classes, in sizes as they come from cameras, small."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("owl", "wren")):
        (folder / name).mkdir(parents=True)
        for number in range(15):
            width, height = map(int, rng.integers(40, 64, size=2))
            picture = Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8))
            left, top = map(int, rng.integers(2, 12, size=2))
            box = (left, top, left + 20, top + 20)
            pencil = ImageDraw.Draw(picture)
            (pencil.ellipse if label else pencil.rectangle)(box, fill=tuple(map(int, rng.integers(256, size=3))))
            picture.save(folder / name / f"{number}.jpg")


def with_example(config: str, example: str) -> str:
    """Change `study:`, and add the other lines below the keys that they belong to, as the README says."""
    for key, value, lines in re.findall(r"^(\w+):(.*)\n((?: .*\n)*)", example, re.MULTILINE):
        old, new = (f"\n{key}:\n", f"\n{key}:\n{lines}") if lines else (rf"\n{key}: .*\n", f"\n{key}:{value}\n")
        config, changed = re.subn(old, lambda _, new=new: new, config, count=1)
        assert changed, key
    return config


def read_rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def names(row: dict[str, str]) -> tuple[str, str, str]:
    return row["model"], row["recipe"], row["seed"]
