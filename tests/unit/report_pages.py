"""Helpers for tests of the report: change an experiment's files, read a page."""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

MNIST = {"dataset": "mnist", "n_test": 10_000, "accuracy": 0.9921}


def set_timing(directory: Path, **values) -> None:
    """Change values of an experiment's timing.json."""
    timing = json.loads((directory / "timing.json").read_text())
    (directory / "timing.json").write_text(json.dumps(timing | values))


def set_runs(directory: Path, *changes: dict) -> None:
    """Let an experiment's timing.json have a run for each change of its conditions; the last is its own."""
    timing = json.loads((directory / "timing.json").read_text())
    keys = ("device", "device_name", "precision", "threads", "deterministic", "accumulation", "versions")
    each = [{key: timing[key] for key in keys} | change for change in changes]
    runs = [{**run, "from_epoch": i, "to_epoch": i + 1, "seconds": 1.0} for i, run in enumerate(each)]
    (directory / "timing.json").write_text(json.dumps(timing | each[-1] | {"runs": runs}))


def set_recipe(directory: Path, **values) -> None:
    """Change values of the recipe in an experiment's metrics.json."""
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["spec"]["recipe"] |= values
    (directory / "metrics.json").write_text(json.dumps(metrics))


def set_dataset(directory: Path, **values) -> None:
    """Change values of the dataset in an experiment's metrics.json."""
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["spec"]["dataset"] |= values
    (directory / "metrics.json").write_text(json.dumps(metrics))


def set_size(directory: Path, *size: int) -> None:
    """Change the images of an experiment's metrics.json: channels, height and width."""
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["model"]["input_size"] = [1, *size]
    (directory / "metrics.json").write_text(json.dumps(metrics))


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a page, as lists of rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def table_of(text: str, first: str) -> list[list[str]]:
    """The first table of a page whose first column has this header."""
    return next(table for table in tables(text) if table[0][0] == first)


def summary(text: str) -> str:
    """What stands above the warnings and the conditions of a report, as plain text on one line."""
    blocks = unescape(text).split("\n\n")[1:]
    return " ".join(itertools.takewhile(lambda block: not block.startswith(("> ", "All numbers are")), blocks))


@dataclass(frozen=True)
class Table:
    """A table of a report, or of one of its pages: the last heading, and the last summary or title, above it, and its
    rows as texts without marks."""

    dataset: str
    summary: str
    header: list[str]
    rows: list[list[str]]


def plain(text: str) -> str:
    """What a reader sees of a line of Markdown that the report wrote."""
    without_links = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    without_tags = re.sub(r"<[^>]*>", "", without_links.replace("<br>", " ")).replace("**", "")
    return " ".join(unescape(without_tags).split())


def tables_in_place(report: str) -> Iterator[Table]:
    """Yield the tables of a report with what stands above them."""
    dataset, summary, lines = "", "", list[list[str]]()
    for line in [*report.splitlines(), ""]:
        if line.startswith("|"):
            lines.append([plain(cell) for cell in line.strip().strip("|").split("|")])
            continue
        if lines:
            yield Table(dataset, summary, lines[0], lines[2:])
            lines = []
        if line.startswith("# "):
            summary = plain(line.removeprefix("# "))
        if line.startswith(("## ", "### ")):
            dataset = plain(line.lstrip("# ").removeprefix("Each experiment on "))
        if "<summary>" in line:
            summary = plain(line.split("<summary>")[1].split("</summary>")[0])


class Page(HTMLParser):
    """The tags of an HTML page, and each of its pieces of text between two tags."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(markdown: str) -> Page:
    """A page of Markdown as code hosts show it, except for what they look for in its text."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))
