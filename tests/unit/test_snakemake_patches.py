"""What is changed in Snakemake does what it is for, and where it cannot, a line says what happens instead."""

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.jobs import Job
from snakemake.persistence.file import FilePersistence
from snakemake.report import html_reporter
from snakemake.target_jobs import parse_target_jobs_cli_args
from snakemake_interface_executor_plugins.utils import TargetSpec, encode_target_jobs_cli_args

from deepnets.planning import snakemake_patches
from deepnets.planning.snakemake_patches import (
    LOCKS,
    adapt_report,
    rerun_failed_updates,
    restore_target_jobs,
    retry_no_divergence,
    survive_other_ends,
    train_after_summaries,
    whole_wildcards,
)

NAMES = ("dataset", "model", "recipe", "seed", "figure")
EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}


# -- another version of Snakemake --------------------------------------------------------------------------------------


def test_jobs_that_are_kept_otherwise_have_no_order_and_a_line_reports_it(capsys):
    train_after_summaries(SimpleNamespace(dependencies={}, depending={}), jobs=None)
    assert ": _n_until_ready not found, so training runs do not wait for the summaries" in capsys.readouterr().err


@pytest.mark.parametrize("found", [None, 3])
def test_retries_that_are_no_property_stay_as_they_are_and_a_line_reports_it(monkeypatch, capsys, found):
    monkeypatch.setattr(Job, "restart_times", found)
    retry_no_divergence()
    assert Job.restart_times == found
    assert "so a training run whose loss is not finite is retried, too" in capsys.readouterr().err


def test_records_that_are_kept_otherwise_stay_as_they_are_and_a_line_reports_it(capsys):
    persistence = SimpleNamespace(finished=print, started=print)
    rerun_failed_updates(persistence)
    assert vars(persistence) == {"finished": print, "started": print}
    assert ": restore_output not found, so a model card whose job fails" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workflow", "lacking"),
    [
        (SimpleNamespace(), "target_jobs"),
        (SimpleNamespace(dag_settings=SimpleNamespace(target_jobs=[TargetSpec("train", {})])), "get_rule"),
    ],
)
def test_target_jobs_that_are_kept_otherwise_stay_as_they_are_and_a_line_reports_it(capsys, workflow, lacking):
    before = copy.deepcopy(workflow)
    restore_target_jobs(workflow)
    assert workflow == before
    assert f": {lacking} not found, so a node of a cluster does not find its job" in capsys.readouterr().err


def test_a_store_without_the_methods_of_locks_stays_as_it_is(capsys):
    persistence = SimpleNamespace(_lockdir=".snakemake/locks")
    survive_other_ends(persistence)
    assert vars(persistence) == {"_lockdir": ".snakemake/locks"}
    assert capsys.readouterr().err == ""


# -- the job that a node is to run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wildcards",
    [
        EXPERIMENT,
        EXPERIMENT | {"recipe": "quick,lr=0.03"},
        EXPERIMENT | {"recipe": "quick,augment.crop_padding=2,lr=0.03", "figure": "accuracy"},
        {"dataset": "digits"},
        {},
    ],
)
def test_wildcards_survive_snakemakes_command_line(wildcards):
    [spec] = parse_target_jobs_cli_args(encode_target_jobs_cli_args([TargetSpec("train", wildcards)]))
    assert whole_wildcards(spec.wildcards_dict, NAMES) == wildcards


def test_wildcards_of_another_workflows_rule_stay_as_they_are():
    assert whole_wildcards({"recipe": "a", "fold": "1"}, ("recipe", "fold")) == {"recipe": "a", "fold": "1"}


# -- locks -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def persistence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snakemake_patches, "PAUSE_SECONDS", 0)
    return FilePersistence()


def test_locks_are_written_where_their_folder_has_gone(persistence):
    survive_other_ends(persistence)
    shutil.rmtree(LOCKS)
    persistence._write_locks("output", (name for name in ["results/report.md"]))
    assert list(persistence._read_locks()) == [("output", "results/report.md")]


def test_a_lock_that_goes_while_it_is_read_is_no_lock(persistence):
    calls = []

    def read_locks():
        calls.append(None)
        if len(calls) == 1:
            yield "output", "results/report.md"
            raise FileNotFoundError("0.output.lock")

    persistence._read_locks = read_locks
    survive_other_ends(persistence)
    assert persistence._read_locks() == []


def test_an_error_that_stays_is_raised(persistence):
    def delete_locks():
        raise PermissionError("locks")

    persistence._delete_locks = delete_locks
    survive_other_ends(persistence)
    with pytest.raises(PermissionError):
        persistence._delete_locks()


# -- the page of `snakemake --report` ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("icon", "[this.props.iconName] || this.props.iconName"),
        ("navbar", 'alt: ""'),
        ("content", "alt: this.props.app.state.resultPath"),
        ("breadcrumbs", '"aria-label": "Search"'),
    ],
)
def test_icons_pictures_and_search_field_of_snakemakes_page_have_names(template, name):
    text = Path(html_reporter.__file__).parent.joinpath("template/components", f"{template}.js").read_text()
    reporter = SimpleNamespace(get_resource_as_string={template: text}.get)
    adapt_report(reporter)
    assert name in reporter.get_resource_as_string(template)
    assert name not in text


def test_snakemake_reads_its_templates_by_the_function_that_is_replaced(monkeypatch):
    monkeypatch.setattr(html_reporter, "get_resource_as_string", {"style.css": "body {}\n"}.get)
    adapt_report(html_reporter)
    reporter = SimpleNamespace(settings=html_reporter.ReportSettings(path=Path("page.html")))
    html_reporter.Reporter.__post_init__(reporter)
    style = reporter.env.filters["get_resource_as_string"]("style.css")
    assert style.startswith("body {}")
    assert "max-width: 100vw" in style


@pytest.mark.parametrize("reporter", [None, SimpleNamespace()])
def test_a_reporter_that_reads_its_templates_otherwise_stays_as_it_is(reporter):
    adapt_report(reporter)
    assert not hasattr(reporter, "get_resource_as_string")
