"""Raw files: copied from a mirror or downloaded over https, under their final names only when whole and right."""

import shutil
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

import requests
import urllib3
from tqdm import tqdm

from deepnets.data.raw_files import RawFile
from deepnets.data.search_paths import MIRROR_VARIABLE, find_local, is_secure, mirror_dirs
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path
from deepnets.utils.logging import LOG

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0  # waits 1, 2, 4 s between the attempts
TIMEOUT_SECONDS = (10, 60)  # to connect, between two pieces
_PIECE = 2**20  # bytes


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
    local = find_local(file.path or file.name, dataset, mirror, own_path=file.path is not None)
    if local is not None:
        _copy(local, target, file)
    else:
        absent = [f"not in {folder}" for folder in mirror_dirs(dataset, mirror)]
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
