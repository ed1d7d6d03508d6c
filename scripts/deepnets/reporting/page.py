"""Turn a report's Markdown into one HTML page that needs no other file: pictures, style and script are inside."""

import base64
import hashlib
import html
import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from PIL import Image

from deepnets.reporting.templates import read_template
from deepnets.utils import paths

_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)" width="([\d.]+%)">')  # as deepnets.reporting.markdown.image
_PAGE = re.compile(r"((?:\.\./)*report[^/]*(?:\.pages/.+)?|.+/seed\d+)\.md")  # the report and its pages
_CALLOUT = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]\s*")


@dataclass
class Heading:
    """A heading of the page, with those below it in the table of contents."""

    id: str
    text: str
    below: list["Heading"] = field(default_factory=list)


def render_page(markdown: str, folder: Path) -> str:
    """Return a report, or its page about an experiment, as one HTML page; links to files stay relative to it.

    Links between these pages lead from HTML to HTML.

    Args:
        markdown: the report. All text of users in it is escaped (deepnets.reporting.markdown), its tags are the
            report's own.
        folder: of the report; the pictures that it names are read from there. One that is missing or damaged is named
            in its place.

    Raises:
        UserError: a template is missing.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    tokens = parser.parse(markdown)
    title, contents = _mark_headings(tokens)
    _mark_callouts(tokens)
    _mark_tables(tokens)
    body = parser.renderer.render(tokens, parser.options, {"folder": folder})
    return fill_page(paths.PAGE_TEMPLATES, title=title, contents=contents, body=body)


def fill_page(templates: Sequence[str], **values: Any) -> str:
    """Return a page with its style and its script inside; its frame tells the browser to run no other script.

    Args:
        templates: the frame, the style and the script, as paths from the repository.
        values: what the frame shows besides.

    Raises:
        UserError: a template is missing.
    """
    source, style, script = (read_template(paths.REPOSITORY / name) for name in templates)
    environment = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(source).render(style=style, script=script, script_hash=script_hash, **values)


# -- what Markdown does not know, marked in its tokens ----------------------------------------------------------------


def _mark_headings(tokens: Sequence[Token]) -> tuple[str, list[Heading]]:
    """Give each heading the id that code hosts give it.

    Returns:
        The text of the first heading, and the table of contents: the headings of the second level, each with those of
        the third and fourth below it.
    """
    title, contents, used = "", list[Heading](), set[str]()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or [] if child.type != "html_inline")
        name = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
        names = (f"{name}-{number}" if number else name for number in count())
        heading = Heading(next(each for each in names if each not in used), text)
        used.add(heading.id)
        opening.attrSet("id", heading.id)
        title = title or text
        if opening.tag == "h2":
            contents.append(heading)
        elif opening.tag in ("h3", "h4") and contents:
            contents[-1].below.append(heading)
    return title, contents


def _mark_callouts(tokens: Sequence[Token]) -> None:
    """Let a quotation that starts with [!WARNING] or a similar word be a callout with that word as its title."""
    for opening, _, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        kind = _CALLOUT.match(inline.content) if opening.type == "blockquote_open" else None
        if kind and inline.children:
            word = kind[1].lower()
            opening.attrSet("class", f"callout {word}")
            first = inline.children[0]
            first.content = first.content.removeprefix(f"[!{kind[1]}]")
            inline.children.insert(0, Token("html_inline", "", 0, content=f"<strong>{word.capitalize()}</strong>"))


def _mark_tables(tokens: Sequence[Token]) -> None:
    """Let the first cell of each row be the header of its row; hide a header of columns that is empty."""
    for row, cell, _, cell_end in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if row.type == "tr_open" and cell.type == "td_open":
            cell.tag = cell_end.tag = "th"
            cell.attrSet("scope", "row")
    places = [place for place, token in enumerate(tokens) if token.type in ("thead_open", "thead_close")]
    for start, end in zip(places[::2], places[1::2], strict=True):
        head = tokens[start : end + 1]
        is_empty = not any(token.content for token in head)
        for token in head:
            token.hidden = is_empty
            if token.type == "th_open":
                token.attrSet("scope", "col")


# -- how tokens become HTML -------------------------------------------------------------------------------------------


def _table(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, _: MutableMapping[str, Any]
) -> str:
    """Return the start of a table that scrolls by itself, with the mouse and with keys, where it is too wide."""
    return f'<div class="scroll" tabindex="0">{renderer.renderToken(tokens, place, options, {})}'


def _table_end(*_: object) -> str:
    return "</table></div>\n"


def _link(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    if page := _PAGE.fullmatch(str(tokens[place].attrGet("href"))):
        tokens[place].attrSet("href", f"{page[1]}.html")
    return renderer.renderToken(tokens, place, options, env)


def _block_of_code(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return renderer.fence(tokens, place, options, env).replace("<pre>", '<pre tabindex="0">', 1)


def _block_of_tags(
    _: RendererHTML, tokens: Sequence[Token], place: int, _options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    content, pictures = _with_pictures(tokens[place].content, env["folder"])
    return f'<div class="figures">\n{content}</div>\n' if pictures else content


def _tag(
    _: RendererHTML, tokens: Sequence[Token], place: int, _options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return _with_pictures(tokens[place].content, env["folder"])[0]


_RULES: dict[str, Any] = {
    "table_open": _table,
    "table_close": _table_end,
    "link_open": _link,
    "fence": _block_of_code,
    "html_block": _block_of_tags,
    "html_inline": _tag,
}


def _with_pictures(tags: str, folder: Path) -> tuple[str, int]:
    """Put the pictures themselves into the tags that name them; return how many there are."""

    def embed(match: re.Match[str]) -> str:
        source, alternative, width = match.groups()
        try:
            data = base64.b64encode(_compressed(folder / unquote(html.unescape(source)))).decode()
        except OSError:
            return f'<em class="missing">{alternative}: the picture {source} is missing or damaged</em>'
        image = f'<img src="data:image/webp;base64,{data}" alt="{alternative}">'
        return f'<span class="figure" style="--width: {width}">{image}</span>'

    return _IMAGE.subn(embed, tags)


def _compressed(picture: Path) -> bytes:
    """Return a picture as WebP: lossless, or at quality 90 if that is smaller, as it is for photographs.

    Lines and text are smaller if lossless: the same pixels in 40 % of the bytes of Matplotlib's PNG.
    """
    ways: tuple[dict[str, Any], ...] = ({"lossless": True, "quality": 20}, {"quality": 90})  # quality 20: the effort
    with Image.open(picture) as image:
        return min((_as_webp(image, way) for way in ways), key=len)


def _as_webp(image: Image.Image, options: dict[str, Any]) -> bytes:
    content = BytesIO()
    image.save(content, "webp", **options)
    return content.getvalue()
