"""results/report-{study}.md: reports of several studies next to each other."""

import re

import pytest
from study_edits import NOTHING, config, truncate

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build


def test_the_reports_of_two_studies_are_side_by_side_and_each_is_stale_alone(study, dry_run, run_why, snakemake):
    by_name, target = frozenset({"Write the report of the study (second)"}), "results/report-second.md"
    done = snakemake(study, target, "results/report.md", cores=2)
    assert done.returncode == 0, done.stdout
    assert "Train" not in done.stdout
    report = (study / target).read_text()
    linked = [link for link in re.findall(r'src="([^"]+)"|\]\(([^)]+)\)', report) for link in link if link]
    assert [link for link in linked if not (study / "results" / link).exists() and "://" not in link] == []
    assert "shapes/comparison-second/accuracy.png" in linked
    assert dry_run(study, target, "all").jobs == NOTHING
    assert run_why(study, "--study", "second").output.count("comparison-second") == 0
    truncate("results/shapes/comparison-second/accuracy.png")(study)
    assert dry_run(study).jobs == NOTHING
    assert dry_run(study, target).jobs == by_name | {"Plot accuracy of the models on shapes (second)"}
    assert "damaged: results/shapes/comparison-second/accuracy.png" in run_why(study, "--study", "second").output
    assert "comparison-second" not in run_why(study).output
    config("study: first", "study: second")(study)
    assert dry_run(study, target).jobs == by_name | {"Plot accuracy of the models on shapes (second)"}
