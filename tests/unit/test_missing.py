"""A report that leaves out experiments lists them, with the commands that make them."""

from html import unescape

import pytest
from report_pages import table_of, tables

from deepnets.reporting.study import Missing
from deepnets.utils.files import read_json

NAME = "digits/vgg16/quick,lr=0.03/seed1"


@pytest.fixture
def cores(tmp_path):
    return lambda: read_json(tmp_path / "results/environment.json")["cores"]


def test_experiments_that_are_missing_are_listed_with_state_and_command(experiment, write_report, cores):
    failed = Missing(NAME, "failed: CUDA out of memory | (logs/train.log)")
    text = write_report(experiment(seed=0), experiment(seed=1), missing=[failed], study="two words")
    warning = next(line for line in text.splitlines() if line.startswith("> - "))
    assert "about 2 of the 3 experiments of the study; [the others](#missing-experiments) are missing" in warning
    assert "\n## Missing experiments\n" in text
    assert "makes one experiment, after <code>source .venv/bin/activate</code>:\n" in text
    [row] = table_of(text, "Experiment")[2:]
    start = f"snakemake --cores {cores()}"
    assert [unescape(cell) for cell in row] == [
        f"<code>{NAME}</code>",
        "failed: CUDA out of memory | (logs/train.log)",
        f"<code>{start} results/{NAME}/metrics.json --config study='two words'</code>",
    ]
    assert f"\n{start} results/report.md --config study='two words' --keep-going\n" in text


def test_a_thousand_missing_experiments_are_counted(experiment, write_report):
    text = write_report(
        experiment(), missing=[Missing(f"digits/vgg16/quick/seed{seed}", "waiting") for seed in range(1000)]
    )
    assert "about 1 of the 1001 experiments" in text
    assert len(table_of(text, "Experiment")) == 2 + 200
    assert "The table leaves out 800 more" in text


def test_a_whole_report_has_no_such_list(experiment, write_report):
    text = write_report(experiment())
    assert "issing experiments" not in text
    assert "Experiment" not in {table[0][0] for table in tables(text)}
