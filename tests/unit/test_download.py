"""Downloads and mirrors, tried against a small server on the loopback interface."""

import gzip
import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from download_server import CONTENT, assert_refused, fetched, md5, raw_file

from deepnets.data import download as fetch
from deepnets.data import progress, raw_files
from deepnets.data.raw_files import Raw, RawFile
from deepnets.data.sources import folder as folder_source
from deepnets.data.sources import torchvision as torchvision_source
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json
from deepnets.utils.logging import LOG

# -- over the network


def test_file_is_downloaded(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["file.bin"]


def test_right_file_is_kept_without_a_request(server, tmp_path):
    file = raw_file(f"{server.url}/file.bin")
    fetched(file, tmp_path)
    fetched(file, tmp_path)
    assert len(server.requests) == 1


def test_wrong_file_is_replaced(server, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "file.bin").write_bytes(CONTENT[:-1])
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT


def test_busy_server_is_asked_again(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/busy"), tmp_path) == CONTENT
    assert len(server.requests) == 3


def test_interrupted_download_continues_where_it_stopped(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/breaks"), tmp_path) == CONTENT
    assert server.requests == [("/breaks", None), ("/breaks", "bytes=1000-")]


def test_broken_download_restarts_where_the_server_cannot_go_on(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/breaks-whole"), tmp_path) == CONTENT


def test_next_address_is_tried_after_404(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/missing", f"{server.url}/file.bin"), tmp_path) == CONTENT
    assert [path for path, _ in server.requests] == ["/missing", "/file.bin"]


def test_file_is_stored_as_the_server_has_it_not_unpacked(server, tmp_path):
    packed = gzip.compress(CONTENT, mtime=0)
    assert fetched(raw_file(f"{server.url}/packed", content=packed), tmp_path) == packed


def test_mirror_address_comes_before_the_official_one(server, tmp_path):
    fetched(raw_file(f"{server.url}/official"), tmp_path, mirror=f"{server.url}/mirror/")
    assert [path for path, _ in server.requests] == ["/mirror/file.bin"]


def test_404_names_the_address_and_what_to_do(server, tmp_path):
    file = raw_file(f"{server.url}/missing")
    assert_refused(file, tmp_path, f"{server.url}/missing: HTTP 404", "DEEPNETS_MIRROR", "datasets.birds")


def test_failed_download_reports_that_the_mirror_was_searched(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path))
    assert_refused(raw_file(f"{server.url}/missing"), tmp_path, f"not in {tmp_path}", "HTTP 404")


def test_download_that_always_breaks_is_refused(server, tmp_path):
    with pytest.raises(UserError, match=r"file\.bin: could not.*broke off after 1,000 bytes"):
        fetched(raw_file(f"{server.url}/always-breaks"), tmp_path)
    assert len(server.requests) == 1 + fetch.ATTEMPTS


def test_wrong_hash_names_both_hashes(server, tmp_path):
    assert_refused(raw_file(f"{server.url}/short"), tmp_path, md5(CONTENT), md5(CONTENT[:-1]), "file.bin")


def test_no_network_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        assert_refused(raw_file(url), tmp_path, f"{url}: no connection")


def test_redirect_away_from_https_is_refused(server, tmp_path):
    assert_refused(raw_file(f"{server.url}/redirect"), tmp_path, "example.invalid", "not an https:// address")


@pytest.mark.parametrize(("answer", "kind"), [("page", "a web page"), ("nothing", "an empty file")])
def test_page_or_nothing_instead_of_the_file_is_named(server, tmp_path, answer, kind):
    assert_refused(raw_file(f"{server.url}/{answer}"), tmp_path, "wrong hash", f"; it is {kind})")


@pytest.mark.parametrize(
    "mirror", ["http://example.org/data", "ftp://example.org", "file:///data", "https://", "https://[::1"]
)
def test_insecure_mirror_is_refused(mirror, tmp_path):
    assert_refused(raw_file(), tmp_path, mirror, "https://", "folder", mirror=mirror)


def test_own_archive_is_not_downloaded_without_a_hash(server, tmp_path):
    assert_refused(RawFile("own.zip"), tmp_path, "sha256", "own.zip", mirror=server.url)
    assert server.requests == []


# -- from folders


@pytest.mark.parametrize("place", ["birds/file.bin", "file.bin"])
def test_mirror_variable_serves_both_layouts(place, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "mirror"))
    path = tmp_path / "mirror" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetched(raw_file("https://example.invalid/file.bin"), tmp_path) == CONTENT


def test_mirror_folder_of_the_config_serves(tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert fetched(raw_file(), tmp_path, mirror=str(tmp_path)) == CONTENT


def test_mirror_without_the_file_leaves_it_to_the_official_address(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path))
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT


@pytest.mark.parametrize("variable", [True, False])
def test_mirror_that_is_no_folder_is_named(variable, tmp_path, monkeypatch):
    missing = str(tmp_path / "missing")
    if variable:
        monkeypatch.setenv("DEEPNETS_MIRROR", missing)
    name = "DEEPNETS_MIRROR" if variable else "datasets.birds.mirror"
    assert_refused(raw_file(), tmp_path, name, missing, mirror=None if variable else missing)


def test_wrong_file_in_a_mirror_is_named_and_not_ignored(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"other")
    file = raw_file(f"{server.url}/file.bin")
    assert_refused(file, tmp_path, str(tmp_path / "file.bin"), md5(b"other"), md5(CONTENT), mirror=str(tmp_path))


def test_gz_packed_again_is_known_by_its_content(tmp_path):
    (tmp_path / "file.gz").write_bytes(gzip.compress(CONTENT, compresslevel=1))
    file = RawFile("file.gz", md5="0" * 32, content_md5=md5(CONTENT))
    assert gzip.decompress(fetched(file, tmp_path, mirror=str(tmp_path))) == CONTENT


@pytest.mark.parametrize("content", [gzip.compress(CONTENT)[:-9], b"no gzip", b""], ids=["truncated", "text", "empty"])
def test_damaged_gz_is_refused(content, tmp_path):
    (tmp_path / "file.gz").write_bytes(content)
    file = RawFile("file.gz", md5="0" * 32, content_md5=md5(CONTENT))
    assert_refused(file, tmp_path, "wrong hash", md5(CONTENT), mirror=str(tmp_path))


# -- what the official sources say


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN"])
def test_official_files_have_hashes_and_https_addresses(name):
    files = torchvision_source.official_files(name)
    assert len(files) == {"CIFAR10": 1, "CIFAR100": 1, "SVHN": 2}.get(name, 4)
    assert all(file.urls and len(file.md5) == 32 for file in files)
    assert all(url.startswith("https://") and url.endswith(file.name) for file in files for url in file.urls)


# -- raw.json


def run_download(tmp_path: Path, spec: dict, mirror: str | None = None) -> dict:
    output = tmp_path / "data" / "birds" / "raw.json"
    fetch.download("birds", spec, mirror, output)
    return json.loads(output.read_text())


def run_script(tmp_path: Path, scripts: Path, spec: dict, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call scripts/download.py for the dataset birds, with its data/ in tmp_path."""
    write_json(tmp_path / "job.json", {"spec": spec, "state": "as listed"})
    command = [sys.executable, scripts / "download.py", "birds", "--job", tmp_path / "job.json", "--root", tmp_path]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_script_finds_a_job_by_its_name_and_writes_below_its_root(tmp_path, root):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "birds.zip").write_bytes(CONTENT)
    spec = {"source": "folder", "path": "birds.zip"}
    done = run_script(tmp_path, root / "scripts", spec, "--mirror", str(tmp_path / "mirror"))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "data" / "birds" / "raw.json").read_text())
    assert [file["name"] for file in manifest["files"]] == ["birds.zip"]
    assert manifest["state"] == "as listed"


def test_script_ends_with_2_and_plain_lines_after_an_error_of_the_user(tmp_path, root):
    (tmp_path / "birds.zip").write_bytes(CONTENT)
    spec = {"source": "folder", "path": str(tmp_path / "birds.zip"), "sha256": "0" * 64}
    done = run_script(tmp_path, root / "scripts", spec)
    assert done.returncode == 2
    assert "wrong hash: sha256" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "birds" / "raw.json").exists()


def test_manifest_lists_files_with_size_and_hash(tmp_path):
    (tmp_path / "birds.zip").write_bytes(CONTENT)
    spec = {"source": "folder", "path": str(tmp_path / "birds.zip")}
    raw = run_download(tmp_path, spec, "")
    assert raw == {
        "spec": spec,
        "files": [{"name": "birds.zip", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}],
        "state": None,
    }
    assert (tmp_path / "data" / "birds" / "raw" / "birds.zip").read_bytes() == CONTENT


def test_many_files_are_hashed_in_order_with_lines_of_progress(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    names = [f"{index}.png" for index in range(60)]
    for name in names:
        (tmp_path / name).write_text(name)
    with caplog.at_level("INFO", LOG.name):
        files = raw_files.manifest("birds", tmp_path, names)["files"]
    assert files == [
        {"name": name, "bytes": len(name), "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names
    ]
    assert [record.getMessage().partition(" files,")[0] for record in caplog.records] == [
        f"birds: {count} of 60" for count in (0, 25, 50, 60)
    ]


def test_moved_archive_with_a_hash_is_found_at_its_path_and_has_the_same_spec(tmp_path, root):
    (tmp_path / "attic").mkdir()
    (tmp_path / "attic" / "birds.zip").write_bytes(CONTENT)
    options = folder_source.Options(
        source="folder",
        path=str(tmp_path / "attic" / "birds.zip"),
        classes=2,
        size=8,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    here = options.model_copy(update={"path": "birds.zip"})
    assert options.spec() == here.spec()
    done = run_script(tmp_path, root / "scripts", options.raw_spec(), "--path", options.own_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "data" / "birds" / "raw.json").read_text())["spec"] == here.raw_spec()


def test_failed_download_leaves_no_manifest(tmp_path):
    (tmp_path / "birds.zip").write_bytes(CONTENT)
    spec = {"source": "folder", "path": str(tmp_path / "birds.zip")}
    run_download(tmp_path, spec)
    with pytest.raises(UserError, match="wrong hash: sha256"):
        run_download(tmp_path, {**spec, "sha256": "0" * 64})
    assert not (tmp_path / "data" / "birds" / "raw.json").exists()


def test_relative_path_is_found_in_the_mirror_variable(tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "birds.zip").write_bytes(CONTENT)
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.chdir(tmp_path)
    assert run_download(tmp_path, {"source": "folder", "path": "birds.zip"})["files"][0]["name"] == "birds.zip"


def test_archive_of_the_user_is_downloaded_when_its_hash_is_given(server, tmp_path):
    spec = {"source": "folder", "path": "birds.zip", "sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert run_download(tmp_path, spec, server.url)["files"][0]["bytes"] == len(CONTENT)


def test_leftovers_of_a_killed_download_are_removed(tmp_path):
    (tmp_path / "birds.zip").write_bytes(CONTENT)
    leftover = tmp_path / "data" / "birds" / "raw" / ".birds.deepnets-x1y2z3_0.zip"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    run_download(tmp_path, {"source": "folder", "path": str(tmp_path / "birds.zip")})
    assert not leftover.exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": [{}]}', "{"])
def test_damaged_manifest_is_named(content, tmp_path):
    (tmp_path / "raw.json").write_text(content)
    with pytest.raises(UserError, match=r"raw\.json: damaged.*delete it"):
        Raw.open(tmp_path / "raw.json")
