"""A small server on the loopback interface, and the file that is downloaded from it."""

import contextlib
import gzip
import hashlib
import http.server
import io
import zipfile
from pathlib import Path

import pytest

from deepnets.data import download
from deepnets.data.raw_files import RawFile
from deepnets.utils.errors import UserError


def packed_images() -> bytes:
    """A zip with an image in either split, one of them of a size that is received in many pieces."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train/a/1.png", bytes(range(256)) * 1000)
        archive.writestr("test/a/1.png", b"")
    return file.getvalue()


CONTENT = packed_images()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at any path; the path says what goes wrong."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.bodies_sent_whole = 0  # of redirects that send a body
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        earlier = len(self.server.requests)
        self.server.requests.append((self.path, self.headers["Range"]))
        start = int(self.headers["Range"][len("bytes=") : -1]) if self.headers["Range"] else 0
        if "moved-endless" in self.path:
            self.send_response(302)
            self.send_header("Location", "/file.bin")
            self.server.bodies_sent_whole += self.send(2**26)
        elif "endless" in self.path:
            self.send_response(200)
            self.send(10**15)
        elif "huge" in self.path:
            self.answer(200, CONTENT, {"Content-Length": str(10**15)})
        elif "often" in self.path:  # a line that breaks every 20,000 bytes
            of = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
            left = {"Content-Length": str(len(CONTENT) - start)}
            self.answer(206 if start else 200, CONTENT[start : start + 20_000], of | left)
        elif "nothing-after" in self.path and start:
            self.answer(416, b"", {})
        elif "elsewhere" in self.path and start:
            self.answer(206, CONTENT[7:], {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"})
        elif "missing" in self.path or ("busy" in self.path and earlier < 2):
            self.send_error(404 if "missing" in self.path else 503)
        elif "moved" in self.path:
            self.answer(302, b"", {"Location": "/file.bin"})
        elif "loop" in self.path:
            self.answer(302, b"", {"Location": self.path})
        elif "no-address" in self.path:
            self.answer(302, b"", {"Location": "https://[no" if "ipv6" in self.path else "\xff"})
        elif "page" in self.path:
            self.answer(200, b"<!DOCTYPE html><html>Log in</html>", {})
        elif self.path.endswith("/nothing"):
            self.answer(200, b"", {})
        elif "redirect" in self.path:
            self.answer(302, b"", {"Location": "http://example.invalid/file"})
        elif "always-breaks" in self.path or ("breaks" in self.path and earlier == 0):
            self.answer(200, CONTENT[:1000], {"Content-Length": str(len(CONTENT))})
        elif start and "whole" not in self.path:
            self.answer(206, CONTENT[start:], {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"})
        elif "short" in self.path:
            self.answer(200, CONTENT[:-1], {})
        elif "packed" in self.path:
            self.answer(200, gzip.compress(CONTENT, mtime=0), {"Content-Encoding": "gzip"})
        else:
            self.answer(200, CONTENT, {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send(self, n: int) -> bool:
        """Send n bytes without their number in a header; return False if the client hangs up before."""
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(n // 2**16):
                self.wfile.write(bytes(2**16))
            return True
        return False

    def log_message(self, *args):
        pass


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def raw_file(*urls: str, content: bytes = CONTENT, **kwargs) -> RawFile:
    return RawFile("file.bin", urls, md5=md5(content), **kwargs)


def fetched(file: RawFile, tmp_path: Path, mirror: str | None = None) -> bytes:
    download.fetch(file, tmp_path / "raw", "birds", mirror)
    return (tmp_path / "raw" / file.name).read_bytes()


def assert_refused(file: RawFile, tmp_path: Path, *fragments: str, mirror: str | None = None) -> None:
    """The file is refused in one line with these fragments, and nothing is left behind."""
    with pytest.raises(UserError) as error:
        download.fetch(file, tmp_path / "raw", "birds", mirror)
    assert "\n" not in str(error.value)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert not (tmp_path / "raw").exists() or not list((tmp_path / "raw").iterdir())
