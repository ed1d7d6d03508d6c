"""Every rule file keeps the project's conventions, whatever the configuration."""

import re
import subprocess
import sys

import pytest

NEEDED = {"output", "log", "conda", "resources", "params", "message", "shell"}
LOCAL = {"download", "fetch_weights", "summarize", "compare", "plot_experiment", "plot_comparison", "report", "card"}
LOCAL |= {"bundle", "report_by_name"}
HEAVY = {"prepare", "audit", "latency", "train", "evaluate", "robustness", "export"}
HEAVY |= {"export_fp16", "export_int8", "export_program", "saliency"}


@pytest.fixture(scope="module")
def rules(root):
    """Return the directives of each rule but `all`, with their text: {"train": {"input": "...", ...}}."""
    found = {}
    start = r"^(?:use rule (\w+) as|rule) (\w+)(?: with)?:\n"  # a rule that uses another one has its directives, too
    for path in (root / "workflow/rules").glob("*.smk"):
        for used, name, body in re.findall(start + r"((?: .*\n|\n)+)", path.read_text() + "\n", re.MULTILINE):
            own = dict(re.findall(r"^    (\w+):((?:.*\n)(?:     .*\n|\n)*)", body, re.MULTILINE))
            found[name] = found.get(used, {}) | own
    return found


def test_the_rules_are_those_of_the_design(rules):
    assert set(rules) == LOCAL | HEAVY


def test_every_rule_has_what_makes_it_traceable(rules):
    assert {name: NEEDED - set(directives) for name, directives in rules.items() if NEEDED - set(directives)} == {}


def test_rules_call_scripts_through_the_shell_alone(rules):
    assert not [
        name for name, directives in rules.items() if {"run", "script", "notebook", "wrapper"} & set(directives)
    ]


def test_what_is_small_or_needs_the_internet_is_local(rules):
    assert {name for name, directives in rules.items() if "localrule" in directives} == LOCAL


def test_every_job_is_timed_but_the_report_which_sums_the_times(rules):
    assert {name for name, directives in rules.items() if "benchmark" in directives} == (
        (LOCAL | HEAVY) - {"report", "report_by_name"}
    )


def test_preparing_waits_for_one_free_core_alone(rules):
    """If it asked for two, it would wait until all jobs of one thread are done."""
    assert rules["prepare"]["threads"].strip() == "1"


def test_text_from_outside_reaches_the_shell_quoted(rules):
    for name, directives in rules.items():
        plain = r"threads\}|params\.processes\}"  # numbers
        unquoted = re.findall(rf"\{{(?!{plain})[\w.]+\}}", directives["shell"])
        assert not unquoted, f"{name}: write {unquoted[0][:-1]}:q}}"


@pytest.mark.parametrize("command", [["snakemake", "--lint"], ["snakefmt", "--check", "Snakefile", "workflow"]])
def test_linter_and_formatter_have_nothing_to_say(checkout, tmp_path, command):
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, cwd=checkout(tmp_path), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
