"""A script finds its job in the workflow's file, or by its name from config.yaml."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from deepnets.planning import code_digest
from deepnets.planning.code_digest import Source, digests
from deepnets.planning.job import NAMES, parse_name
from deepnets.planning.job_files import job_file, job_parser, load_job, write_code_digests, write_job_file
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, write_json

EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}
COMPARISON = {"dataset": "digits", "suffix": ""}


def arguments(stage: str, *words: str) -> argparse.Namespace:
    return job_parser(None, stage).parse_args(words)


@pytest.mark.parametrize(
    ("stage", "name", "wildcards"),
    [
        ("download", "digits", {"dataset": "digits"}),
        ("prepare", "data/digits/", {"dataset": "digits"}),
        ("summarize", "digits/resnet50", {"dataset": "digits", "model": "resnet50"}),
        ("train", "digits/resnet50/quick/seed0", EXPERIMENT),
        ("train", "results/digits/resnet50/quick/seed0/", EXPERIMENT),
        ("train", "digits/resnet50/quick,lr=0.03/seed0", EXPERIMENT | {"recipe": "quick,lr=0.03"}),
        ("plot_experiment", "digits/resnet50/quick/seed0", EXPERIMENT),
        ("plot_comparison", "digits/comparison/accuracy", {**COMPARISON, "figure": "accuracy"}),
        ("audit", "digits", {"dataset": "digits"}),
        ("compare", "digits/comparison", COMPARISON),
        ("compare", "results/digits/comparison-a-b", COMPARISON | {"suffix": "-a-b"}),
        ("report", "report", {"suffix": ""}),
        ("report", "report-sweep", {"suffix": "-sweep"}),
    ],
)
def test_name_of_a_job_is_split_into_wildcards(stage, name, wildcards):
    assert parse_name(stage, name) == wildcards


@pytest.mark.parametrize("name", ["digits", "digits/resnet50/quick", "digits/resnet50/quick/seed0/more", ""])
def test_name_of_another_form_is_refused_with_the_right_form(name):
    with pytest.raises(UserError, match=r"not the name of a train job; write \{dataset\}/\{model\}/\{recipe\}/seed"):
        parse_name("train", name)


def test_seed_without_its_word_is_refused():
    with pytest.raises(UserError, match="'0' must start with 'seed'"):
        parse_name("train", "digits/resnet50/quick/0")


@pytest.mark.parametrize(
    ("stage", "name", "message"),
    [
        (
            "compare",
            "digits",
            "not the name of a compare job; write {dataset}/comparison or {dataset}/comparison-{study}",
        ),
        ("compare", "digits/comparisonsweep", "'comparisonsweep' must start with 'comparison'; write {dataset}/comp"),
        ("report", "demo", "'demo' must start with 'report'; write report or report-{study}, without the braces"),
    ],
)
def test_name_of_a_report_or_comparison_has_its_study_after_a_hyphen(stage, name, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_name(stage, name)


def test_every_stage_has_a_script_and_a_name(root):
    assert all((root / "scripts" / f"{stage}.py").is_file() for stage in NAMES)


def test_job_is_read_from_its_file(tmp_path):
    file = tmp_path / "job.json"
    write_job_file(file, '{"spec":{"seed":0}}')
    job, wildcards = load_job("evaluate", arguments("evaluate", "digits/resnet50/quick/seed0", "--job", str(file)))
    assert job == {"spec": {"seed": 0}}
    assert wildcards == EXPERIMENT


def test_job_without_a_file_is_the_one_of_config_yaml(root, monkeypatch):
    monkeypatch.chdir(root)
    job, _ = load_job("train", arguments("train", "digits/resnet50/quick/seed0"))
    assert job["experiment"] == {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": 0}
    assert job["spec"]["model"]["architecture"] == "resnet50"
    assert "scripts/deepnets/training/trainer.py" in job["code"]


def test_job_by_name_is_the_workflow_s_to_the_last_letter(root, monkeypatch):
    """A checkpoint that the workflow saved can be resumed by hand, and the other way round."""
    from deepnets.config.loader import load_config
    from deepnets.planning.jobs import Jobs

    monkeypatch.chdir(root)
    planned = Jobs(load_config(), root).fingerprint("train", EXPERIMENT)
    by_name, _ = load_job("train", arguments("train", "digits/resnet50/quick/seed0"))
    assert by_name == json.loads(planned)


def test_line_of_a_planned_job_runs_by_hand_as_long_as_config_yaml_gives_the_same_job(root, tmp_path, monkeypatch):
    """A dry run prints the file's name and does not write it."""
    shutil.copy(root / "config.yaml", tmp_path)  # in the repository, a run may have written the file
    monkeypatch.chdir(tmp_path)
    name = "digits/resnet50/quick/seed0"
    by_name, _ = load_job("train", arguments("train", name))
    planned = job_file("train", canonical_json(by_name))
    assert not Path(planned).exists()
    assert load_job("train", arguments("train", name, "--job", planned))[0] == by_name


def test_line_of_another_configuration_says_to_plan_again(root, monkeypatch):
    monkeypatch.chdir(root)
    message = r"gone\.json: the file is missing, and config\.yaml or the code has changed since this job was planned"
    with pytest.raises(UserError, match=message):
        load_job("report", arguments("report", "report", "--job", "gone.json"))


def test_damaged_file_is_named(tmp_path):
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(UserError, match=r"job\.json: damaged, not JSON"):
        load_job("report", arguments("report", "report", "--job", str(tmp_path / "job.json")))


@pytest.mark.parametrize("content", ["[]", "5", '"spec"'])
def test_file_that_holds_something_else_is_named(tmp_path, content):
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(UserError, match=r"job\.json: damaged, not what the workflow wrote; start Snakemake again"):
        load_job("report", arguments("report", "report", "--job", str(tmp_path / "job.json")))


def test_file_of_the_workflow_is_compared_with_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fingerprint = '{"spec":{"seed":0}}'
    file = Path(job_file("report", fingerprint))
    write_job_file(file, fingerprint)
    assert load_job("report", arguments("report", "report", "--job", str(file)))[0] == {"spec": {"seed": 0}}
    file.write_text(fingerprint.replace("0", "1"))
    with pytest.raises(UserError, match="damaged, not what the workflow wrote"):
        load_job("report", arguments("report", "report", "--job", str(file)))


def test_other_fingerprints_have_other_files():
    assert job_file("train", "a") != job_file("train", "b")
    assert job_file("train", "a") != job_file("evaluate", "a")
    assert Path(job_file("train", "a")).parts[:2] == (".snakemake", "deepnets")


def test_file_that_is_there_is_not_written_again(tmp_path):
    file = tmp_path / "job.json"
    file.write_text("{}")
    before = file.stat().st_mtime_ns
    write_job_file(file, "{}")
    assert file.stat().st_mtime_ns == before


METRICS = "scripts/deepnets/evaluation/metrics.py"


@pytest.mark.parametrize(("kind", "name"), [("code", METRICS), ("files", "workflow/published.csv")])
def test_job_stops_where_a_file_was_edited_after_it_was_planned(root, tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(root)
    job, _ = load_job("report", arguments("report", "report"))
    job["code"].setdefault(METRICS, digests([METRICS], root)[METRICS])
    write_json(tmp_path / "job.json", job)
    with_file = arguments("report", "report", "--job", str(tmp_path / "job.json"))
    assert load_job("report", with_file)[0] == job
    job[kind][name] = "0" * 16
    write_json(tmp_path / "job.json", job)
    with pytest.raises(UserError, match=f"^{name}: edited since this job was planned; start Snakemake again"):
        load_job("report", with_file)


def test_job_parses_no_code_that_was_parsed_for_its_plan(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = {"code": digests([METRICS], root)}
    write_code_digests()
    write_job_file(job_file("report", canonical_json(job)), canonical_json(job))
    with_file = arguments("report", "report", "--job", job_file("report", canonical_json(job)))
    parsed, of_plan = [], next(Path(".snakemake/deepnets").glob("code-*.json"))
    monkeypatch.setattr(code_digest, "_given", {})
    monkeypatch.setattr(code_digest, "_read_source", lambda *file: parsed.append(file[0].name) or Source(set(), "0"))
    assert (load_job("report", with_file)[0], parsed) == (job, [])
    damage = [partial(of_plan.write_text, content) for content in ("[1]", "null", "{damaged")]
    for change in (*damage, of_plan.unlink):  # the record of another version is missing: it has another name
        monkeypatch.setattr(code_digest, "_given", {})
        parsed.clear()
        change()
        with pytest.raises(UserError, match=f"^{METRICS}: edited since"):  # it was parsed: into another digest, here
            load_job("report", with_file)
        assert parsed == ["metrics.py"]


def test_module_that_is_loaded_late_is_compared_when_it_is_loaded(root, tmp_path):
    """A network's module is imported by a computed name, long after the job's start."""
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    network = tmp_path / "scripts/deepnets/models/vgg16.py"
    program = (
        "from deepnets.planning.job_files import job_parser, load_job\n"
        "load_job('report', job_parser(None, 'report').parse_args(['report', '--job', 'job.json']))\n"
        f"open({str(network)!r}, 'a').write('NEW = True\\n')\n"
        "import deepnets.models.vgg16"
    )
    write_json(tmp_path / "job.json", {"code": digests([network.relative_to(tmp_path)], tmp_path)})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "scripts/deepnets/models/vgg16.py: edited since this job was planned" in done.stderr
