"""The progress of a training run: a bar on a terminal, or lines in a log; each names the experiment."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

LINE_SECONDS = 30.0  # at most one line within an epoch in this time

# Text to add to a line, from the seconds that the training run still takes and those that it takes in all.
ExtraText = Callable[[float, float], str]


def no_extra_text(left: float, total: float) -> str:
    """Add nothing to a line."""
    return ""


@dataclass(frozen=True)
class EpochPlan:
    """The steps of one epoch.

    epoch: from 1. epochs: of the whole run, of which the last may be shorter. first_step: steps of this epoch that are
    done already. steps: of this epoch. steps_before: of all earlier epochs. total_steps: of the whole run. batch_size:
    images per step.
    """

    epoch: int
    epochs: int
    first_step: int
    steps: int
    steps_before: int
    total_steps: int
    batch_size: int


class SilentProgress:
    """Shows nothing."""

    @contextlib.contextmanager
    def epoch(self, plan: EpochPlan) -> Iterator[Callable[[], object]]:
        """Follow the steps of one epoch; the context is a function to call after each step."""
        yield lambda: None


class ProgressBar(SilentProgress):
    """Shows a bar per epoch, on a terminal only.

    Args:
        name: the experiment; the bar starts with it.
    """

    def __init__(self, name: str):
        self.name = name

    @contextlib.contextmanager
    def epoch(self, plan: EpochPlan) -> Iterator[Callable[[], object]]:
        """Follow the steps of one epoch; the context is a function to call after each step."""
        description = f"{self.name}: epoch {plan.epoch}/{plan.epochs}"
        # disable=None: no bar where there is no terminal
        bar = tqdm(total=plan.steps, initial=plan.first_step, desc=description, unit="step", leave=False, disable=None)
        with bar:
            yield bar.update


class ProgressLines(SilentProgress):
    """Logs a line within an epoch, at most every LINE_SECONDS.

    Args:
        name: the experiment; each line starts with it.
        log: takes one line.
        extra: gives text to add at the end of each line, such as the time left of the whole study.
    """

    def __init__(self, name: str, log: Callable[[str], None], extra: ExtraText = no_extra_text):
        self.name, self.log, self.extra = name, log, extra

    @contextlib.contextmanager
    def epoch(self, plan: EpochPlan) -> Iterator[Callable[[], object]]:
        """Follow the steps of one epoch; the context is a function to call after each step."""
        start = last_line = time.monotonic()
        step = plan.first_step

        def advance() -> None:
            nonlocal step, last_line
            step += 1
            now = time.monotonic()
            if now - last_line >= LINE_SECONDS and step < plan.steps:
                last_line = now
                self.log(self._line(plan, step, now - start))

        yield advance

    def _line(self, plan: EpochPlan, step: int, seconds: float) -> str:
        per_step = seconds / (step - plan.first_step)
        left = (plan.total_steps - plan.steps_before - step) * per_step
        line = (
            f"{self.name}: epoch {plan.epoch}/{plan.epochs}, step {step}/{plan.steps}, "
            f"{plan.batch_size / per_step:.0f} images/s, {clock(left)} left"
        )
        return with_extra(line, self.extra(left, plan.total_steps * per_step))


def epoch_line(name: str, row: dict, epochs: float, extra: ExtraText = no_extra_text) -> str:
    """One finished epoch, with the time left if the other epochs are as fast.

    Args:
        name: the experiment.
        row: the epoch's row of history.csv.
        epochs: number of epochs; the last one is shorter if it is fractional.
        extra: gives text to add at the end; "" adds nothing.
    """
    share = row["epoch"] - math.ceil(row["epoch"]) + 1  # of a whole epoch
    left = max(0.0, epochs - row["epoch"]) * row["seconds"]
    line = (
        f"{name}: epoch {row['epoch']}/{epochs}  "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2%}  "
        f"validation loss {row['val_loss']:.4f} accuracy {row['val_accuracy']:.2%}  "
        f"{row['images_per_second']:.0f} images/s  {clock(left)} left"
    )
    return with_extra(line, extra(left, epochs * row["seconds"] / share))


def with_extra(line: str, extra: str) -> str:
    """A line with extra text after a comma, if there is any."""
    return f"{line}, {extra}" if extra else line


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: 3:20."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
