"""docs/how-to/own-images.md tells the truth: its configurations are read, and its lines are the real ones."""

import itertools
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from deepnets.config.loader import load_config
from deepnets.data.download import download
from deepnets.data.label_table import USUAL_NAMES
from deepnets.data.prepare import prepare
from deepnets.utils.files import read_json
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


def write_images(names) -> list[str]:
    for number, name in enumerate(listed := list(names)):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(name)
    return listed


def write_what_the_page_names(table: str) -> None:
    """Write the folders, archives and tables of the page into this folder; `table` is the one that it shows."""
    shots = [f"{label}/{number}.png" for label in ("owl", "wren") for number in range(10)]
    write_images(f"birds/{shot}" for shot in shots)
    with zipfile.ZipFile("birds.zip", "w") as packed:
        for kind, shot in itertools.product(range(12), range(3)):
            packed.write("birds/owl/0.png", f"bird{kind}/{shot}.png")
    people = itertools.product(("ill", "healthy"), range(9), range(2))
    scans = [f"{label}/patient{patient}_{shot}.png" for label, patient, shot in people]
    write_images(f"scans/{scan}" for scan in scans)
    by_patient = [f"{scan},{scan.split('/')[0]},{re.search('patient[0-9]', scan)[0]}" for scan in scans]
    Path("scans.csv").write_text("\n".join(["path,diagnosis,patient", *by_patient]))
    heading, *rows = table.splitlines()
    rows += [row.replace("/", "/more") for row in rows]  # a class needs two images
    write_images(row.partition(",")[0] for row in rows)
    Path("labels.csv").write_text("\n".join([heading, *rows]))


@pytest.mark.parametrize("index", range(7))
def test_every_dataset_on_the_page_is_checked_downloaded_and_prepared(root, tmp_path, monkeypatch, index):
    monkeypatch.chdir(tmp_path)
    page = blocks(root)
    assert len(page["yaml"]) == 7
    write_what_the_page_names(page["csv"][0])
    changes = yaml.safe_load(page["yaml"][index])
    (name,) = changes["datasets"]
    options = load_config(root / "config.yaml", changes).datasets[name]
    options.check_files(name, tmp_path)
    assert options.local_state(name)
    download(name, options.raw_spec(), None, tmp_path / "data/raw.json")
    prepare(name, options.prepared_spec(), tmp_path / "data/raw.json", tmp_path / "data/dataset.json")
    info = read_json(tmp_path / "data/dataset.json")
    kind = changes["datasets"][name]["path"]
    images = {"birds": 20, "birds.zip": 36, "scans": 36, "scans.csv": 36, "labels.csv": 4}[kind]
    assert sum(info["splits"].values()) == images
    assert len(info["classes"]) == (12 if kind == "birds.zip" else 2)
    if options.folds:
        assert info["folds"]["sizes"] == [images // options.folds] * options.folds
    if name == "scans":
        tested, others = set(info["test_files"]), info["raw"].keys() - {*info["test_files"], "../scans.csv"}
        patients = [{re.search("patient[0-9]", file)[0] for file in files} for files in (tested, others)]
        assert all(patients)
        assert not patients[0] & patients[1]


@pytest.mark.slow
@pytest.mark.full
def test_each_study_of_the_page_is_trained(root, checkout, snakemake, tmp_path, monkeypatch):
    """The first one whole, by the page's command; of that with folds, one network, tested on the first fold."""
    folder = checkout(tmp_path / "clone")
    monkeypatch.chdir(folder)
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    config = re.sub(r"^(    epochs:) [\d.]+", r"\1 1", config, flags=re.MULTILINE)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    page = blocks(root)
    write_what_the_page_names(page["csv"][0])
    birds, folds = (text for text in page["yaml"] if "\nstudies:" in text)
    for text, target in (
        (birds, "results/report.md"),
        (folds, "results/birds/mobilenet_v2/quick/seed0/metrics.json"),
    ):
        Path("birds.yaml").write_text(text)
        done = snakemake(folder, target, "--configfile", "birds.yaml", cores=2)
        assert done.returncode == 0, done.stdout
        metrics = read_json(folder / "results/birds/mobilenet_v2/quick/seed0/metrics.json")
        assert metrics["test"]["n"] == 4  # of 20 images, `test: 0.2` or a fold of five
        assert metrics["spec"]["dataset"].get("fold") == (0 if text == folds else None)
        if text == birds:
            status = [sys.executable, "scripts/status.py", "--configfile", "birds.yaml"]
            assert "study birds: 6 experiments: 6 done" in subprocess.run(status, capture_output=True, text=True).stdout


def test_page_has_the_usual_names_of_columns(root):
    text = (root / "docs/how-to/own-images.md").read_text(encoding="utf-8")
    for names in USUAL_NAMES.values():
        listed = f"{', '.join(names[:-1])} or {names[-1]}"
        assert f"| {listed} |" in text or f"| {listed};" in text
