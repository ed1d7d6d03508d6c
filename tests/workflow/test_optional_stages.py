"""Stages that only some studies have: they train nothing, and run again for their own reasons alone."""

import pytest
from study_edits import ALL, NOTHING, append, changed_module, corrupted, evaluated, plotted, timed

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build


def test_robustness_and_latency_train_nothing_and_are_measured_again_only_for_their_own_reasons(
    study, dry_run, snakemake
):
    append("config.yaml", "robustness: [first]\nlatency: [first]\n")(study)
    assert dry_run(study).jobs == corrupted(*ALL) | timed("small", "mobilenet_v2")
    done = snakemake(study, cores=2)
    assert done.returncode == 0, done.stdout
    report = (study / "results/report.md").read_text(encoding="utf-8")
    assert all(f"shapes/comparison/{name}.png" in report for name in ("corruptions", "accuracy_vs_latency"))
    assert dry_run(study).jobs == NOTHING
    changed_module("evaluation/metrics")(study)
    evaluated_again = evaluated(*ALL) | plotted("shapes", "corruptions", "accuracy_vs_latency")
    assert dry_run(study).jobs == evaluated_again
    changed_module("evaluation/corruptions")(study)
    assert dry_run(study).jobs == evaluated_again | corrupted(*ALL)
