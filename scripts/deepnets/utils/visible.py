"""Make every character of a text from outside visible, for reports and figures."""

import re
import unicodedata

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt of version 16), first and last of each range.
_DEFAULT_IGNORABLE = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
# Characters that look like nothing; the last two are a blank Braille pattern and a note without a head.
IGNORABLE = frozenset(chr(code) for first, last in _DEFAULT_IGNORABLE for code in range(first, last + 1)) | set(
    "\u2800\U0001d159"
)
JOINERS = frozenset("\u200c\u200d")
_SELECTORS = (*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
# Joiners and variation selectors. Arabic and Indian words, Chinese names and emoji need them; in others they hide.
_SHAPING = JOINERS.union(map(chr, _SELECTORS))
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
        is_seen = character == "\N{NO-BREAK SPACE}" or (character.isprintable() and character not in IGNORABLE)
    return character if is_seen else character.encode("unicode_escape").decode()
