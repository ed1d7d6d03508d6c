"""The report's page, and the one of `snakemake --report`, as a reader's browser shows them."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from deepnets.reporting import experiments
from deepnets.reporting.markdown import table
from deepnets.reporting.page import render_page
from deepnets.reporting.report import write_report
from deepnets.utils.files import read_json

RUNS = Path(__file__).parents[2] / "docs/runs"
REPORTS = sorted(file.relative_to(RUNS).as_posix() for file in RUNS.glob("*/report.*"))
BROKEN_PICTURES = "[...document.images].filter(each => each.currentSrc && !each.naturalWidth).length"
OPEN_ALL = "document.querySelectorAll('main details').forEach(each => each.open = true)"


def rendered(report: Path, page: Path) -> Path:
    """Write the page that the present code makes of a report; return its path."""
    page.write_text(render_page(report.read_text(encoding="utf-8"), report.parent), encoding="utf-8")
    return page


@pytest.fixture(params=[*REPORTS, "study"])
def report(request, tmp_path) -> Path:
    """A page that docs/ has, as it is; what is made of a report there; or the page of the tests' own study.

    The classes of that study have hostile names.
    """
    if request.param == "study":
        return request.getfixturevalue("finished_study") / "results/report.html"
    file = RUNS / request.param
    return file if file.suffix == ".html" else rendered(file, tmp_path / "report.html")


def serious(page: Page) -> dict[str, str]:
    """Return what axe finds on a page that keeps readers out: its id, and where the first one is."""
    found = Axe().run(page).response["violations"]
    return {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in ("serious", "critical")}


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
    assert serious(page) == {}


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


def test_a_figure_is_enlarged_by_a_key_and_escape_leads_back_to_it(open_page, tmp_path):
    page = open_page(rendered(RUNS / "demo/report.md", tmp_path / "report.html"), 360).page
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


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_page_of_an_experiment_opens_from_a_large_report_and_leads_back(
    open_page, study, monkeypatch, width, scheme
):
    monkeypatch.setattr(experiments, "_IN_FULL", 2)  # the study has three experiments
    write_report(read_json(study / "results/environment.json")["spec"], study)
    page, problems = open_page(study / "results/report.html", width, scheme)
    page.get_by_text("3 experiments on shapes").click()
    page.get_by_role("link", name="page", exact=True).first.click()
    page.wait_for_url("**/report.pages/**/seed0.html")
    assert page.locator("h1").inner_text().startswith("MobileNetV2 on shapes")
    assert page.locator(".figure img").count() == 2
    assert page.evaluate(BROKEN_PICTURES) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert serious(page) == {}
    page.get_by_role("link", name="The report").click()
    page.wait_for_url("**/results/report.html")
    assert problems == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_list_of_all_experiments_opens_from_a_large_report_and_leads_to_their_pages(
    open_page, study, monkeypatch, width, scheme
):
    for limit in ("_IN_FULL", "_ROWS", "ROWS"):
        monkeypatch.setattr(experiments, limit, 2)
    write_report(read_json(study / "results/environment.json")["spec"], study)
    page, problems = open_page(study / "results/report.html", width, scheme)
    page.get_by_text("3 experiments on shapes: the 2 that are best").click()
    page.get_by_role("link", name="the list of all experiments").click()
    page.wait_for_url("**/report.pages/index.html")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert serious(page) == {}
    assert page.get_by_role("link", name="seed 0").count() == 3
    page.get_by_role("link", name="seed 0").last.click()
    page.wait_for_url("**/report.pages/**/seed0.html")
    assert problems == []


@pytest.fixture(scope="module")
def workflow_page(finished_study, snakemake, tmp_path_factory) -> Path:
    """The page of `snakemake --report`."""
    folder = shutil.copytree(finished_study, tmp_path_factory.mktemp("workflow") / "study", symlinks=True)
    done = snakemake(folder, "--report", "workflow.html", cores=None)
    assert done.returncode == 0, done.stdout
    return folder / "workflow.html"


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("category", ["Comparison", "Experiments"])
def test_snakemakes_page_shows_every_picture_without_an_error(open_page, workflow_page, category, width):
    page, problems = open_page(workflow_page, width)
    page.get_by_role("link", name=category).click()
    shows, dataset = page.locator("a[iconname=eye]"), page.get_by_text("shapes", exact=True)
    shows.or_(dataset).first.wait_for()
    if not shows.count():
        dataset.click()
        shows.first.wait_for()
    pictures = set()
    for switch in page.locator("fieldset label").all() or [None]:  # between two values of a label
        if switch:
            switch.click()
        for show in shows.all():
            show.click()
            page.wait_for_function("document.querySelector('div.p-3 > img')?.naturalWidth > 500")
            pictures.add(page.locator("div.p-3 > img").get_attribute("src"))
    assert len(pictures) == page.evaluate("category => categories[category].shapes.length", category) >= 6
    assert page.evaluate(BROKEN_PICTURES) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert problems == []
    assert serious(page) == {}
