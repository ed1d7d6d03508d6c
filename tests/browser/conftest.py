"""A Chromium without a window, and what it says about a page."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

WIDTHS = {360: 740, 1280: 900}  # pixels: of a phone and of a laptop, with their heights


class Opened(NamedTuple):
    """A page in a browser; `problems`: its errors, and requests that failed."""

    page: Page
    problems: list[str]


@pytest.fixture(scope="session")
def browser(skip: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """Start Chromium; skip the test if it is not installed."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        skip("needs Chromium: install Debian's package chromium, as `make test-browser` does as root")
    # Chromium's own sandbox does not start for root; the pages are our own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Open a file or an address: `open_page(file, width=360, scheme="dark") -> Opened`."""
    pages = []

    def open_file(file: Path | str, width: int = 1280, scheme: str = "light") -> Opened:
        page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
        pages.append(page)
        problems: list[str] = []
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(request.url[:200]))
        page.goto(file if isinstance(file, str) else file.resolve().as_uri())
        return Opened(page, problems)

    yield open_file
    for page in pages:
        page.close()
