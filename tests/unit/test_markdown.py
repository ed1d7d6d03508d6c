"""Text that cannot break a Markdown page."""

import html
import re

import pytest

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
]


@pytest.mark.parametrize("name", HOSTILE)
def test_escaped_text_reads_as_it_was_and_means_nothing(name):
    escaped = escape(name)
    assert html.unescape(escaped) == " ".join(name.split())
    assert not re.search(r"[|<>`*\[\]\\$~\"\n]|&(?!#\d+;)|(^|\W)_|_(\W|$)", escaped)


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
    assert image('a"b', 'x"y.png', "49%") == '<img src="x%22y.png" alt="a&#34;b" width="49%">'


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
