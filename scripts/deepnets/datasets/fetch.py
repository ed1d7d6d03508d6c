"""Raw files: copied from a mirror or downloaded over https, under their final names only when whole and right."""

import gzip
import hashlib
import shutil
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

import requests
import urllib3
from tqdm import tqdm

from deepnets.datasets.places import MIRROR_VARIABLE, is_secure, locate, mirror_folders
from deepnets.datasets.progress import Progress
from deepnets.errors import LOG, UserError
from deepnets.files import atomic_path, read_json, sha256_file

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0  # waits 1, 2, 4 s between the attempts
TIMEOUT_SECONDS = (10, 60)  # to connect, between two pieces
_PIECE = 2**20  # bytes
_READERS, _BLOCK = 8, 25  # threads, and files that each takes at a time: where the disk is slow, they wait together
_MAX_CONTENT = 2**32  # bytes; a small .gz that unpacks to more is no image file and is not read to its end


@dataclass(frozen=True)
class RawFile:
    """A file to have in data/<dataset>/raw/, where it may come from, and the hashes that it is known by.

    It is right when one of the given hashes agrees: `md5` and `sha256` are of the file itself, `content_md5` of what a
    .gz unpacks to (whoever packs the same content again gets other bytes). Without a hash any content is right.
    """

    name: str
    urls: tuple[str, ...] = ()
    path: str | None = None  # a file of the user's own, tried before every mirror
    md5: str | None = None
    sha256: str | None = None
    content_md5: str | None = None

    @property
    def has_hash(self) -> bool:
        return any((self.md5, self.sha256, self.content_md5))

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` has it: a file of its name that is right by its hash."""
        path = folder / self.name
        return self.has_hash and path.is_file() and self.problem(path) is None

    def problem(self, path: Path) -> str | None:
        """What is wrong with the content of `path`, with expected and found hashes; None when it is right."""
        expected = {"md5": self.md5, "sha256": self.sha256, "md5 of the unpacked content": self.content_md5}
        expected = {kind: digest for kind, digest in expected.items() if digest}
        found = {}
        for kind, digest in expected.items():
            found[kind] = _HASHES[kind](path)
            if found[kind] == digest:
                return None
        differences = [f"{kind} is {found[kind]}, expected {digest}" for kind, digest in expected.items()]
        return f"wrong hash: {'; '.join(differences)}" if differences else None


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _content_md5(path: Path) -> str:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with gzip.open(path) as file:
            while (piece := file.read(_PIECE)) and size <= _MAX_CONTENT:
                digest.update(piece)
                size += len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"unknown ({error})"
    return digest.hexdigest()


_HASHES = {"md5": _md5, "sha256": sha256_file, "md5 of the unpacked content": _content_md5}


def fetch(file: RawFile, folder: Path, dataset: str, mirror: str | None = None) -> None:
    """Put one file into `folder`, atomically; keep it if it is there with the right hash.

    Tried in this order: the user's own path, the folder DEEPNETS_MIRROR, the dataset's `mirror`, the official
    addresses.

    Raises:
        UserError: no place has the file, or what a place has is not the file.
    """
    target = folder / file.name
    if file.is_in(folder):
        return
    local = locate(file.path or file.name, dataset, mirror, own_path=file.path is not None)
    if local is not None:
        _copy(local, target, file)
    else:
        absent = [f"not in {folder}" for folder in mirror_folders(dataset, mirror)]
        _download_from_any(_addresses(file, mirror), target, file, dataset, absent)


def _copy(source: Path, target: Path, file: RawFile) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if problem := file.problem(temporary):
            raise UserError(f"{source}: {problem}. Replace the file, or move it away to have it from the next place.")
    LOG.info("%s: copied from %s", target, source)


def _addresses(file: RawFile, mirror: str | None) -> list[str]:
    urls = list(file.urls)
    if mirror and "://" in mirror:
        if not is_secure(mirror):
            raise UserError(f"mirror {mirror!r} is not an https:// address; give one, or a folder.")
        if not file.has_hash:
            raise UserError(
                f"{file.name}: will not be downloaded from {mirror} without a hash; add `sha256:` (64 hexadecimal"
                " digits, from `sha256sum FILE`) to the dataset in config.yaml."
            )
        urls.insert(0, f"{mirror.rstrip('/')}/{quote(file.name)}")
    return urls


def _download_from_any(urls: list[str], target: Path, file: RawFile, dataset: str, failures: list[str]) -> None:
    for url in urls:
        try:
            _download(url, target, file)
            LOG.info("%s: downloaded from %s", target, url)
            return
        except _DownloadError as error:
            failures.append(f"{url}: {error}")
    raise UserError(
        f"{target}: could not be downloaded ({'; '.join(failures)}). Put the file into <folder>/{dataset}/ and set"
        f" {MIRROR_VARIABLE}=<folder>, or set `mirror:` of datasets.{dataset} in config.yaml."
    )


class _DownloadError(Exception):
    """Why one address did not give the file."""


def _download(url: str, target: Path, file: RawFile) -> None:
    with atomic_path(target) as temporary:
        with (
            requests.Session() as session,
            open(temporary, "wb") as out,
            tqdm(desc=file.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            _receive(session, url, out, bar)
        if problem := file.problem(temporary):
            raise _DownloadError(problem)


def _receive(session: requests.Session, url: str, out: BinaryIO, bar: tqdm) -> None:
    """Write the body of `url` to `out`; after a break, go on where it broke off."""
    for attempt in range(ATTEMPTS):
        try:
            _receive_rest(session, url, out, bar)
            return
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if attempt + 1 == ATTEMPTS or not _is_passing(error):
                raise _DownloadError(_reason(error, out.tell())) from None
            time.sleep(BACKOFF_SECONDS * 2**attempt)


def _receive_rest(session: requests.Session, url: str, out: BinaryIO, bar: tqdm) -> None:
    # "identity" and decode_content=False: the hash is of the file as stored, not as some server packs it for the way.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={out.tell()}-"} if out.tell() else {})}
    hooks = {"response": _refuse_insecure_redirect}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, hooks=hooks) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # the whole file again, not the rest
            out.seek(0)
            out.truncate()
        length = response.headers.get("Content-Length", "")
        end = out.tell() + int(length) if length.isdecimal() else None
        bar.total, bar.n = end, out.tell()
        for piece in response.raw.stream(_PIECE, decode_content=False):
            out.write(piece)
            bar.update(len(piece))
        if end is not None and out.tell() < end:
            raise requests.ConnectionError("broken off")


def _refuse_insecure_redirect(response: requests.Response, **_) -> None:
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if not is_secure(target):
            raise _DownloadError(f"sends on to {target}, which is not an https:// address")


def _is_passing(error: Exception) -> bool:
    """Whether it is worth asking again: yes after a break or a busy server, no after 404."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return isinstance(error, (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError))


def _reason(error: Exception, received: int) -> str:
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if received:
        return f"broke off after {received:,} bytes, {ATTEMPTS} times"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed download or prepare left in `folder`; one job at a time writes there."""
    for path in folder.glob(".*-*"):
        if path.is_file():
            path.unlink()


def manifest(dataset: str, folder: Path, names: Iterable[str]) -> dict:
    """What raw.json says: `{"files": [{"name", "bytes", "sha256"}]}`, names relative to `folder`, as ordered here."""

    def describe(block: list[str]) -> list[dict]:
        return [
            {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
            for name in block
        ]

    names, files = list(names), []
    progress = Progress(dataset, len(names), "files")
    blocks = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with ThreadPoolExecutor(_READERS) as pool:
        for described in pool.map(describe, blocks):
            files += described
            progress.add(len(described))
    return {"files": files}


@dataclass(frozen=True)
class Raw:
    """What raw.json lists, for the prepare stage.

    `folder` holds the files: data/<dataset>/raw, or the user's own folder of images, which is read in place.
    """

    manifest: Path
    folder: Path
    in_place: bool
    sha256: dict[str, str]  # by file name, relative to `folder`

    @classmethod
    def open(cls, path: str | Path) -> "Raw":
        """Read raw.json.

        Raises:
            UserError: it is missing or damaged.
        """
        path, info = Path(path), read_json(path)
        try:
            hashes = {file["name"]: file["sha256"] for file in info["files"]}
            folder = Path(info.get("folder", path.parent / "raw"))
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; delete it and run the same command again.") from None
        return cls(path, folder, "folder" in info, hashes)

    def changed(self, name: str) -> UserError:
        """The error that says that a file is no longer what raw.json lists."""
        return UserError(
            f"{self.folder / name}: not the file that {self.manifest} lists; delete {self.manifest} and run the same"
            " command again."
        )

    def verified(self, name: str) -> Path:
        """Path of a raw file whose content is what raw.json lists.

        Raises:
            UserError: the file is missing or has changed.
        """
        path = self.folder / name
        if name not in self.sha256 or not path.is_file() or sha256_file(path) != self.sha256[name]:
            raise self.changed(name)
        return path
