"""The state of a study as lines of plain text, once or every few seconds."""

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from deepnets.planning.status import STATES, Status
from deepnets.utils.durations import rough_duration

SHOWN = 30  # experiments of one state; the others are counted. Those that run or have failed are all shown.
_CLEAR = "\033[H\033[2J\033[3J"  # a terminal's screen


def status_lines(
    study: str,
    statuses: Sequence[Status],
    seconds_left: float | None,
    measurements: Sequence[Status] = (),
    outdated: int = 0,
) -> list[str]:
    """Return a line about the study, then a line for each experiment: those that run first, those that are done last.

    Experiments next to each other that have failed in the same job, as that of their dataset, have its message once.

    Args:
        study: its name.
        statuses: of its experiments.
        seconds_left: of the study; None if that is not known.
        measurements: jobs of optional stages that have failed; they stand below the experiments that have.
        outdated: how many finished experiments are of images that have changed since; the last line counts them.
    """
    by_state = {state: [status for status in statuses if status.state == state] for state in STATES}
    counts = ", ".join(f"{len(found)} {state}" for state, found in by_state.items() if found)
    experiments = "1 experiment" if len(statuses) == 1 else f"{len(statuses)} experiments"
    left = "" if seconds_left is None else f"; about {rough_duration(seconds_left)} left"
    width = max((len(status.name) for status in [*statuses, *measurements]), default=0)
    number = "1 measurement" if len(measurements) == 1 else f"{len(measurements)} measurements"
    lines = [f"study {study}: {experiments}: {counts}{f'; {number} failed' if measurements else ''}{left}"]
    by_state["failed"] += measurements
    for state, found in by_state.items():
        shown = found if state in ("running", "failed") else found[:SHOWN]
        words = [status.words for status in shown]
        for index, status in enumerate(shown):
            is_same = state == "failed" and index > 0 and words[index] == words[index - 1] != ""
            lines.append(f"  {state:7}  {status.name:{width}}  {'as above' if is_same else words[index]}".rstrip())
        if len(found) > len(shown):
            lines.append(f"  {state:7}  and {len(found) - len(shown)} more")
    if outdated:
        results = "1 result is" if outdated == 1 else f"{outdated} results are"
        lines.append(f"{results} of images that have changed since: make why names the changes")
    return lines


def watch(read: Callable[[], tuple[list[str], bool]], seconds: float, out: TextIO) -> None:
    """Print lines every few seconds; on a terminal at the same place, elsewhere, as in a file, when they have changed.

    Args:
        read: returns the lines, and whether they are the last ones.
        seconds: between two readings.
        out: where to print them.
    """
    before: list[str] = []
    while True:
        lines, ended = read()
        if out.isatty():
            print(_CLEAR + "\n".join(lines), file=out, flush=True)
        elif lines != before:
            print("\n".join([*lines, ""]), file=out, flush=True)
        before = lines
        if ended:
            return
        time.sleep(seconds)
