"""Lines and bars of a training run: they name the experiment, and lines are rare."""

import io
from types import SimpleNamespace

import pytest

from deepnets.training import experiment, progress
from deepnets.training.distributed import ProcessGroup
from deepnets.training.progress import (
    EpochPlan,
    ExtraText,
    ProgressBar,
    ProgressLines,
    SilentProgress,
    clock,
    epoch_line,
    no_extra_text,
)

NAME = "digits/resnet50/quick/seed0"
ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_accuracy": 0.9,
    "val_loss": 0.4,
    "val_accuracy": 0.95,
    "seconds": 100.0,
    "images_per_second": 35.2,
}


@pytest.fixture
def now(monkeypatch) -> SimpleNamespace:
    """The time that the lines see; `now.seconds` moves it."""
    time = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: time.seconds))
    return time


def lines_of(
    plan: EpochPlan, now: SimpleNamespace, seconds_per_step: float, extra: ExtraText = no_extra_text
) -> list[str]:
    lines: list[str] = []
    with ProgressLines(NAME, lines.append, extra).epoch(plan) as advance:
        for _ in range(plan.first_step, plan.steps):
            now.seconds += seconds_per_step
            advance()
    return lines


def test_line_within_an_epoch_has_steps_speed_and_time_left(now):
    (line,) = lines_of(EpochPlan(1, 2, 0, 50, 0, 100, batch_size=32), now, seconds_per_step=1.0)
    # after 30 of 50 steps: 20 steps of this epoch and 50 of the next are left, at 1 s each
    assert line == f"{NAME}: epoch 1/2, step 30/50, 32 images/s, 1:10 left"


def test_lines_come_at_most_every_30_seconds(now):
    lines = lines_of(EpochPlan(1, 1, 0, 100, 0, 100, batch_size=8), now, seconds_per_step=1.0)
    assert [line.split(", ")[1] for line in lines] == ["step 30/100", "step 60/100", "step 90/100"]


def test_short_epoch_has_no_line(now):
    assert lines_of(EpochPlan(1, 1, 0, 29, 0, 29, batch_size=8), now, seconds_per_step=1.0) == []


def test_last_step_has_no_line_because_the_epochs_line_follows(now):
    assert lines_of(EpochPlan(1, 1, 0, 30, 0, 30, batch_size=8), now, seconds_per_step=1.0) == []


def test_speed_of_a_resumed_epoch_counts_only_the_steps_since_then(now):
    (line,) = lines_of(EpochPlan(1, 1, 70, 80, 0, 80, batch_size=10), now, seconds_per_step=5.0)
    assert line == f"{NAME}: epoch 1/1, step 76/80, 2 images/s, 0:20 left"


def of_own_time(left: float, total: float) -> str:
    return f"of {left:.0f} and {total:.0f} s"


def test_extra_text_ends_each_line_and_is_made_from_this_runs_time_left_and_in_all(now):
    (line,) = lines_of(EpochPlan(1, 2, 0, 50, 0, 100, batch_size=32), now, 1.0, extra=of_own_time)
    assert line.endswith(", 1:10 left, of 70 and 100 s")
    assert epoch_line(NAME, ROW, 3, of_own_time).endswith("  3:20 left, of 200 and 300 s")


def test_epoch_line_has_losses_accuracies_speed_and_time_left():
    assert epoch_line(NAME, ROW, 3) == (
        f"{NAME}: epoch 1/3  train loss 0.5000 accuracy 90.00%  validation loss 0.4000 accuracy 95.00%  "
        "35 images/s  3:20 left"
    )


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (200, "3:20"), (3661, "61:01")])
def test_clock_has_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


class Terminal(io.StringIO):
    """A stderr that a person watches."""

    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal_starts_with_the_experiments_name(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with ProgressBar(NAME).epoch(EpochPlan(1, 2, 0, 5, 0, 10, batch_size=32)) as advance:
        advance()
    assert f"\r{NAME}: epoch 1/2: " in terminal.getvalue()


def test_no_bar_is_printed_without_a_terminal(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    with ProgressBar(NAME).epoch(EpochPlan(1, 2, 0, 5, 0, 10, batch_size=32)) as advance:
        advance()
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    ("log", "stderr", "rank", "kind"),
    [
        (None, Terminal, 0, ProgressBar),
        ("train.log", Terminal, 0, ProgressLines),  # in the workflow, several runs share the terminal
        (None, io.StringIO, 0, ProgressLines),
        (None, Terminal, 1, SilentProgress),
    ],
)
def test_bar_is_only_for_a_person_who_trains_by_hand(monkeypatch, log, stderr, rank, kind):
    monkeypatch.setattr("sys.stderr", stderr())
    run = SimpleNamespace(log=log, name=NAME, extra=no_extra_text)
    assert type(experiment._display(run, ProcessGroup(rank, 2))) is kind
