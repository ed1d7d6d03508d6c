"""Words of messages: the nearest known name, one line, a long list cut short."""

import difflib
from collections.abc import Iterable

_MOST_PROBLEMS = 20  # lines of one message


def nearest(name: object, known: Iterable[str]) -> str:
    """The way out for a wrong name: the known one that it resembles, or else all of them."""
    by_lower_case = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"valid: {one_line(', '.join(by_lower_case.values()))}" if by_lower_case else "none is defined"


def one_line(text: str) -> str:
    """A text with line breaks and all else that cannot be printed written as Python does, like \\n."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shortened(problems: list[str]) -> str:
    """One message of many lines: the first of them, and how many more there are."""
    rest = len(problems) - _MOST_PROBLEMS
    return "\n".join(problems[:_MOST_PROBLEMS] + ([f"... and {rest} more."] if rest > 0 else []))
