"""The report as one HTML page: complete in itself, with anchors, callouts and tables that programs understand."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_pages import Page

from deepnets.reporting.markdown import image, table
from deepnets.reporting.page import render_page
from deepnets.utils import paths
from deepnets.utils.errors import UserError


class Attributes(HTMLParser):
    """The attributes of all tags of a page, as {"tag": [{"name": "value"}]}."""

    def __init__(self, page: str):
        super().__init__()
        self.of: dict[str, list[dict]] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.of.setdefault(tag, []).append(dict(attrs))


def main_of(page: str) -> str:
    return page.partition("<main>")[2].partition("</main>")[0]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", "[!NOTE]"])
def test_text_of_users_is_text_on_the_page(experiment, write_report, tmp_path, text):
    directory = experiment(classes=[text, "x"], accuracy=0.5, warnings=[text])
    write_report(directory, study=text, datasets={"digits": {"note": text}})
    page = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    assert text in unescape(re.sub("</?span>", "", page))
    found = Attributes(page).of
    assert len(found["script"]) == len(found["style"]) == 1
    assert not [values for tags in found.values() for values in tags if "onerror" in values]


def test_only_the_pages_own_script_may_run_and_nothing_may_be_fetched(tmp_path):
    page = render_page("# A title\n\nText\n", tmp_path)
    policy = next(meta["content"] for meta in Attributes(page).of["meta"] if "http-equiv" in meta)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|@import|url\(", page)


def picture_on_page(picture: Image.Image, folder: Path) -> bytes:
    """The bytes of a picture that a page has inside."""
    (folder / "a b").mkdir()
    picture.save(folder / "a b/c.png")
    page = render_page(image('curves of "a"', "a b/c.png", "49%") + "\n", folder)
    [shown] = Attributes(main_of(page)).of["img"]
    assert shown["alt"] == 'curves of "a"'
    kind, _, data = shown["src"].partition(";base64,")
    assert kind == "data:image/webp"
    return base64.b64decode(data)


def test_drawings_are_inside_with_the_same_pixels(tmp_path):
    picture = Image.new("RGBA", (200, 100), "white")
    picture.paste("navy", (10, 50, 190, 53))
    content = picture_on_page(picture, tmp_path)
    assert Image.open(BytesIO(content)).convert("RGBA").tobytes() == picture.tobytes()


def test_photographs_are_inside_in_fewer_bytes_and_look_the_same(tmp_path):
    picture = Image.effect_noise((200, 100), 20).convert("RGBA")
    content = picture_on_page(picture, tmp_path)
    lossless = BytesIO()
    picture.save(lossless, "webp", lossless=True)
    assert len(content) < 0.8 * len(lossless.getvalue())
    shown = np.asarray(Image.open(BytesIO(content)).convert("RGB"), dtype=float)
    assert np.abs(shown - np.asarray(picture.convert("RGB"))).mean() < 8


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_a_picture_that_is_missing_or_damaged_is_named(tmp_path, content):
    if content:
        (tmp_path / "x.png").write_bytes(content)
    page = main_of(render_page(image("curves", "x.png", "49%") + "\n", tmp_path))
    assert "curves: the picture x.png is missing or damaged" in page
    assert "<img" not in page


def test_contents_lead_to_the_headings_and_the_title_is_the_first(tmp_path):
    page = render_page(
        "# The &#60;b&#62; study\n\n## Results\n\n### a_b\n\n### a_b\n\n### a_b-1\n\n#### Behaviour\n\n## Cost\n",
        tmp_path,
    )
    assert "<title>The &lt;b&gt; study</title>" in page
    targets = [link["href"] for link in Attributes(page).of["a"]]
    assert targets == ["#results", "#a_b", "#a_b-1", "#a_b-1-1", "#behaviour", "#cost"]
    assert [f"#{name}" for name in re.findall(r'<h[234] id="(.*?)"', page)] == targets


@pytest.mark.parametrize("word", ["Note", "Warning"])
def test_callouts_of_code_hosts_are_callouts(tmp_path, word):
    page = main_of(render_page(f"> [!{word.upper()}]\n> - Too few images.\n\n> A quotation\n", tmp_path))
    assert [each.get("class") for each in Attributes(page).of["blockquote"]] == [f"callout {word.lower()}", None]
    assert [text for text in Page(page).texts if text.strip()] == [word, "Too few images.", "A quotation"]


def test_tables_have_headers_of_columns_and_rows_and_can_be_scrolled_with_keys(tmp_path):
    text = table(["Model", "Accuracy"], [["a", 1], ["b", 2]], numbers_from=1) + "\n\n"
    text += table(["", ""], [["Commit", "abc"]], numbers_from=2) + "\n"
    page = main_of(render_page(text, tmp_path))
    scopes = [header["scope"] for header in Attributes(page).of["th"]]
    assert scopes == ["col", "col", "row", "row", "row"]
    assert page.count("<thead>") == page.count("</thead>") == 1
    assert page.count("<th ") == page.count("</th>")
    assert [each["tabindex"] for each in Attributes(page).of["div"]] == ["0", "0"]


@pytest.mark.parametrize("name", paths.PAGE_TEMPLATES)
def test_a_missing_template_is_named_with_the_remedy(tmp_path, monkeypatch, name):
    missing = [each if each != name else str(tmp_path / Path(each).name) for each in paths.PAGE_TEMPLATES]
    monkeypatch.setattr(paths, "PAGE_TEMPLATES", missing)
    with pytest.raises(UserError, match=rf"{Path(name).name}: the file is missing; restore it with: git checkout"):
        render_page("# A title\n", tmp_path)
