"""The pages fit together: links lead somewhere, named tests and files exist, versions agree."""

import re
import tomllib

import pytest
import yaml

from deepnets.utils import paths


@pytest.fixture(scope="module")
def pages(root):
    """Every page that people write, by its path from the root; a run's report.md is a record."""
    files = [*root.glob("*.md"), *root.glob("config/*.md"), *root.glob("profiles/*.md"), *root.glob("docs/**/*.md")]
    return {file: file.read_text(encoding="utf-8") for file in files if file.name != "report.md"}


def anchors(text):
    """What a code host calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_and_a_heading(pages):
    broken, links = [], 0
    for page, text in pages.items():
        for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
            path, _, anchor = (link[0] or link[1]).partition("#")
            if "://" not in path:
                links += 1
                target = page.parent / path if path else page
                if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
                    broken.append(f"{page}: {link}")
    assert links > 50
    assert not broken


def test_every_page_is_on_the_map(root, pages):
    linked = re.findall(r"\]\(([^)#]+)\)", pages[root / "docs/README.md"])
    on_map = {(root / "docs" / link).resolve() for link in linked}
    on_map |= {folder / "README.md" for folder in on_map if folder.is_dir()}
    inside = {page.resolve() for page in pages if (root / "docs") in page.parents and page.name != "bench.md"}
    assert inside - {(root / "docs/README.md").resolve()} <= on_map


def test_every_run_has_a_row_on_the_map(root, pages):
    rows = re.findall(r"^\| \[runs/(\w+)\]\(runs/\1/README\.md\) \| ", pages[root / "docs/README.md"], re.MULTILINE)
    assert sorted(rows) == sorted(folder.name for folder in (root / "docs/runs").iterdir() if folder.is_dir())


def test_the_page_on_runs_has_the_command_of_each_stage(root, pages):
    by_hand = pages[root / "docs/how-to/run.md"].partition("## By hand\n")[2].partition("\n## ")[0]
    named = re.findall(r"python scripts/(\w+)\.py [\w/]+", by_hand)
    assert sorted(named) == sorted(paths.OUTPUTS)


def test_every_test_that_a_guarantee_names_exists(root, pages):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", pages[root / "docs/guarantees.md"])
    assert len(named) > 20
    for file, name in named:
        assert re.search(rf"^def {name}\(", (root / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{name}"


def test_architecture_names_every_room_of_the_library_in_picture_and_table(root, pages):
    page = pages[root / "docs/architecture.md"]
    rooms = {folder.parent.name for folder in (root / "scripts/deepnets").glob("*/__init__.py")}
    picture = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)[1]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == rooms
    assert {word for line in picture.splitlines() for word in re.findall(r"(?:--> |& )(\w+)", line)} == rooms


def test_architecture_names_only_files_that_exist_and_at_most_two_for_a_change(root, pages):
    section = pages[root / "docs/architecture.md"].partition("## To add something")[2]
    rows = re.findall(r"^\| (an? .*?) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 8
    for change, files in rows:
        paths = re.findall(r"`([\w/<>]+/[\w<>.]+)`", files)
        assert 1 <= len(paths) <= 2 or "for example" in files, change
        for path in paths:
            folder = root if path.startswith("profiles/") else root / "scripts/deepnets"
            assert list(folder.glob(path.replace("<name>", "*"))), f"{change}: {path}"


def test_version_and_its_date_are_the_same_in_project_changelog_and_citation(root, pages):
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    newest = re.search(r"^## \[(\d[^]]*)\] - (\S+)$", pages[root / "CHANGELOG.md"], re.MULTILINE)
    assert newest.groups() == (version, str(citation["date-released"]))


def test_hooks_before_a_commit_download_nothing(root):
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        assert all(hook["language"] == "system" for hook in repository["hooks"])
