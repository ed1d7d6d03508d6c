"""How long training runs took, in a way that runs with unlike shares of a machine can be compared by."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from deepnets.comparison.aggregate import SeedGroup
from deepnets.evaluation.results import Result


@dataclass(frozen=True)
class TrainingTime:
    """Which time of training runs is compared: wall time, or CPU time where runs had different shares of the cores.

    A run that shared the cores with others took longer than one that had them alone, but no more CPU time.
    """

    is_cpu: bool

    @property
    def in_words(self) -> str:
        """What follows a time in a sentence: " of CPU time"; "" after a wall time."""
        return " of CPU time" if self.is_cpu else ""

    def of_run(self, result: Result) -> float:
        """Return the time of a training run in seconds."""
        seconds = result.timing.cpu_seconds if self.is_cpu else None
        return result.timing.wall_seconds if seconds is None else seconds

    def of(self, group: SeedGroup) -> float:
        """Return the time of a training run in seconds, the mean over the seeds."""
        return fmean(self.of_run(result) for result in group.results)


def training_time(groups: Iterable[SeedGroup]) -> TrainingTime:
    """Return which time of training runs is compared: CPU time where all ran on CPUs, with unlike threads.

    Older results have no CPU time; where one is among them, all have wall time.

    Args:
        groups: all of a dataset, so that its figures and sentences have the same kind of time.
    """
    timings = [result.timing for group in groups for result in group.results]
    is_known = all(timing.device == "cpu" and timing.cpu_seconds is not None for timing in timings)
    shares = {timing.threads * timing.processes for timing in timings}
    return TrainingTime(is_known and len(shares) > 1)
