"""The download stage: raw files from a mirror or over https, named only when whole and right, and raw.json.

A file that is being downloaded is <name>.part, next to where it will be. It outlives a kill: the next run continues it.
"""

import contextlib
import shutil
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

import requests
import urllib3
from tqdm import tqdm

from deepnets.data.download_errors import Reason, explain, is_passing
from deepnets.data.file_kinds import EMPTY, START, WEB_PAGE, kind_of
from deepnets.data.raw_files import RawFile
from deepnets.data.search_paths import MIRROR_VARIABLE, find_local, is_secure, mirror_dirs
from deepnets.data.sources import MAX_DOWNLOAD_GB, source
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, error_names, flush, remove_leftovers, write_json
from deepnets.utils.locks import hold_lock
from deepnets.utils.logging import LOG
from deepnets.utils.paths import DOWNLOADED, RAW
from deepnets.utils.text import one_line
from deepnets.utils.waiting import ATTEMPTS, BACKOFF_SECONDS, TIMEOUT_SECONDS

REDIRECTS = 10  # of one request
_CHUNK = 2**16  # bytes: a connection that is reset loses the chunk that it was bringing


def download(
    dataset: str,
    spec: dict,
    mirror: str | None,
    output: str | Path,
    state: str | None = None,
    max_gb: int = MAX_DOWNLOAD_GB,
    path: str | None = None,
) -> None:
    """Put the raw files of a dataset into raw/ next to `output`, then write `output` (raw.json).

    Args:
        dataset: its name in config.yaml.
        spec: `raw_spec()` of its options.
        mirror: folder or https:// address that has the files.
        output: path of raw.json.
        state: `local_state()` of its options, which raw.json keeps.
        max_gb: the most that one file may have if it is downloaded, in 10^9 bytes.
        path: the user's folder or archive, where `spec` has only its name.

    Raises:
        UserError: a file cannot be found or is not what it should be; there is no raw.json then.
    """
    output = Path(output)
    folder = output.with_name(RAW)
    found_by = spec if path is None else {**spec, "path": path}
    with hold_lock(output.with_name(".download.lock"), "downloads the same dataset"):
        remove_leftovers(folder)
        output.unlink(missing_ok=True)  # an old list must not describe new files
        listed = source(spec["source"]).download(found_by, dataset, mirror, folder, max_gb)
        if "folder" not in listed:  # not the user's own folder, read in place
            for part in folder.glob("*.part"):  # of another file, which this dataset no longer needs
                part.unlink()
            if folder.is_dir():
                (folder / DOWNLOADED).touch()
        with record_checksums("download", output):
            # First what planning compares: it reads no long list of files.
            write_json(output, {"spec": spec, "state": state, **listed})


def fetch(
    file: RawFile, folder: Path, dataset: str, mirror: str | None = None, max_gb: float = MAX_DOWNLOAD_GB
) -> None:
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
        _download_from_any(_addresses(file, mirror), target, file, dataset, absent, max_gb)


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


def _download_from_any(
    urls: list[str], target: Path, file: RawFile, dataset: str, failures: list[str], max_gb: float
) -> None:
    hints: dict[str, None] = {}
    for url in urls:
        try:
            _download(url, target, file, max_gb)
            LOG.info("%s: downloaded from %s", target, url)
            return
        except _DownloadError as error:
            failures.append(f"{url}: {error.reason.text}")
            hints[error.reason.hint] = None
    advice = " ".join(filter(None, hints))
    raise UserError(
        f"{target}: could not be downloaded ({'; '.join(failures)}). {advice}{' Or put' if advice else 'Put'} the file"
        f" into <folder>/{dataset}/ and set {MIRROR_VARIABLE}=<folder>, or set `mirror:` of datasets.{dataset} in"
        " config.yaml."
    )


class _DownloadError(Exception):
    """The reason why one address did not give the file."""

    def __init__(self, reason: Reason):
        super().__init__(reason.text)
        self.reason = reason


class _TooLargeError(Exception):
    """An address sends more than the file may have."""


class _Session(requests.Session):
    """Leaves redirects to `_get`: requests reads the body of each, which may have no end, even if it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _download(url: str, target: Path, file: RawFile, max_gb: float) -> None:
    """Download one file, from where an earlier run stopped; its hash decides whether that start was of this file."""
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if not file.has_hash:
        part.unlink(missing_ok=True)
    continued = part.exists()
    problem = file.problem(part) if continued else "not there yet"
    if problem:
        _receive(url, part, file, max_gb)
        problem = file.problem(part)
    if problem and continued:
        part.unlink()
        _receive(url, part, file, max_gb)
        problem = file.problem(part)
    if problem:
        with open(part, "rb") as received:
            kind = kind_of(received.read(START))
        part.unlink()
        raise _DownloadError(Reason(f"{problem}; it is {kind}" if kind in (EMPTY, WEB_PAGE) else problem))
    flush(part)
    part.replace(target)


def _receive(url: str, part: Path, file: RawFile, max_gb: float) -> None:
    """Append the body of `url` to `part`; after a lost connection, continue from there while there is progress."""
    try:
        with (
            _Session() as session,
            error_names(part),
            open(part, "ab") as out,
            tqdm(desc=file.name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            failed, most = 0, out.tell()
            while failed < ATTEMPTS:
                try:
                    _receive_rest(session, url, out, bar, round(1e9 * min(max_gb, file.max_gb or max_gb)))
                    return
                except (OSError, urllib3.exceptions.HTTPError) as error:
                    if isinstance(error, OSError) and error.errno is not None:  # of the disk: requests' have no number
                        raise
                    failed = failed + 1 if out.tell() <= most else 0
                    most = max(most, out.tell())
                    if failed == ATTEMPTS or not is_passing(error):
                        raise _DownloadError(_broken_off(explain(error, url), out.tell())) from None
                time.sleep(BACKOFF_SECONDS * 2 ** max(0, failed - 1))
    except _TooLargeError:
        part.unlink()
        raise _DownloadError(_too_large(file, max_gb)) from None
    except _DownloadError:
        if not part.stat().st_size:
            part.unlink()
        raise


def _too_large(file: RawFile, max_gb: float) -> Reason:
    if file.max_gb is not None and file.max_gb <= max_gb:
        return Reason(f"it sends more than {file.max_gb:g} GB, which {file.name} does not have")
    hint = "If the file is larger than that, raise `max_download` of the dataset in config.yaml."
    return Reason(f"it sends more than {max_gb:g} GB, the limit", hint)


def _broken_off(reason: Reason, received: int) -> Reason:
    if not received:
        return reason
    return Reason(f"broke off after {received:,} bytes, which are kept for the next run ({reason.text})", reason.hint)


def _receive_rest(session: _Session, url: str, out: BinaryIO, bar: tqdm, limit: int) -> None:
    # "identity" and decode_content=False: the hash is of the stored file, not of one that a server packs for transport.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={out.tell()}-"} if out.tell() else {})}
    with _get(session, url, headers) as response:
        if _is_elsewhere(response, out.tell()):
            _empty(out)
            raise requests.ConnectionError("the next attempt asks for the whole file")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # the server sends the whole file again
            _empty(out)
        length = response.headers.get("Content-Length", "")
        end = out.tell() + int(length) if length.isdecimal() else None
        if end is not None and end > limit:
            raise _TooLargeError
        bar.total, bar.n = end, out.tell()
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            if out.tell() + len(chunk) > limit:
                raise _TooLargeError
            out.write(chunk)
            bar.update(len(chunk))
        if end is not None and out.tell() < end:
            raise requests.ConnectionError("broken off")


def _is_elsewhere(response: requests.Response, received: int) -> bool:
    """Whether the response is of another part of the file than the one that follows the received bytes."""
    if response.status_code == requests.codes.partial_content:
        return not response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
    return response.status_code == requests.codes.requested_range_not_satisfiable


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _get(session: _Session, url: str, headers: dict[str, str]) -> requests.Response:
    for _ in range(1 + REDIRECTS):
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
        if not response.is_redirect:
            return response
        response.close()
        url = _redirect_target(response)
    raise _DownloadError(Reason(f"redirects more than {REDIRECTS} times"))


def _redirect_target(response: requests.Response) -> str:
    target = response.headers["location"]
    with contextlib.suppress(ValueError):  # it is no address at all
        target = urljoin(response.url, requests.Session().get_redirect_target(response) or "")
        if is_secure(target):
            return target
    raise _DownloadError(Reason(one_line(f"redirects to {target:.200}, which is not an https:// address")))
