"""The report's page, and the one of `snakemake --report`, as a reader's browser shows them."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from deepnets.reporting.markdown import table
from deepnets.reporting.page import render_page

RUNS = ("demo", "reference", "budget")
BROKEN_PICTURES = "[...document.images].filter(each => each.currentSrc && !each.naturalWidth).length"
OPEN_ALL = "document.querySelectorAll('main details').forEach(each => each.open = true)"


@pytest.fixture(params=[*RUNS, "study"])
def report(request, root, tmp_path) -> Path:
    """The page of a run that docs/ has, or of the tests' own study, whose classes have hostile names."""
    if request.param == "study":
        return request.getfixturevalue("finished_study") / "results/report.html"
    folder = root / "docs/runs" / request.param
    page = tmp_path / "report.html"
    page.write_text(render_page((folder / "report.md").read_text(encoding="utf-8"), folder), encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [360, 1280])
def test_the_report_has_all_its_pictures_no_error_and_does_not_scroll_sideways(open_page, report, width):
    page, problems = open_page(report, width)
    page.evaluate(OPEN_ALL)
    assert page.locator(".figure img").count() > 6
    assert page.evaluate(BROKEN_PICTURES) == 0
    assert page.locator(".missing").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert problems == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_nothing_in_the_report_keeps_a_reader_out(open_page, report, width, scheme):
    page, _ = open_page(report, width, scheme)
    page.evaluate(OPEN_ALL)
    found = Axe().run(page).response["violations"]
    assert {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in ("serious", "critical")} == {}


ROWS = [
    ["a", "1,000 (1 to 2)", "1 min 05 s", "bc"],
    ["b", "98.5", "59.9 s", "a"],
    ["b, published", "99", "–", "–"],
    ["difference", "−0.5", "2 s", "–"],
    ["c", "−3", "2 h 00 min", "b"],
]


@pytest.fixture
def rows(open_page, tmp_path):
    """Click a column's header; return the first cells of the rows then, and the header's aria-sort."""
    file = tmp_path / "report.html"
    text = table(["Model", "Value", "Time", "Group"], ROWS, numbers_from=1)
    file.write_text(render_page(f"# A title\n\n{text}\n", tmp_path), encoding="utf-8")
    page = open_page(file).page

    def click(column: str) -> tuple[list[str], str | None]:
        header = page.get_by_role("columnheader", name=column)
        header.get_by_role("button").click()
        return page.locator("tbody th").all_inner_texts(), header.get_attribute("aria-sort")

    return click


def test_a_column_is_sorted_up_then_down_then_as_it_was_and_a_difference_stays_with_its_row(rows):
    assert rows("Value") == (["c", "b", "b, published", "difference", "a"], "ascending")
    assert rows("Value") == (["a", "b, published", "difference", "b", "c"], "descending")
    assert rows("Value") == ([row[0] for row in ROWS], None)


def test_times_are_sorted_by_seconds_unknown_ones_last_and_words_by_their_letters(rows):
    assert rows("Time")[0] == ["b", "a", "c", "b, published", "difference"]
    assert rows("Time")[0] == ["c", "a", "b", "b, published", "difference"]
    assert rows("Group")[0] == ["b, published", "difference", "b", "c", "a"]
    assert rows("Model")[0] == ["a", "b", "b, published", "difference", "c"]


def test_a_figure_is_enlarged_by_a_key_and_escape_leads_back_to_it(open_page, root, tmp_path):
    folder = root / "docs/runs/demo"
    file = tmp_path / "report.html"
    file.write_text(render_page((folder / "report.md").read_text(encoding="utf-8"), folder), encoding="utf-8")
    page = open_page(file, 360).page
    figure = page.get_by_role("button", name="Test accuracy by model on digits")
    figure.press("Enter")
    assert page.locator("dialog img").bounding_box()["width"] > 600
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert figure.evaluate("each => each === document.activeElement")


def test_contents_are_open_where_there_is_room_and_lead_to_the_headings(open_page, root, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(render_page("# A title\n\n## Results\n\nText\n", tmp_path), encoding="utf-8")
    wide, narrow = open_page(file, 1280).page, open_page(file, 360).page
    assert wide.get_by_role("link", name="Results").is_visible()
    assert not narrow.get_by_role("link", name="Results").is_visible()
    narrow.get_by_text("Contents").click()
    narrow.get_by_role("link", name="Results").click()
    assert narrow.url.endswith("#results")


def test_snakemakes_page_shows_every_comparison_without_an_error(open_page, study, snakemake, tmp_path):
    file = tmp_path / "workflow.html"
    done = snakemake(study, "--report", str(file), cores=None)
    assert done.returncode == 0, done.stdout
    page, problems = open_page(file)
    page.get_by_role("link", name="Comparison").click()
    page.get_by_text("shapes", exact=True).first.click()
    shows = page.locator("a[iconname=eye]")
    shows.first.wait_for()
    for index in range(shows.count()):
        shows.nth(index).click()
        page.wait_for_function("[...document.images].some(each => each.naturalWidth > 500)")
        assert page.evaluate(BROKEN_PICTURES) == 0
    assert shows.count() >= 3
    assert problems == []
