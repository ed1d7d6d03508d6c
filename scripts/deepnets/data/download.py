"""The download stage: raw files from a mirror or over https, named only when whole and right, and raw.json."""

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
from deepnets.data.sources import source
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, remove_leftovers, write_json
from deepnets.utils.logging import LOG
from deepnets.utils.paths import RAW

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0  # waits 1, 2, 4 s between the attempts
TIMEOUT_SECONDS = (10, 60)  # to connect, to wait for the next bytes
_CHUNK = 2**20  # bytes


def download(
    dataset: str,
    spec: dict,
    mirror: str | None,
    output: str | Path,
    state: str | None = None,
    path: str | None = None,
) -> None:
    """Put the raw files of a dataset into raw/ next to `output`, then write `output` (raw.json).

    Args:
        dataset: its name in config.yaml.
        spec: `raw_spec()` of its options.
        mirror: folder or https:// address that has the files.
        output: path of raw.json.
        state: `local_state()` of its options, which raw.json keeps.
        path: the user's folder or archive, where `spec` has only its name.

    Raises:
        UserError: a file cannot be found or is not what it should be; there is no raw.json then.
    """
    output = Path(output)
    folder = output.with_name(RAW)
    remove_leftovers(folder)
    output.unlink(missing_ok=True)  # an old list must not describe new files
    found_by = spec if path is None else {**spec, "path": path}
    listed = source(spec["source"]).download(found_by, dataset, mirror, folder)
    with record_checksums("download", output):
        # First what planning compares: it reads no long list of files.
        write_json(output, {"spec": spec, "state": state, **listed})


def fetch(file: RawFile, folder: Path, dataset: str, mirror: str | None = None) -> None:
    """Put one file into `folder`, atomically; keep it if it is there with the right hash.

    The order is: the user's path, the folder DEEPNETS_MIRROR, the dataset's `mirror`, the official
    addresses.

    Raises:
        UserError: the file is nowhere, or a file of its name is not the right one.
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


def _copy(local: Path, target: Path, file: RawFile) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(local, temporary)
        if problem := file.problem(temporary):
            raise UserError(f"{local}: {problem}. Replace the file, or move it away: then the next address is tried.")
    LOG.info("%s: copied from %s", target, local)


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
    """The reason why one address did not give the file."""


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
    """Write the body of `url` to `out`; after a lost connection, continue from there."""
    for attempt in range(ATTEMPTS):
        try:
            _receive_rest(session, url, out, bar)
            return
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if attempt + 1 == ATTEMPTS or not _is_passing(error):
                raise _DownloadError(_reason(error, out.tell())) from None
            time.sleep(BACKOFF_SECONDS * 2**attempt)


def _receive_rest(session: requests.Session, url: str, out: BinaryIO, bar: tqdm) -> None:
    # "identity" and decode_content=False: the hash is of the stored file, not of one that a server packs for transport.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={out.tell()}-"} if out.tell() else {})}
    hooks = {"response": _refuse_insecure_redirect}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, hooks=hooks) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # the server sends the whole file again
            out.seek(0)
            out.truncate()
        length = response.headers.get("Content-Length", "")
        end = out.tell() + int(length) if length.isdecimal() else None
        bar.total, bar.n = end, out.tell()
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            out.write(chunk)
            bar.update(len(chunk))
        if end is not None and out.tell() < end:
            raise requests.ConnectionError("broken off")


def _refuse_insecure_redirect(response: requests.Response, **_) -> None:
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if not is_secure(target):
            raise _DownloadError(f"redirects to {target}, which is not an https:// address")


def _is_passing(error: Exception) -> bool:
    """Whether to try again: yes after a lost connection or from a busy server, no after 404."""
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
