"""Markdown that no name can break: everything is escaped unless it says that it is Markdown already."""

import html
import re
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

# Character references never open a table cell, a tag, a link, emphasis, code or math, in Markdown and HTML alike.
_SPECIAL = re.compile(r"[&<>\"|`*\[\]\\~$]|(?<![^\W_])_|_(?![^\W_])")

_BREAKS = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")


class Markdown(str):
    """Text that is Markdown already."""


def escape(value: object) -> Markdown:
    """Any value as text on one line that Markdown shows as it is; Markdown is left alone.

    An underscore between letters or digits means nothing and stays, so that `my_net` is readable in the source too.
    """
    if isinstance(value, Markdown):
        return value
    one_line = _BREAKS.sub(" ", str(value)).strip()
    return Markdown(_SPECIAL.sub(lambda match: f"&#{ord(match[0])};", one_line))


def code(value: object) -> Markdown:
    """Inline code; by tag, because backticks show character references as they are written."""
    return Markdown(f"<code>{escape(value)}</code>")


def bold(value: object) -> Markdown:
    """Bold text."""
    return Markdown(f"**{escape(value)}**")


def link(text: object, target: str | PurePath) -> Markdown:
    """A link to a file, relative to the document."""
    return Markdown(f"[{escape(text)}]({quote(PurePath(target).as_posix())})")


def image(description: object, target: str | PurePath, width: str) -> Markdown:
    """An image file, relative to the document, `width` wide ("49%"): Markdown's own images know no width."""
    source = html.escape(quote(PurePath(target).as_posix()))
    return Markdown(f'<img src="{source}" alt="{escape(description)}" width="{width}">')


def table(header: Sequence[object], rows: Sequence[Sequence[object]], numbers_from: int) -> Markdown:
    """A table whose columns from number `numbers_from` (counted from 0) on are aligned right.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    rule = ["---" if column < numbers_from else "---:" for column in range(len(header))]
    lines = [[escape(cell) for cell in header], rule]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells in a table of {len(header)} columns: {row}")
        lines.append([escape(cell) for cell in row])
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def block(lines: Sequence[str]) -> Markdown:
    """A block of shell commands, fenced by more backticks than it holds."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}sh\n{text}\n{fence}")


def enumerate_words(words: Sequence[str]) -> str:
    """Words as a sentence lists them: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
