"""Cite entries of workflow/references.bib by their keys, and list those that a text cites."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from deepnets.reporting.markdown import Markdown, code, escape
from deepnets.utils import paths
from deepnets.utils.errors import UserError

_ENTRY = re.compile(r"(?ms)^@\w+\{(\w+),\n(.*?)^\}")
_FIELD = re.compile(r"(?m)^  (\w+) = \{(.*)\},$")
_PLACES = ("journal", "booktitle", "publisher", "howpublished")


@dataclass(frozen=True)
class Reference:
    """An entry: `authors` as "Guo et al.", `place` is the journal or the like with the year, `address` has a scheme."""

    authors: str
    title: str
    place: str
    address: str


def cite(*keys: str) -> Markdown:
    """Return a citation as pandoc reads it, "[@guo2017; @brier1950]"; in a tag, or code hosts would look for people."""
    return Markdown(f"[<code>{'; '.join(f'@{key}' for key in keys)}</code>]")


def cited(text: str) -> list[str]:
    """Return the keys that a text of the report cites, each once, in their order; names of users have no bare @."""
    found = re.findall(r"\[<code>(@[\w; @]+)</code>\]", text)
    return list(dict.fromkeys(key.strip().removeprefix("@") for keys in found for key in keys.split(";")))


def list_references(keys: list[str]) -> list[Markdown]:
    """Return a line for each key, with a link.

    Raises:
        UserError: the file of references is missing.
        KeyError: it has no such key.
    """
    entries = read_references(paths.REPOSITORY / paths.REFERENCES)
    return [_line(key, entries[key]) for key in keys]


def _line(key: str, entry: Reference) -> Markdown:
    words = escape(". ".join(filter(None, [f"{entry.authors}: {entry.title}", entry.place])))
    shown = entry.address.removeprefix("https://").removeprefix("doi.org/")
    return Markdown(f"{code(key)} {words}. [{escape(shown)}]({quote(entry.address, safe=':/')})")


@cache
def read_references(file: Path) -> dict[str, Reference]:
    """Read a BibTeX file that has a field on each line, and braces around each value.

    Raises:
        UserError: it is missing.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: the file is missing; restore it with: git checkout {file}") from None
    return {key: _reference(dict(_FIELD.findall(fields))) for key, fields in _ENTRY.findall(text)}


def _reference(fields: dict[str, str]) -> Reference:
    place = next((fields[name] for name in _PLACES if name in fields), "")
    return Reference(
        _authors([author.partition(",")[0] for author in fields["author"].split(" and ")]),
        fields["title"],
        " ".join(filter(None, [place, fields.get("year")])),
        f"https://doi.org/{fields['doi']}" if "doi" in fields else fields["url"],
    )


def _authors(surnames: list[str]) -> str:
    return " and ".join(surnames) if len(surnames) < 3 else f"{surnames[0]} et al."
