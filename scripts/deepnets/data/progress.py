"""Progress of long work: tqdm's bar where a terminal watches, a log line now and then elsewhere."""

import sys

from tqdm import tqdm

from deepnets.utils.logging import LOG

LOG_SECONDS = 10.0  # between two log lines
_LINE = "{desc}: {n:,} of {total:,}{unit}, {rate_fmt}, {remaining} left{postfix}"


class _LogLines:
    """A stream for tqdm that makes a log line of each state of the bar."""

    def write(self, text: str) -> None:
        if line := text.strip():
            LOG.info("%s", line)

    def flush(self) -> None:
        """Nothing is buffered."""


def progress_bar(dataset: str, total: int, unit: str) -> tqdm:
    """A bar that shows count, rate and time left.

    Args:
        dataset: its name, at the start of each line.
        total: number of things to do.
        unit: what is counted, in the plural.
    """
    if sys.stderr.isatty():
        return tqdm(desc=dataset, total=total, unit=f" {unit}", smoothing=0, leave=False)
    return tqdm(
        desc=dataset,
        total=total,
        unit=f" {unit}",
        smoothing=0,
        leave=False,
        file=_LogLines(),
        mininterval=LOG_SECONDS,
        miniters=1,
        delay=LOG_SECONDS,
        bar_format=_LINE,
    )


def log_summary(bar: tqdm) -> None:
    """Log how much was done, and how fast."""
    LOG.info("%s", tqdm.format_meter(**{**bar.format_dict, "bar_format": _LINE.replace(", {remaining} left", "")}))
