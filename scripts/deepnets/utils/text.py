"""Text for readers: the nearest known name, hidden characters and line breaks escaped, long lists cut short."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

_MAX_LINES = 20  # of one message


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint for a wrong name: the known name that it resembles, else all known names."""
    by_lower_case = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"valid: {one_line(', '.join(by_lower_case.values()))}" if by_lower_case else "none is defined"


def one_line(text: str) -> str:
    r"""Return a text with line breaks and other unprintable characters escaped, as in \n."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


# Letters and marks that look like nothing, although they count as printable.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Joiners and variation selectors. Arabic and Indian words, Chinese names and emoji need them; in others they hide.
_SHAPING = frozenset(map(chr, [0x200C, 0x200D, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
_SHAPED = ("Lo", "Mn", "Mc", "So", "Sk")  # general categories
_SPACES = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")


def visible(text: str) -> str:
    r"""Return a text on one line, in which what a reader would not see is escaped: \u202e turns letters around."""
    one_line = _SPACES.sub(" ", text).strip()
    return "".join(map(_visible, one_line, " " + one_line))


def _visible(character: str, before: str) -> str:
    if character in _SHAPING:
        is_seen = unicodedata.category(before) in _SHAPED
    else:
        is_seen = character == "\N{NO-BREAK SPACE}" or (character.isprintable() and character not in _BLANK)
    return character if is_seen else character.encode("unicode_escape").decode()


def shortened(problems: list[str], most: int = _MAX_LINES) -> str:
    """Return problems as one message: the first `most`, a line each, and how many more there are."""
    rest = len(problems) - most
    return "\n".join(problems[:most] + ([f"... and {rest} more."] if rest > 0 else []))
