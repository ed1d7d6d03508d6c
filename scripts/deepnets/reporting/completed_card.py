"""What users add to a model card, the licence and notes: it stays when the card is rebuilt."""

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepnets.utils.logging import LOG

NOTES_LINE = "<!-- Text below this line stays when the card is rebuilt, and so does the licence in the header. -->"
_NOTES_LINE = re.compile(r"^<!-- Text below this line stays .*-->[ \t]*\n?", re.MULTILINE)  # no other line starts so
_HEADER = re.compile(r"---\n(.*?\n)---[ \t]*$", re.DOTALL | re.MULTILINE)


class Kept(NamedTuple):
    """What stays of a card.

    licence   the keys of the header that start with license, if one was chosen
    notes     the text below the line for it
    """

    licence: dict[str, Any]
    notes: str


NOTHING = Kept({}, "")


def read_kept(card: Path) -> Kept:
    """Return what stays of a card that is rebuilt; nothing, if it is missing.

    Where the place of the licence or of the notes cannot be found, a warning is printed, and the card is copied to
    MODEL_CARD.old.md.
    """
    if not card.exists():
        return NOTHING
    text, licence, problems = _text(card), dict[str, Any](), list[str]()
    header = _header(text)
    if header is None:
        problems.append("its header cannot be read, so the licence in it is not kept")
    elif header.get("license") not in (None, "unknown"):
        licence = {key: value for key, value in header.items() if str(key).startswith("license")}
    line = _NOTES_LINE.search(text)
    if line is None:
        problems.append(f"it lacks the line {NOTES_LINE}, so no text of it is kept")
    if problems:
        old = card.with_name(f"{card.stem}.old{card.suffix}")
        shutil.copyfile(card, old)
        LOG.warning("%s: %s; copy what you need from %s", card, "; ".join(problems), old)
    return Kept(licence, text[line.end() :] if line else "")


def _text(card: Path) -> str:
    try:
        return card.read_text(encoding="utf-8-sig")  # some editors mark the start
    except UnicodeDecodeError:
        return card.read_text(encoding="latin-1")


def _header(text: str) -> dict[str, Any] | None:
    """Return the YAML header of a card; None if it has none that can be read."""
    found = _HEADER.match(text)
    try:
        header = yaml.safe_load(found[1]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: of a date, for example
        header = None
    return header if isinstance(header, dict) else None
