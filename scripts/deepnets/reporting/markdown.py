"""Write Markdown that no name can break: everything is escaped except text of the type `Markdown`."""

import html
import re
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

# A character reference never starts a table cell, a tag, a link, emphasis, code or math, in Markdown and in HTML.
_SPECIAL = re.compile(r"[&<>\"|`*\[\]\\~$]|(?<![^\W_])_|_(?![^\W_])")

_BREAKS = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")


class Markdown(str):
    """Text that is Markdown already."""


def escape(value: object) -> Markdown:
    """Return a value as one line of text that Markdown shows unchanged; text of the type `Markdown` is kept.

    An underscore between letters or digits has no meaning in Markdown and is kept, so that `my_net` stays readable.
    """
    if isinstance(value, Markdown):
        return value
    one_line = _BREAKS.sub(" ", str(value)).strip()
    return Markdown(_SPECIAL.sub(lambda match: f"&#{ord(match[0])};", one_line))


def code(value: object) -> Markdown:
    """Return inline code with a tag, because character references between backticks are not decoded."""
    return Markdown(f"<code>{escape(value)}</code>")


def bold(value: object) -> Markdown:
    """Return bold text."""
    return Markdown(f"**{escape(value)}**")


def link(text: object, target: str | PurePath) -> Markdown:
    """Return a link to a file, relative to the document."""
    return Markdown(f"[{escape(text)}]({quote(PurePath(target).as_posix())})")


def image(description: object, target: str | PurePath, width: str) -> Markdown:
    """Return an image `width` wide ("49%"), relative to the document; images in plain Markdown have no width."""
    source = html.escape(quote(PurePath(target).as_posix()))
    return Markdown(f'<img src="{source}" alt="{escape(description)}" width="{width}">')


def table(header: Sequence[object], rows: Sequence[Sequence[object]], numbers_from: int) -> Markdown:
    """Return a table; columns from index `numbers_from` on are aligned right.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    rule = ["---" if column < numbers_from else "---:" for column in range(len(header))]
    lines: list[list[str]] = [[escape(cell) for cell in header], rule]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells in a table of {len(header)} columns: {row}")
        lines.append([escape(cell) for cell in row])
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def block(lines: Sequence[str]) -> Markdown:
    """Return a block of shell commands; its fence has more backticks than any line of it."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}sh\n{text}\n{fence}")


def enumerate_words(words: Sequence[str]) -> str:
    """List words as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
