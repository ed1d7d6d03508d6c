"""Raw files on the disk: the hashes that identify them, and raw.json, which lists them."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deepnets.data.progress import progress_bar
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file
from deepnets.utils.paths import RAW

_CHUNK = 2**20  # bytes
_THREADS, _BLOCK = 8, 25  # readers, so that several wait for a slow disk at once, and files that each takes at a time
_MAX_CONTENT = 2**32  # bytes; a small .gz that unpacks to more is not read to its end: it is not an image file


@dataclass(frozen=True)
class RawFile:
    """A file that data/<dataset>/raw/ needs, where it may come from, and the hashes that identify it.

    It is right when one of the given hashes agrees: `md5` and `sha256` are of the file itself, `content_md5` is of the
    unpacked content of a .gz (packing the same content again gives other bytes). Without a hash any content is right.
    """

    name: str
    urls: tuple[str, ...] = ()
    path: str | None = None  # the user's file, tried before every mirror
    md5: str | None = None
    sha256: str | None = None
    content_md5: str | None = None
    max_gb: float | None = None  # 10^9 bytes; it is known to have no more

    @property
    def has_hash(self) -> bool:
        return any((self.md5, self.sha256, self.content_md5))

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` has a file of this name with the right hash."""
        path = folder / self.name
        return self.has_hash and path.is_file() and self.problem(path) is None

    def problem(self, path: Path) -> str | None:
        """Return the problem of the content of `path`, with expected and found hashes; None if it is right."""
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
            while (chunk := file.read(_CHUNK)) and size <= _MAX_CONTENT:
                digest.update(chunk)
                size += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"unknown ({error})"
    return digest.hexdigest()


_HASHES = {"md5": _md5, "sha256": sha256_file, "md5 of the unpacked content": _content_md5}


def manifest(dataset: str, folder: Path, names: Iterable[str]) -> dict:
    """Hash files for raw.json: `{"files": [{"name", "bytes", "sha256"}]}`, in the given order.

    Args:
        dataset: its name, for lines of progress.
        folder: which holds the files.
        names: of the files, relative to `folder`.
    """

    def describe(block: list[str]) -> list[dict]:
        return [
            {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
            for name in block
        ]

    listed, files = list(names), []
    blocks = [listed[start : start + _BLOCK] for start in range(0, len(listed), _BLOCK)]
    with ThreadPoolExecutor(_THREADS) as pool, progress_bar(dataset, len(listed), "files") as bar:
        for described in pool.map(describe, blocks):
            files += described
            bar.update(len(described))
    return {"files": files}


@dataclass(frozen=True)
class Raw:
    """The files that raw.json lists, for the prepare stage.

    `folder` holds the files: data/<dataset>/raw, or the user's folder of images, which is read in place.
    """

    manifest: Path
    folder: Path
    in_place: bool
    sha256: dict[str, str]  # by file name, relative to `folder`
    spec: dict | None = None  # that it was made by; None in a file of version 0.1.0

    @classmethod
    def open(cls, path: str | Path) -> "Raw":
        """Read raw.json.

        Raises:
            UserError: it is missing or damaged.
        """
        path, content = Path(path), read_json(path)
        try:
            hashes = {file["name"]: file["sha256"] for file in content["files"]}
            folder = content.get("folder", str(path.with_name(RAW)))
            if not all(isinstance(text, str) and "\0" not in text for text in (folder, *hashes, *hashes.values())):
                raise TypeError
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; delete it.") from None
        return cls(path, Path(folder), "folder" in content, hashes, content.get("spec"))

    def changed(self, name: str) -> UserError:
        """Make the error for a file that is no longer what raw.json lists."""
        return UserError(
            f"{self.folder / name}: not the file that {self.manifest} lists; delete {self.manifest}, so that all files"
            " are listed again, or put the earlier file back."
        )

    def verified(self, name: str) -> Path:
        """Check that a raw file is what raw.json lists; return its path.

        Raises:
            UserError: the file is missing or has changed.
        """
        path = self.folder / name
        if name not in self.sha256 or not path.is_file() or sha256_file(path) != self.sha256[name]:
            raise self.changed(name)
        return path
