"""Finished files say by which settings and from which images they were made, and planning compares them."""

import json
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

import plot_experiment
from deepnets import models
from deepnets.config.loader import load_config
from deepnets.figures.style import save
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.planning.made_by import differing
from deepnets.utils import paths
from deepnets.utils.files import read_json, write_json
from deepnets.utils.specs import UNKNOWN, read_head, settings_sha256
from deepnets.utils.tensors import save_tensors

EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}
DOWNLOAD, PREPARE = (Job(stage, {"dataset": "digits"}) for stage in ("download", "prepare"))
SUMMARIZE = Job("summarize", {"dataset": "digits", "model": "resnet50"})
FIGURE = Job("plot_experiment", EXPERIMENT)
COMPARISON = Job("plot_comparison", {"dataset": "digits", "figure": "accuracy", "suffix": ""})
ARRAYS = {"train_labels.npy": {"sha256": "1"}}


@pytest.fixture
def jobs(root, tmp_path) -> Jobs:
    """Return the jobs of the repository's config.yaml, whose files are below tmp_path."""
    return Jobs(load_config(root / "config.yaml"), root, tmp_path)


def with_config(jobs: Jobs, **changes: dict) -> Jobs:
    return Jobs(jobs.config.model_copy(update=changes), jobs.code_root, jobs.root)


@pytest.mark.parametrize("job", [DOWNLOAD, PREPARE, SUMMARIZE], ids=lambda job: job.stage)
def test_a_file_of_version_0_1_0_without_a_spec_is_rebuilt(jobs, job):
    file = jobs.root / job.outputs[0]
    assert differing(job, jobs) == []  # missing
    settings = jobs.settings(job.stage, job.wildcards)
    write_json(file, settings)
    assert differing(job, jobs) == []
    del settings["spec"]
    write_json(file, {**settings, "input_shape": [1, 32, 32]})
    assert differing(job, jobs) == [UNKNOWN]


def test_a_figure_has_the_hash_of_its_settings(jobs, experiment):
    experiment()
    write_json(jobs.root / "job.json", json.loads(jobs.fingerprint(FIGURE.stage, FIGURE.wildcards)))
    options = ["--job", str(jobs.root / "job.json"), "--root", str(jobs.root)]
    plot_experiment.main(["digits/resnet50/quick/seed0", *options])
    assert differing(FIGURE, jobs) == []
    for picture in ("learning_curves", "confusion_matrix"):
        file = jobs.root / f"results/digits/resnet50/quick/seed0/figures/{picture}.png"
        content = file.read_bytes()
        save(Figure(), file)  # of an older version
        assert differing(FIGURE, jobs) == [UNKNOWN]
        file.write_bytes(content)
    assert differing(FIGURE, jobs) == []


def test_a_figure_of_other_settings_is_drawn_again(jobs, monkeypatch):
    for job in (FIGURE, COMPARISON):
        file = jobs.root / job.outputs[0]
        save(Figure(), file, settings_sha256(jobs.settings(job.stage, job.wildcards)))
        assert differing(job, jobs) == []
    resnet50 = models.architecture("resnet50")
    monkeypatch.setattr(resnet50, "ABOUT", replace(resnet50.ABOUT, color="#000000"))
    changed = ["what the figure shows, or how, changed"]
    assert differing(FIGURE, jobs) == differing(COMPARISON, jobs) == changed
    monkeypatch.undo()
    variant = jobs.config.datasets["digits"].model_copy(update={"variant_of": "mnist"})
    variants = with_config(jobs, datasets={**jobs.config.datasets, "digits": variant})
    assert (differing(FIGURE, variants), differing(COMPARISON, variants)) == ([], changed)


def test_the_texts_of_a_figure_are_read_without_its_pixels(tmp_path):
    file = tmp_path / "accuracy.png"
    save(Figure(), file, "12")
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"IDAT") + 4])
    assert read_head(file, "settings_sha256", "none") == {"settings_sha256": "12"}
    file.write_bytes(content[:20])
    assert read_head(file, "settings_sha256") == {}


@pytest.mark.parametrize("stage", ["train", "evaluate", "robustness"])
def test_a_result_of_other_arrays_is_rebuilt(jobs, stage):
    job, dataset_info = Job(stage, EXPERIMENT), jobs.root / PREPARE.outputs[0]
    write_json(dataset_info, {"spec": {}, "arrays": ARRAYS, "classes": ["0", "1"]})

    def made_from(**images: object) -> list[str]:
        content = {**jobs.settings(stage, EXPERIMENT), **images}
        write = write_json if stage != "train" else lambda file, keys: save_tensors(file, {"x": torch.ones(1)}, keys)
        write(jobs.root / job.outputs[0], content)
        return differing(job, jobs)

    other = ["data/digits/dataset.json is of other images"]
    assert made_from() == []  # of a version that did not write it: Snakemake compares the times
    assert made_from(arrays=ARRAYS, validation_rows=None) == []
    assert made_from(arrays={"train_labels.npy": {"sha256": "2"}}, validation_rows=None) == other
    assert made_from(arrays=ARRAYS, validation_rows=[1, 2]) == other


def test_a_damaged_audit_is_rebuilt_unless_its_arrays_were_deleted(jobs):
    audit, arrays = Job("audit", {"dataset": "digits"}), [jobs.root / path for path in PREPARE.outputs]
    write_json(jobs.root / paths.AUDIT.format(dataset="digits"), {"schema_version": 1})
    assert differing(audit, jobs) == []
    for file in arrays:
        file.touch()
    assert differing(audit, jobs) == [UNKNOWN]


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_mean_and_validation_images_of_a_fold_are_those_of_its_arrays(jobs, stage):
    digits = jobs.config.datasets["digits"].model_copy(update={"folds": 5})
    folds = with_config(jobs, datasets={**jobs.config.datasets, "digits": digits})
    job = Job(stage, EXPERIMENT)
    write_json(
        jobs.root / PREPARE.outputs[0], {"spec": {}, "arrays": ARRAYS, "classes": ["0"], "mean": [0.1], "std": [1]}
    )
    content = {
        **folds.settings(stage, EXPERIMENT),
        "arrays": ARRAYS,
        "validation_rows": [1, 2],
        "mean": [0.2],
        "std": [1],
    }
    write = write_json if stage == "evaluate" else lambda file, keys: save_tensors(file, {"x": torch.ones(1)}, keys)
    write(jobs.root / job.outputs[0], content)
    assert differing(job, folds) == []
    assert any("fold" in phrase for phrase in differing(job, jobs))


def test_an_evaluation_without_the_mirror_averages_that_are_asked_for_is_repeated(root, tmp_path):
    job = Job("evaluate", {"dataset": "cifar10", "model": "resnet50", "recipe": "paper", "seed": "0"})
    plain, mirror = (
        Jobs(
            load_config(root / "config.yaml", {"recipes": {"paper": {"test_time_augmentation": option}}}),
            root,
            tmp_path,
        )
        for option in ("none", "mirror")
    )
    settings = plain.settings(job.stage, job.wildcards)
    write_json(tmp_path / job.outputs[0], settings)
    changed = 'test_time_augmentation was "none", is "mirror"'
    assert (differing(job, plain), differing(job, mirror)) == ([], [changed])
    write_json(tmp_path / job.outputs[0], {"spec": settings["spec"]})  # older than the option
    assert (differing(job, plain), differing(job, mirror)) == ([], [changed])


def test_training_and_evaluation_write_of_which_arrays_they_are(data, finished):
    expected = {"arrays": read_json(data)["arrays"], "validation_rows": None}
    for name in (paths.MODEL_FILE, paths.METRICS_FILE):
        assert read_head(finished / name, "arrays", "validation_rows") == expected
