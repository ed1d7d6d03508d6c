"""The page of `make serve`, as a browser shows it: a picture is dropped or chosen, and its classes appear."""

import json
import re
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageOps

EXPERIMENT = "results/shapes/small/brief/seed0"
DROPPED = """bytes => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
  return transfer;
}"""


@pytest.fixture(scope="module")
def address(finished_study):
    """Serve an experiment of the tests' own study, whose classes have hostile names; return the page's address."""
    command = [sys.executable, "scripts/serve.py", EXPERIMENT, "--port", "0", "--gpus", "0"]
    with subprocess.Popen(command, cwd=finished_study, stderr=subprocess.PIPE, text=True) as process:
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))
        process.terminate()


@pytest.fixture(scope="module")
def picture(finished_study):
    """Return a picture of the class <script>."""
    return finished_study / "shapes/test/<script>/0.png"


@pytest.fixture(scope="module")
def best(finished_study, picture):
    """Return the class of the picture."""
    return class_of(finished_study, picture)


def class_of(study, picture, *options):
    """Return the class that scripts/predict.py names."""
    command = [sys.executable, "scripts/predict.py", EXPERIMENT, str(picture), "--json", "--gpus", "0", *options]
    done = subprocess.run(command, cwd=study, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["class"]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_a_chosen_picture_shows_its_classes_on_a_phone_and_a_laptop(open_page, address, picture, best, width, scheme):
    page, problems = open_page(address, width, scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    assert page.get_by_text("curl --data-binary").inner_text().endswith(f" {address}/predict")
    page.get_by_label("Drop a picture here").set_input_files(picture)
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody tr").count() == 5
    assert page.locator("tbody th").first.inner_text() == best
    assert page.get_by_role("status").inner_text().startswith(f"{best} (")
    page.get_by_role("img", name="The picture as the network gets it").wait_for()
    assert page.get_by_role("img", name="Your picture").evaluate("each => each.naturalWidth") == 16
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert all(url.startswith((address, f"blob:{address}")) for url in asked)
    assert problems == []
    found = Axe().run(page).response["violations"]
    assert {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in ("serious", "critical")} == {}


def test_a_dropped_picture_shows_its_classes(open_page, address, picture, best):
    page = open_page(address).page
    transfer = page.evaluate_handle(DROPPED, list(picture.read_bytes()))
    page.dispatch_event("h1", "drop", {"dataTransfer": transfer})
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody th").first.inner_text() == best


def test_a_picture_of_ink_on_paper_is_inverted_by_a_box_to_tick(open_page, address, finished_study, picture, tmp_path):
    page, problems = open_page(address, 360)
    ImageOps.invert(Image.open(picture)).save(tmp_path / "paper.png")
    best = class_of(finished_study, tmp_path / "paper.png", "--invert")
    page.get_by_label("Dark on bright paper: invert").check()
    page.get_by_label("Drop a picture here").set_input_files(tmp_path / "paper.png")
    page.locator("tbody tr").first.wait_for()
    inverted = page.get_by_role("status").inner_text()
    assert inverted.startswith(f"{best} (")
    page.get_by_label("Dark on bright paper: invert").uncheck()
    page.wait_for_function(
        "before => !['Predicting …', before].includes(document.querySelector('#state').textContent)", arg=inverted
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert problems == []


def test_what_is_no_picture_is_named_and_the_next_picture_is_predicted(open_page, address, picture, best, tmp_path):
    page = open_page(address).page
    text, large = tmp_path / "text.png", tmp_path / "large.png"
    text.write_text("no picture")
    with open(large, "wb") as file:
        file.truncate(21 * 2**20)
    file_input = page.get_by_label("Drop a picture here")
    file_input.set_input_files(text)
    page.get_by_text("the picture: not a whole JPEG").wait_for()
    file_input.set_input_files(large)
    page.get_by_text("the picture has more than 20 MB; make it smaller.").wait_for()
    assert not page.locator("table").is_visible()
    file_input.set_input_files(picture)
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody th").first.inner_text() == best
