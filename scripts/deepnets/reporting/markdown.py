"""Write Markdown that no name can break: everything is escaped except text of the type `Markdown`."""

import html
import re
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from deepnets.utils.visible import visible

# A character reference starts no heading, list, table cell, tag, link, emphasis or code, in Markdown and in HTML, nor a
# command of Liquid, which some hosts run on pages. The last part is what would start a heading or a list.
_SPECIAL = r"[&<>\"|`*\[\]\\~${}]|(?<![^\W_])_|_(?![^\W_])|^(?:\d+[.)]|[-+=#])(?!\d)"
# Code hosts look through the text of the page for addresses (www.x.example, a@b.example), people (@user), issues (#12,
# !12, GH-12), pictures (:smile:) and formulas ($x$). None of these reaches across the border of an element.
_LINKING = r"[@$]|(?<=www)\.|:(?=\S)|[#!~%&](?=\w)|(?<=gh)-(?=\d)"
_MEANING = re.compile(f"(?P<linking>{_LINKING})|{_SPECIAL}", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already."""


def escape(value: object) -> Markdown:
    """Return a value as one line of text that Markdown and code hosts show unchanged, except for hidden characters.

    Text of the type `Markdown` is kept. An underscore between letters or digits has no meaning and is kept, so that
    `my_net` stays readable.
    """
    if isinstance(value, Markdown):
        return value
    return Markdown(_MEANING.sub(_without_meaning, visible(str(value))))


def _without_meaning(match: re.Match[str]) -> str:
    before, reference = match[0][:-1], f"&#{ord(match[0][-1])};"
    return f"<span>{reference}</span>" if match["linking"] else before + reference


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
    alternative = html.escape(visible(str(description)))
    return Markdown(f'<img src="{source}" alt="{alternative}" width="{width}">')


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
