"""Text that cannot break a Markdown page."""

import html
import re

import pytest
from report_pages import rendered

from deepnets.reporting.markdown import Markdown, block, bold, code, enumerate_words, escape, image, link, table

HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "`code`",
    "two\nlines\r\nand\ttabs",
    "[link](http://x)",
    "![image](x)",
    "*bold* **bolder** _it_ __em__",
    "$math$",
    "~~gone~~",
    "&amp; \\| \\",
    '"quoted"',
    "\u2028separators\u2029 and \x0b \x85",
    "ünïcødé 猫 🐶",
    "# Owned",
    "#",
    "- item",
    "-",
    "+ item",
    "---",
    "- - -",
    "===",
    "1. one",
    "12) twelve",
    "> quote",
    "    code",
    "~~~",
    "www.x.example",
    "https://x.example",
    "MAILTO:me@x.example",
    "me@x.example",
    "@user",
    "#12",
    "x/y#12",
    "!12 GH-12 %12 ~12",
    ":smile:",
    ":+1:",
    "<b>",
    "|",
    "$x$",
    "$5",
    "[a](b)",
    "[^1]",
    "[x]: y",
    "{{ page.title }} {% raw %}",
    "<!-- -->",
]


# What code hosts look for in each piece of text of a page, which markdown-it does not.
LINKED = re.compile(
    r"\w@\w|@\w|www\.|(https?|mailto):|[#!%~&$]\w|GH-\d|:[\w+-]+:|\$.*\$",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("before", ["", "Errors:\n", "> - ", "Most: "], ids=["page", "line", "list", "text"])
def test_a_name_is_plain_text_wherever_it_stands(name, before):
    page = rendered(f"{before}{escape(name)}\n")
    expected = rendered(f"{before}name\n")
    assert set(page.tags) - {"span"} == set(expected.tags)
    assert "".join(page.texts).split() == "".join(expected.texts).replace("name", name).split()
    assert not [text for text in page.texts if LINKED.search(text)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_plain_text_in_bold_code_links_and_pictures(name):
    page = rendered(f"{bold(name)} {code(name)} {link(name, 'x')} {image(name, 'x', '9%')}\n")
    assert set(page.tags) - {"span"} == {"p", "strong", "code", "a", "img"}
    assert "".join(page.texts).split() == f"{name} {name} {name}".split()


@pytest.mark.parametrize("name", HOSTILE)
def test_escaped_text_needs_no_renderer_to_be_harmless(name):
    escaped = re.sub("</?span>", "", escape(name))
    assert html.unescape(escaped) == " ".join(name.split())
    assert not re.search(r"[|<>{}`*\[\]\\$~\"\n]|&(?!#\d+;)|(^|\W)_|_(\W|$)", escaped)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("c\u200bat", "c\\u200bat"),
        ("c\u200dat", "c\\u200dat"),
        ("cat\ufe0f", "cat\\ufe0f"),
        ("cat\u3164", "cat\\u3164"),
        ("cat\u180b \u2065 \U0001d159", "cat\\u180b \\u2065 \\U0001d159"),
        ("so\xadft", "so\\xadft"),
        ("\ufeffcat\x00", "\\ufeffcat\\x00"),
        ("👩\u200d🚒 ❤\ufe0f", "👩\u200d🚒 ❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_hidden_characters_are_shown_as_escapes_where_they_shape_nothing(name, shown):
    assert html.unescape(escape(name)) == shown
    assert f'alt="{shown}"' in image(name, "x", "9%")


def test_an_underscore_within_a_name_stays_readable():
    assert escape("my_own_net2") == "my_own_net2"


def test_markdown_is_not_escaped_again():
    assert escape(Markdown("**a**")) == "**a**"
    assert bold("a*b") == "**a&#42;b**"
    assert code("a`b") == "<code>a&#96;b</code>"


def test_a_no_break_space_stays():
    assert escape("5\N{NO-BREAK SPACE}s") == "5\N{NO-BREAK SPACE}s"


def test_links_and_images_survive_any_path():
    assert link("a]b", "x y/(z).json") == "[a&#93;b](x%20y/%28z%29.json)"
    assert image('a"b', 'x"y.png', "49%") == '<img src="x%22y.png" alt="a&quot;b" width="49%">'


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_keeps_its_shape_whatever_is_in_it(name):
    lines = table(["Name", name], [[name, 1], ["plain", 2]], numbers_from=1).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {3}
    assert lines[1] == "| --- | ---: |"


def test_a_row_of_another_length_is_a_defect():
    with pytest.raises(ValueError, match="3 cells in a table of 2 columns"):
        table(["a", "b"], [[1, 2, 3]], numbers_from=1)


def test_a_block_cannot_be_closed_from_within():
    assert block(["echo ```"]).splitlines()[0] == "````sh"


def test_words_are_listed_as_in_a_sentence():
    assert [enumerate_words(list(words)) for words in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
