"""Text for messages: the nearest known name, escaped line breaks, long lists cut short."""

import difflib
from collections.abc import Iterable, Sequence

from deepnets.utils.logging import log_to_file_only

_MAX_LINES = 20  # of one message
_FEW = 3
_RESEMBLING = 0.61  # more than the 0.6 of difflib, by which `std` resembles `strides`


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint for a wrong name: the known name that it resembles, else all known names."""
    by_lower_case = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=_RESEMBLING)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"valid: {one_line(', '.join(by_lower_case.values()))}" if by_lower_case else "none is defined"


def one_line(text: str) -> str:
    r"""Return a text with line breaks and other unprintable characters escaped, as in \n."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shortened(problems: list[str], most: int = _MAX_LINES) -> str:
    """Return problems as one message: the first `most`, a line each, and how many more. The job's log file gets all."""
    rest = len(problems) - most
    if rest <= 0:
        return "\n".join(problems)
    where = "; the log file has them all" if log_to_file_only("\n".join(problems)) else ""
    return "\n".join([*problems[:most], f"... and {rest} more{where}."])


def first_few(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are: "a, b, c and 2 more"."""
    rest = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {rest} more" if rest > 0 else "")
