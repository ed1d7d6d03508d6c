"""Commands and Python of docs/ run as they stand: scripts by hand in their order, exports, a search, a comparison.

The recipe trains a few steps only. Tests of single pages run other commands; those of whole studies make a plan in
tests/workflow.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from pages import blocks, commands
from PIL import Image

from deepnets.config.loader import load_config
from deepnets.config.yaml_reader import merge, read
from deepnets.utils.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.full]

EXPERIMENT = "results/digits/mobilenet_v2/quick/seed0"
OTHER = "digits/mobilenet_v2/quick,augment.crop_padding=1,lr=0.03/seed0"  # which docs/how-to/sweeps.md trains by hand
PREDICT = "docs/how-to/predict.md"  # whose commands of predict.py tests/unit/test_predictor.py runs
PUBLISHED = "scripts/fetch_weights.py torchvision/resnet18"
ON_A_CLUSTER = "scripts/search.py rates --profile profiles/slurm"  # as tests/cluster does


class Shell:
    """A shell in a folder; `ran` has its lines."""

    def __init__(self, folder: Path):
        self.folder, self.ran = folder, set[str]()

    def __call__(self, line: str, code: int = 0, folder: Path | None = None, **environ: str) -> str:
        """Return what a line prints."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder or self.folder,
            env={**os.environ, **environ},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        assert done.returncode == code, f"{line}\n{done.stdout}"
        self.ran.add(line.removeprefix("python "))
        return done.stdout


@pytest.fixture
def run(root, checkout, tmp_path) -> Shell:
    """A clone with few steps in the recipe, two experiments in each study, and the search of the page, of one trial."""
    folder = checkout(tmp_path / "clone")
    config = read(folder / "config.yaml").content
    quick = config["recipes"]["quick"]
    quick["epochs"] = quick["on"]["digits/mobilenet_v2"]["epochs"] = 0.1
    experiment = {"datasets": ["digits"], "models": ["mobilenet_v2"], "recipe": "quick"}
    config["studies"]["demo"] = [experiment, experiment | {"set": {"lr": 0.03, "augment": {"crop_padding": 1}}}]
    [sweep] = config["studies"]["sweep"]
    sweep |= {"grid": {"lr": [0.03, quick["lr"]]}, "seeds": [0]}
    [(_, search)] = blocks(root / "docs/how-to/search.md", "yaml")
    config = merge(config, yaml.safe_load(search))
    config["searches"]["rates"]["trials"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / ".venv").symlink_to(sys.prefix)
    return Shell(folder)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_commands_and_python_of_the_pages_run(root, run):
    train_by_hand(root, run)
    sweep(root, run)
    predict_and_explain(root, run)
    use_exports(root, run)
    search(root, run)
    compare(root, run)
    scripts = {call for call in commands(root, "python") if call.startswith("scripts/")}
    of_one_page = {f"scripts/predict.py {line}" for line in commands(root, "python scripts/predict.py", [PREDICT])}
    assert scripts - run.ran - of_one_page == {ON_A_CLUSTER}


@pytest.mark.parametrize("page", ["networks.md", "recipes.md", "sweeps.md"])
def test_each_configuration_of_the_page_is_trained(root, checkout, snakemake, tmp_path, monkeypatch, page):
    """Its studies, or of recipes without a study a network each, with one seed and a few steps."""
    folder, file = checkout(tmp_path / "clone"), root / "docs/how-to" / page
    (folder / "my_models.py").write_text("".join(text for _, text in blocks(file, "python")))
    monkeypatch.chdir(folder)
    for _, text in blocks(file, "yaml"):
        (folder / "block.yaml").write_text(text)
        block = read(folder / "block.yaml").content
        pair = {"datasets": ["digits"], "models": ["mobilenet_v2"]}
        studies = block.get("studies", {"recipes": [{**pair, "recipe": name} for name in block.get("recipes", [])]})
        config = merge(read(root / "config.yaml").content, block)
        shorten(config["recipes"].values(), [entry for study in studies.values() for entry in study])
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "studies": studies, "study": min(studies)}))
        experiments = [each for study in studies for each in load_config(folder / "config.yaml").experiments(study)]
        done = snakemake(folder, *(f"{each.directory}/metrics.json" for each in experiments), cores=2)
        assert done.returncode == 0, done.stdout


def shorten(recipes: Iterable[dict], entries: Iterable[dict]) -> None:
    """Let all recipes train a few steps, and entries of studies one seed each, in place."""
    for recipe in recipes:
        recipe["epochs"] = 0.05
        for values in recipe.get("on", {}).values():
            values.pop("epochs", None)
    for entry in entries:
        entry["seeds"] = [0]
        entry.get("set", {}).pop("epochs", None)


def train_by_hand(root: Path, run: Shell) -> None:
    """The scripts of docs/how-to/run.md: those of its block, then those of the study, which the text names."""
    page = root / "docs/how-to/run.md"
    section = page.read_text(encoding="utf-8").partition("## By hand\n")[2].partition("\n## ")[0]
    [block] = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        if line.endswith(PUBLISHED):
            refuse_other_weights(root, run, line)
        else:
            run(line)
    for stage in ("train", "evaluate"):
        run(f"python scripts/{stage}.py {OTHER}")
    for line in re.findall(r"`(python scripts/\S+ [^`]+)`", section):
        run(line)
    assert len(read_json(run.folder / "results/digits/comparison/statistics.json")["candidates"]) == 2
    assert "quick, augment.crop_padding 1, lr 0.03" in (run.folder / "results/report.md").read_text(encoding="utf-8")


def sweep(root: Path, run: Shell) -> None:
    """One experiment by its path, then the study with it and one that was trained by hand."""
    by_path, study = commands(root, "snakemake", ["docs/how-to/sweeps.md"])
    run(f"snakemake {by_path}")
    assert read_json(run.folder / by_path.split()[-1])["spec"]["recipe"]["lr"] == 0.03
    assert "Train mobilenet_v2" not in run(f"snakemake {study}")
    assert "quick, lr 0.03" in (run.folder / "results/report.md").read_text(encoding="utf-8")


def refuse_other_weights(root: Path, run: Shell, line: str) -> None:
    """Fetch what the page on weights names from a mirror, where there is something else: nobody has the real file."""
    page = (root / "docs/how-to/pretrained-weights.md").read_text(encoding="utf-8")
    [name] = set(re.findall(r"`(torchvision/resnet18-\w+\.pth)`", page))
    file = run.folder.parent / "mirror" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other weights")
    assert f"{file.name}: wrong hash" in run(line, code=2, DEEPNETS_MIRROR=str(run.folder.parent / "mirror"))


def predict_and_explain(root: Path, run: Shell) -> None:
    """Of one picture, folders and an archive, as README.md and docs/how-to/predict.md do."""
    draw(run.folder, "photo.png", "a.png", "pictures/1.jpg", "folder/2.png", "packed/3.png")
    shutil.make_archive(str(run.folder / "more"), "zip", run.folder / "packed")
    [line] = commands(root, "python scripts/predict.py", ["README.md"])
    rows = run(f"python scripts/predict.py {line}").splitlines()
    assert [row.partition(",")[0] for row in rows[-4:]] == ["file", "photo.png", "folder/2.png", "more.zip/3.png"]
    for line in commands(root, "python scripts/explain.py"):
        run(f"python scripts/explain.py {line}")
    explained = {file.name for file in (run.folder / "explained").rglob("*.png")}
    assert explained == {f"{name}.grad-cam.png" for name in ("photo", "a", "1")}


def use_exports(root: Path, run: Shell) -> None:
    """Python of docs/how-to/export.md next to the exported files; the example and the card's Python in the bundle."""
    page, experiment = root / "docs/how-to/export.md", run.folder / EXPERIMENT
    with ZipFile(experiment / "bundle.zip") as bundle:
        bundle.extractall(run.folder / "unpacked")
    [inside] = (run.folder / "unpacked").iterdir()
    shutil.copy(inside / "predict.py", experiment)
    draw(experiment, "photo.png")
    for _, text in blocks(page, "python"):
        (experiment / "block.py").write_text(text)
        run("python block.py", folder=experiment)
    draw(inside, "photo.png", "more/1.jpg", "more/2.jpg")
    [line] = commands(root, "python predict.py", ["docs/how-to/export.md"])
    assert len(run(f"python predict.py {line}", folder=inside).splitlines()) == 4  # with a heading
    [(_, text)] = blocks(inside / "MODEL_CARD.md", "python")
    (inside / "block.py").write_text(text)
    assert run("python block.py", folder=inside).count("0.") == 3  # the three best classes


def search(root: Path, run: Shell) -> None:
    """One trial, first with a quarter of its epochs, its state, and its report."""
    page = root / "docs/how-to/search.md"
    [line] = [line for _, text in blocks(page, "bash") for line in text.splitlines() if line.startswith("make search")]
    assert "rates: the best is trial 1" in run(installed(line))
    [trial] = read_json(run.folder / "results/search-rates.json")["trials"]
    assert trial["state"] == "done"
    [status] = re.findall(r"`(scripts/status\.py [^`]+)`", page.read_text(encoding="utf-8"))
    assert "study rates: 1 experiment: " in run(f"python {status}")
    _, report = commands(root, "snakemake", ["docs/how-to/search.md"])
    assert report.endswith(" results/report.md --configfile results/search-rates.yaml")
    run(f"snakemake {report}")
    [_heading, row] = (run.folder / "results/metrics.csv").read_text(encoding="utf-8").splitlines()
    assert row.startswith('digits,mobilenet_v2,"quick,')
    (run.folder / "birds.yaml").write_text(yaml.safe_dump({"searches": {"rates": {"trials": 2}}}))
    [own_file] = [text for _, text in blocks(page, "bash") if "birds.yaml" in text]
    with_search, with_report = own_file.splitlines()
    assert with_report.partition(" --configfile ")[2] in run(with_search).splitlines()[-1]
    assert len(read_json(run.folder / "results/search-rates.json")["trials"]) == 2


def compare(root: Path, run: Shell) -> None:
    """The study with what the page calls old results; those of a revision are in tests/unit/test_compare_states.py."""
    shutil.copytree(run.folder / "results", run.folder / "old/results")
    first, *_ = blocks(root / "docs/how-to/watch-and-compare.md", "bash")[-1][1].splitlines()
    assert "# From <code>old/results</code> to <code>results</code>" in run(installed(first))


def installed(line: str) -> str:
    """A line of make in an environment that is up to date."""
    assert line.startswith("make ")
    return line.replace("make ", "make --assume-old .venv/.installed ", 1)


def draw(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(256, size=(24, 20), dtype=np.uint8)).save(folder / name)
