"""The state of a study as plain lines, once or every few seconds: `make status` and `make watch`."""

import io

import pytest

from deepnets.planning import status_lines as lines_module
from deepnets.planning.status import Status
from deepnets.planning.status_lines import SHOWN, status_lines, watch


def test_those_that_run_or_have_failed_come_first_below_a_line_about_the_study():
    statuses = [
        Status("a", "done", "x"),
        Status("bb", "waiting"),
        Status("c", "running", "y"),
        Status("d", "failed", "z"),
    ]
    assert status_lines("demo", statuses, 125.0) == [
        "study demo: 4 experiments: 1 running, 1 failed, 1 waiting, 1 done; about 2 min left",
        "  running  c   y",
        "  failed   d   z",
        "  waiting  bb",
        "  done     a   x",
    ]
    assert (
        status_lines("demo", statuses[:1], 3 * 3600.0)[0] == "study demo: 1 experiment: 1 done; about 3 h 00 min left"
    )


def test_the_message_of_a_job_that_several_experiments_need_is_shown_once():
    same = "error: images are broken (logs/digits/prepare.log)"
    statuses = [Status(name, "failed", words) for name, words in zip("abcd", [same, same, "other", same], strict=True)]
    assert [line.split("  ")[-1] for line in status_lines("demo", statuses, None)[1:]] == [
        same,
        "as above",
        "other",
        same,
    ]


def test_measurements_that_have_failed_are_below_the_experiments_and_counted_apart():
    statuses = [Status("a/b", "done"), Status("c/d", "failed", "x")]
    assert status_lines("demo", statuses, None, [Status("a/b robustness", "failed", "y")]) == [
        "study demo: 2 experiments: 1 failed, 1 done; 1 measurement failed",
        "  failed   c/d             x",
        "  failed   a/b robustness  y",
        "  done     a/b",
    ]


def test_a_thousand_experiments_are_counted_and_each_that_runs_or_has_failed_is_shown():
    statuses = [Status(str(number), ("waiting", "failed")[number % 2]) for number in range(1000)]
    lines = status_lines("demo", statuses, None)
    assert len(lines) == 1 + 500 + SHOWN + 1
    assert lines[-1] == f"  waiting  and {500 - SHOWN} more"


def test_results_of_images_that_have_changed_are_counted_below_the_experiments():
    statuses = [Status("a", "done"), Status("b", "done")]
    assert status_lines("demo", statuses, None, outdated=2)[-2:] == [
        "  done     b",
        "2 results are of images that have changed since: make why names the changes",
    ]
    assert status_lines("demo", statuses, None, outdated=1)[-1].startswith("1 result is of images")


class Terminal(io.StringIO):
    """A stdout that a person watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("out", "screens"), [(io.StringIO(), 0), (Terminal(), 3)])
def test_watch_prints_plain_text_when_it_changes_and_draws_on_a_terminal(monkeypatch, out, screens):
    waited = []
    monkeypatch.setattr(lines_module, "time", type("time", (), {"sleep": waited.append}))
    readings = iter([(["one"], False), (["one"], False), (["two"], True)])
    watch(lambda: next(readings), 5.0, out)
    assert waited == [5.0, 5.0]
    assert out.getvalue().count("\033[2J") == screens
    if not screens:
        assert out.getvalue() == "one\n\ntwo\n\n"
