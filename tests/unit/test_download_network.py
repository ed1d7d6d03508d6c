"""Downloads over a bad line, from a hostile server, and through a proxy: what continues, and what is reported."""

import http.server
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from download_server import CONTENT, assert_refused, fetched, raw_file

from deepnets.data import download
from deepnets.data.download_errors import explain, is_passing
from deepnets.utils.errors import UserError
from deepnets.utils.files import remove_leftovers

URL = "https://example.invalid/file.bin"


def part(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "file.bin.part"


def begin(tmp_path: Path, content: bytes) -> None:
    """Leave what a killed download has left."""
    part(tmp_path).parent.mkdir()
    part(tmp_path).write_bytes(content)


# -- a bad line --------------------------------------------------------------------------------------------------------


def test_line_that_breaks_again_and_again_is_used_as_long_as_it_brings_bytes(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/often"), tmp_path) == CONTENT
    assert len(server.requests) == -(-len(CONTENT) // 20_000) > 2 * download.ATTEMPTS


def test_broken_download_is_kept_and_the_next_run_continues_it(server, tmp_path):
    with pytest.raises(UserError, match="broke off after 1,000 bytes, which are kept for the next run"):
        fetched(raw_file(f"{server.url}/always-breaks"), tmp_path)
    remove_leftovers(part(tmp_path).parent)
    assert part(tmp_path).read_bytes() == CONTENT[:1000]
    server.requests.clear()
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT
    assert server.requests == [("/file.bin", "bytes=1000-")]
    assert not part(tmp_path).exists()


def test_start_of_another_file_is_deleted_and_the_file_is_downloaded_whole(server, tmp_path):
    begin(tmp_path, b"other")
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT
    assert server.requests == [("/file.bin", "bytes=5-"), ("/file.bin", None)]


def test_whole_file_that_a_kill_left_unnamed_is_named_without_a_request(server, tmp_path):
    begin(tmp_path, CONTENT)
    assert fetched(raw_file(f"{server.url}/file.bin"), tmp_path) == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("answer", ["nothing-after", "elsewhere"])
def test_server_that_cannot_continue_is_asked_for_the_whole_file(server, tmp_path, answer):
    begin(tmp_path, CONTENT[:1000])
    assert fetched(raw_file(f"{server.url}/{answer}"), tmp_path) == CONTENT
    assert server.requests[1] == (f"/{answer}", None)


def test_finished_download_removes_what_is_left_of_another_file(tmp_path):
    left = tmp_path / "birds" / "raw" / "old.zip.part"
    left.parent.mkdir(parents=True)
    left.touch()
    download.download("birds", {"source": "sklearn_digits"}, None, tmp_path / "birds" / "raw.json")
    assert not left.exists()


# -- a server that sends without end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["endless", "huge"])
def test_server_that_sends_more_than_the_limit_is_refused_and_the_option_is_named(server, tmp_path, path):
    with pytest.raises(UserError, match=rf"/{path}: it sends more than 0\.001 GB, the limit\).*raise `max_download`"):
        download.fetch(raw_file(f"{server.url}/{path}"), tmp_path / "raw", "birds", None, 0.001)
    assert list((tmp_path / "raw").iterdir()) == []


def test_file_of_known_size_has_that_limit_whatever_the_option_says(server, tmp_path):
    file = raw_file(f"{server.url}/endless", max_gb=0.001)
    assert_refused(file, tmp_path, "/endless: it sends more than 0.001 GB, which file.bin does not have).")


def test_address_after_one_that_sends_too_much_is_tried(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/huge", f"{server.url}/file.bin"), tmp_path) == CONTENT


def test_body_of_a_redirect_is_not_read(server, tmp_path):
    assert fetched(raw_file(f"{server.url}/moved-endless"), tmp_path) == CONTENT
    assert [path for path, _ in server.requests] == ["/moved-endless", "/file.bin"]
    assert server.bodies_sent_whole == 0


def test_download_continues_behind_a_redirect(server, tmp_path):
    begin(tmp_path, CONTENT[:1000])
    assert fetched(raw_file(f"{server.url}/moved"), tmp_path) == CONTENT
    assert server.requests == [("/moved", "bytes=1000-"), ("/file.bin", "bytes=1000-")]


def test_redirects_without_end_are_refused(server, tmp_path):
    assert_refused(raw_file(f"{server.url}/loop"), tmp_path, f"/loop: redirects more than {download.REDIRECTS} times")
    assert len(server.requests) == 1 + download.REDIRECTS


@pytest.mark.parametrize(("path", "shown"), [("no-address-ipv6", "https://[no"), ("no-address", "\xff")])
def test_redirect_to_what_is_no_address_is_refused(server, tmp_path, path, shown):
    assert_refused(raw_file(f"{server.url}/{path}"), tmp_path, f"redirects to {shown}, which is not an https://")


# -- proxies, certificates and names -----------------------------------------------------------------------------------


class Proxy(http.server.BaseHTTPRequestHandler):
    """Refuses every address with the status of the server's class."""

    def do_CONNECT(self):
        self.send_error(self.server.status)

    def do_GET(self):
        self.send_error(self.server.status)

    def log_message(self, *args):
        pass


@pytest.fixture
def proxy(monkeypatch) -> Iterator[http.server.HTTPServer]:
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.requests, server.status = [], 407
        address = f"user:secret@127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def refusal(tmp_path: Path, url: str = URL) -> str:
    with pytest.raises(UserError) as error:
        fetched(raw_file(url), tmp_path)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("url", [URL, "http://localhost.invalid/file.bin"], ids=["https", "http"])
def test_proxy_that_asks_for_a_password_is_named_with_the_variable(proxy, tmp_path, url):
    message = refusal(tmp_path, url)
    assert f"the proxy 127.0.0.1:{proxy.server_port} asks for a user name and a password (407)" in message
    assert "Set HTTPS_PROXY=http://<user>:<password>@<host>:<port>. Or put the file into" in message


def test_proxy_that_forbids_the_address_is_quoted(proxy, tmp_path):
    proxy.status = 403
    assert "refuses the address (Tunnel connection failed: 403 Forbidden)" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://proxy.invalid:80", "the proxy proxy.invalid:80 is not known by this name"),
        ("http://user:secret@nowhere:port", "the proxy nowhere:port cannot be used (Failed to parse"),
        ("http://:", "cannot be used (Please check proxy URL"),
        ("socks5://127.0.0.1:1", "cannot be used (Missing dependencies for SOCKS support.)"),
    ],
)
def test_proxy_that_cannot_be_used_is_named(proxy, tmp_path, monkeypatch, address, problem):
    monkeypatch.setenv("HTTPS_PROXY", address)
    message = refusal(tmp_path)
    assert problem in message
    assert "Correct or unset the proxy: HTTPS_PROXY=" in message


def test_proxy_that_is_not_there_does_not_answer(proxy, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        assert f"the proxy {address} does not answer" in refusal(tmp_path)


def test_name_that_no_server_knows_is_no_dns_and_the_proxy_variable_may_help(proxy, tmp_path, monkeypatch):
    monkeypatch.delenv("HTTPS_PROXY")
    message = refusal(tmp_path)
    assert "the name example.invalid cannot be resolved: no internet, or no DNS" in message
    assert "Where a proxy leads to the internet, set HTTPS_PROXY=" in message


def refused_certificate(text: str) -> requests.exceptions.SSLError:
    """Make the error of requests for a certificate, in as many layers as it has."""
    inner = ssl.SSLCertVerificationError(1, f"certificate verify failed: {text}")
    inner.verify_message = text
    return requests.exceptions.SSLError(requests.packages.urllib3.exceptions.SSLError(inner))


def test_certificate_of_a_company_is_named_with_the_variable():
    error = refused_certificate("self-signed certificate in certificate chain")
    reason = explain(error, URL)
    assert reason.text == "its certificate is not trusted (self-signed certificate in certificate chain)"
    assert "set REQUESTS_CA_BUNDLE=<file with its certificate>" in reason.hint
    assert not is_passing(error)


def test_expired_certificate_leads_to_the_date():
    assert explain(refused_certificate("certificate has expired"), URL).hint == "Check the date of this machine."


@pytest.mark.parametrize("exists", [False, True], ids=["missing", "no certificates in it"])
def test_ca_bundle_without_certificates_is_named(server, tmp_path, monkeypatch, exists):
    bundle = tmp_path / "ca.pem"
    if exists:
        bundle.write_text("junk")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    message = refusal(tmp_path, server.url.replace("http:", "https:") + "/file.bin")
    assert f"the environment variable REQUESTS_CA_BUNDLE is '{bundle}', which has no certificates" in message
    assert "Correct or unset REQUESTS_CA_BUNDLE." in message


def test_server_without_encryption_is_no_secure_connection(server, tmp_path):
    message = refusal(tmp_path, server.url.replace("http:", "https:") + "/file.bin")
    assert "no secure connection (" in message
