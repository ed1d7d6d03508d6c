"""results/report-{study}.md and results/report.partial.md: reports of studies, or of a part of one, side by side."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from study_edits import GENTLE, NOTHING, config, evaluated, truncate

from deepnets.utils.files import read_json, write_json

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build


def existing_links(report: Path) -> list[str]:
    """Return the links of a report to files, all of which exist."""
    found = re.findall(r'src="([^"]+)"', report.read_text()) + re.findall(r"\]\(([^)#]+)\)", report.read_text())
    linked = [unquote(link) for link in found if "://" not in link]
    assert [link for link in linked if not (report.parent / link).exists()] == []
    return linked


def test_the_reports_of_two_studies_are_side_by_side_and_each_is_stale_alone(study, dry_run, run_why, snakemake):
    by_name, target = frozenset({"Write the report of the study (second)"}), "results/report-second.md"
    done = snakemake(study, target, "results/report.md", cores=2)
    assert done.returncode == 0, done.stdout
    assert "Train" not in done.stdout
    assert "shapes/comparison-second/accuracy.png" in existing_links(study / target)
    assert dry_run(study, target, "all").jobs == NOTHING
    assert run_why(study, "--study", "second").output.count("comparison-second") == 0
    truncate("results/shapes/comparison-second/accuracy.png")(study)
    assert dry_run(study).jobs == NOTHING
    assert dry_run(study, target).jobs == by_name | {"Plot accuracy of the models on shapes (second)"}
    assert "damaged: results/shapes/comparison-second/accuracy.png" in run_why(study, "--study", "second").output
    assert "comparison-second" not in run_why(study).output
    config("study: first", "study: second")(study)
    assert dry_run(study, target).jobs == by_name | {"Plot accuracy of the models on shapes (second)"}


def test_what_is_finished_is_reported_where_an_experiment_is_missing_and_nothing_else_changes(
    study, dry_run, fork_server
):
    metrics = "results/shapes/small/gentle/seed0/metrics.json"
    (study / metrics).unlink()
    before = {path: path.stat().st_mtime_ns for path in (study / "results").rglob("*") if path.is_file()}
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 0, run.output
    assert "results/report.partial.md, results/report.partial.html: the report of 2 finished experiments" in run.output
    report = study / "results/report.partial.md"
    text = unescape(report.read_text())
    assert "about 2 of the 3 experiments of the study" in text
    assert "| <code>shapes/small/gentle/seed0</code> | waiting: trained; its evaluation runs or comes next |" in text
    assert f"{metrics} --config study=first</code>" in text
    assert "shapes/comparison.partial/accuracy.png" in existing_links(report)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert dry_run(study).jobs == evaluated(GENTLE)


def test_where_nothing_is_finished_no_partial_report_is_written(study, fork_server):
    for metrics in (study / "results").rglob("metrics.json"):
        metrics.unlink()
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 2
    assert run.output.startswith("error: study first: no experiment is finished, so there is nothing to report yet")
    assert not (study / "results/report.partial.md").exists()


def test_a_partial_report_has_robustness_once_all_that_is_finished_has_it(study, fork_server):
    config("recipe: gentle, seeds: [0]", "recipe: gentle, seeds: [0], robustness: true")(study)
    report = study / "results/report.partial.md"
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 0, run.output
    assert "corrupted" not in report.read_text()
    for metrics in (study / "results").rglob("metrics.json"):
        measured = {"accuracy": 0.5, "corrupted_accuracy": 0.4, "corruptions": {"noise": [0.5, 0.4, 0.3]}}
        measured |= {"spec_sha256": read_json(metrics)["spec_sha256"], "n": 10, "of": 10}
        write_json(metrics.with_name("robustness.json"), measured)
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 0, run.output
    assert "shapes/comparison.partial/corruptions.png" in existing_links(report)
    write_json(metrics.with_name("robustness.json"), {**measured, "spec_sha256": "of other settings"})
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 0, run.output
    assert "corrupted" not in report.read_text()


def test_a_partial_report_leaves_pictures_to_the_jobs_that_draw_them(study, fork_server):
    figures = study / "results/shapes/small/brief/seed0/figures"
    drawing = figures / ".learning_curves.deepnets-abcdefgh.png"
    (figures / "learning_curves.png").rename(drawing)
    before = {path: path.stat().st_mtime_ns for path in figures.iterdir()}
    run = fork_server(study, script="scripts/report_now.py")
    assert run.returncode == 0, run.output
    assert {path: path.stat().st_mtime_ns for path in figures.iterdir()} == before
    page = (study / "results/report.partial.html").read_text(encoding="utf-8")
    assert "seed0/figures/learning_curves.png is missing or damaged" in page
