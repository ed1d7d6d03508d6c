"""Make every character of a text from outside visible, for reports and figures."""

import re
import unicodedata

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
