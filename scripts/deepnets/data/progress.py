"""Lines about long work on many files."""

import time

from deepnets.utils.logging import LOG

SAY_SECONDS = 10.0  # between two lines


class Progress:
    """Says now and then how much is done, and at the end, if asked, how fast it went.

    Args:
        dataset: its name.
        total: how many there are.
        what: things of what kind.
    """

    def __init__(self, dataset: str, total: int, what: str):
        self.dataset, self.total, self.what = dataset, total, what
        self.count = self.reused = 0
        self.start = self.said = time.monotonic()

    def add(self, count: int, reused: bool = False) -> None:
        """So many more are done; or were, by a run that was interrupted."""
        self.count += count
        self.reused += count if reused else 0
        now = time.monotonic()
        if now - self.said > SAY_SECONDS and self.count < self.total:
            self.said = now
            left = (self.total - self.count) * (now - self.start) / self.count
            LOG.info("%s, %d:%02d left", self._so_far(now), *divmod(round(left), 60))

    def end(self) -> None:
        """All are done."""
        there = f", {self.reused:,} of them there from an interrupted run" if self.reused else ""
        LOG.info("%s%s", self._so_far(time.monotonic()), there)

    def _so_far(self, now: float) -> str:
        rate = self.count / max(now - self.start, 1e-3)
        return f"{self.dataset}: {self.count:,} of {self.total:,} {self.what}, {rate:,.0f} {self.what}/s"
