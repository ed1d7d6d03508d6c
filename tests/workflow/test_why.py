"""`make why` names each change with its old and new value, at the jobs where it begins."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.persistence import MetadataRecord
from snakemake.persistence.db import DbPersistence
from snakemake.persistence.file import FilePersistence

from deepnets.planning.differences import differences
from deepnets.planning.job import Job
from deepnets.planning.staleness import made_from, open_records, recorded_fingerprint
from deepnets.utils.files import canonical_json

GENTLE = "results/shapes/small/gentle/seed0"


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "scripts/why.py", *arguments], cwd=folder, capture_output=True, text=True)


def why(folder: Path, *arguments: str) -> str:
    done = call(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
def test_nothing_is_stale_in_a_finished_study(finished_study):
    assert why(finished_study) == "study first: nothing is stale\n"


@pytest.mark.slow
def test_changed_setting_is_named_with_both_values(study):
    edit(study / "config.yaml", "small: {lr: 0.1}", "small: {lr: 0.2}")
    reason = "recipe.lr was 0.1, is 0.2"
    assert why(study).splitlines() == [
        f"train: {reason}",
        f"    {GENTLE}/model.safetensors",
        f"evaluate: {reason}",
        f"    {GENTLE}/metrics.json",
        f"plot_experiment: {reason}",
        f"    {GENTLE}/figures/learning_curves.png",
    ]


@pytest.mark.slow
def test_changed_code_is_named_once_for_all_its_jobs(study):
    with open(study / "scripts/deepnets/evaluation/metrics.py", "a") as file:
        file.write("\nNEW = True\n")
    lines = why(study).splitlines()
    assert lines[0] == "evaluate: scripts/deepnets/evaluation/metrics.py changed"
    assert [line.endswith("metrics.json") for line in lines[1:4]] == [True] * 3
    stages = [line for line in lines if not line.startswith(" ")]
    assert len(stages) == len(set(stages))


@pytest.mark.slow
def test_images_that_changed_are_counted_and_named(study):
    images = study / "shapes/train/a|b"
    for number in range(4):
        shutil.copy(images / "0.png", images / f"more{number}.png")
    (images / "3.png").unlink()
    with open(images / "5.png", "ab") as file:
        file.write(b".")
    new = "4 new (train/a|b/more0.png, train/a|b/more1.png, train/a|b/more2.png and 1 more)"
    line = f"download: images: {new}, 1 gone (train/a|b/3.png), 1 changed (train/a|b/5.png)\n"
    assert why(study).startswith(line)
    again = "the data are rebuilt, and then all that was made from them: 3 training runs, their evaluations, figures"
    assert f"\n{again} and the report; " in why(study)
    assert "to keep these results, undo the change, and give new images a folder and a dataset of" in why(study)
    shutil.rmtree(study / ".snakemake")  # without records, the files say it
    assert why(study).startswith(line)


def test_finished_training_runs_on_new_data_are_counted_with_those_that_start_from_them(tmp_path):
    start = "shapes/small/brief/seed0"
    trained = [
        SimpleNamespace(dataset=dataset, directory=f"results/{name}", spec={"weights": weights})
        for dataset, name, weights in [
            ("shapes", start, {}),
            ("shapes", "shapes/small/brief/seed1", {}),  # not finished
            ("digits", "digits/small/brief/seed0", {"experiment": start}),
            ("digits", "digits/small/brief/seed1", {}),
        ]
    ]
    for each in (trained[0], *trained[2:]):
        (tmp_path / each.directory).mkdir(parents=True)
        (tmp_path / each.directory / "model.safetensors").touch()
    jobs = SimpleNamespace(root=tmp_path, trained=trained)
    assert made_from(jobs, [Job("download", {"dataset": "shapes"}), Job("prepare", {"dataset": "shapes"})]) == 2
    assert made_from(jobs, [Job("audit", {"dataset": "shapes"}), Job("report", {"suffix": ""})]) == 0


@pytest.mark.slow
def test_missing_file_and_one_never_made_are_distinguished(study):
    (study / GENTLE / "metrics.json").unlink()
    edit(study / "config.yaml", "recipe: gentle, seeds: [0]", "recipe: gentle, seeds: [0, 1]")
    output = why(study)
    assert f"evaluate: missing: {GENTLE}/metrics.json\n" in output
    assert "train: missing: not made yet\n    results/shapes/small/gentle/seed1/model.safetensors\n" in output


@pytest.mark.slow
def test_other_version_of_a_network_s_library_is_reported_too(study):
    edit(study / "config.yaml", "{architecture: small_cnn}", "{architecture: timm/resnet10t}")
    timing = json.loads((study / GENTLE / "timing.json").read_text())
    timing["versions"]["timm"] = "0.9.0"
    (study / GENTLE / "timing.json").write_text(json.dumps(timing))
    assert "1 trained with timm 0.9.0, here is" in why(study)


@pytest.mark.slow
def test_other_version_of_torch_is_reported_with_the_way_to_retrain(study):
    for experiment in (GENTLE, "results/shapes/small/brief/seed0"):
        timing = json.loads((study / experiment / "timing.json").read_text())
        timing["versions"]["torch"] = "2.0.0"
        (study / experiment / "timing.json").write_text(json.dumps(timing))
    assert "2 trained with torch 2.0.0, here is" in why(study)
    assert why(study).endswith("--forcerun train\n")
    for second in (["--study", "second"], ["--config", "study=second"]):
        assert why(study, *second).endswith("--forcerun train --config study=second\n")


@pytest.mark.slow
def test_results_may_be_in_another_folder(study):
    (study / "elsewhere").mkdir()
    for folder in ("data", "results"):
        (study / folder).rename(study / "elsewhere" / folder)
    assert why(study, "--root", "elsewhere") == "study first: nothing is stale\n"
    (study / "elsewhere" / GENTLE / "metrics.json").unlink()
    assert why(study, "--root", "elsewhere").startswith(f"evaluate: missing: {GENTLE}/metrics.json\n")


@pytest.mark.slow
def test_mistake_in_a_network_of_the_user_is_one_line(study):
    edit(study / "scripts/deepnets/models/small_cnn.py", "import", "import nonsense\nimport")
    done = call(study)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "small_cnn.py" in done.stderr


def test_differences_name_new_and_gone_settings_and_files():
    old = {"code": {"a.py": "1", "b.py": "1"}, "spec": {"recipe": {"lr": 0.1}, "augment": {"cutout": 2}}}
    new = {"code": {"a.py": "2", "c.py": "1"}, "spec": {"recipe": {"lr": 0.1, "clip": None}, "augment": {"cutout": 4}}}
    assert sorted(differences(old, new)) == [
        "a.py changed",
        "augment.cutout was 2, is 4",
        "b.py is no longer used",
        "c.py is new",
        "recipe.clip was not there, is null",
    ]


def test_differences_of_figures_and_the_report_are_words():
    old = {"experiments": ["a", "b"], "specs": ["1", "2"], "models": {"small": 5, "tiny": 6}, "style": {"small": "s"}}
    new = {"experiments": ["b", "c"], "specs": ["2", "3"], "models": {"small": 6}, "style": {"small": "S"}}
    assert differences({"spec": old}, {"spec": new}) == [
        "experiments: 1 new (c), 1 gone (a)",
        "small: another colour",
        "small: another name or look",
    ]


def test_a_dataset_that_left_the_study_or_is_new_is_one_phrase():
    mnist, digits = {"variant_of": None, "note": None}, {"variant_of": None, "note": "drawn by pen"}
    old = {"spec": {"datasets": {"mnist": mnist, "digits": digits}}}
    new = {"spec": {"datasets": {"mnist": mnist | {"note": "small"}, "birds": mnist}}}
    assert sorted(differences(old, new)) == [
        "dataset birds: new",
        "dataset digits: no longer in the study",
        'datasets.mnist.note was null, is "small"',
    ]


@pytest.mark.parametrize("store", ["metadata", "metadata.db"])
def test_fingerprints_are_read_from_either_of_snakemakes_stores(tmp_path, store):
    backend = {"metadata": FilePersistence, "metadata.db": DbPersistence}[store](path=tmp_path)
    job = {"code": {}, "spec": {"lr": 0.1}}
    backend._write_record("results/report.md", MetadataRecord(params=["'text'", repr(canonical_json(job))]))
    (tmp_path / store).touch()
    stores = open_records(tmp_path)
    assert len(stores) == 1
    assert recorded_fingerprint("results/report.md", stores) == job
    assert recorded_fingerprint("results/other.md", stores) is None
    assert open_records(tmp_path / "other") == []
