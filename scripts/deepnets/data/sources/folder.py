"""A folder or an archive of images: <class>/*, or train/<class>/*, test/<class>/* and val/<class>/*."""

import codecs
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from deepnets.data.class_folders import folders_left_out, list_images, read_layout
from deepnets.data.file_kinds import ARCHIVES, kind_by_name
from deepnets.data.folder_tree import ANY_NUMBER, TABLES, fingerprint, list_folder, printable
from deepnets.data.member_names import is_encoding
from deepnets.data.search_paths import MIRROR_VARIABLE, find_local, search_paths
from deepnets.data.sources._own_images import (
    OwnImages,
    check_classes,
    report_case_twins,
    shortest,
    unreadable_named,
)
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

if TYPE_CHECKING:
    from deepnets.data.image_source import ImageSource
    from deepnets.data.raw_files import Raw


class Options(OwnImages):
    """The user's own images. Images of mixed sizes become squares of one size."""

    source: Literal["folder"] = "folder"
    path: str = Field(
        min_length=1,
        description=f"Folder, or archive ({', '.join(ARCHIVES)}), with <class>/*, or with train/<class>/*,"
        " test/<class>/* and, if there is a validation split, val/<class>/*;"
        " a relative path is looked up from the working directory, then in the folder DEEPNETS_MIRROR.",
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the archive, in lower-case hexadecimal; needed where it is downloaded.",
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of the names in an archive that does not say it, as of zips from Windows: gbk, cp932,"
        " cp1251, cp437, utf-8 ...",
    )

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None and not is_encoding(encoding):
            raise ValueError(f"must be an encoding, such as gbk, cp932, cp1251, cp437 or utf-8 (got {encoding[:60]!r})")
        return encoding

    @property
    def possible_classes(self) -> tuple[int, ...]:
        """As `find_root` takes them."""
        return () if self.classes is None else (self.classes,)

    @property
    def own_files(self) -> str | None:
        return None if "://" in (self.mirror or "") else shortest(self.path)

    @property
    def own_path(self) -> str | None:
        return None if self.sha256 is None else self.path

    def raw_spec(self) -> dict:
        """Identify the raw files: an archive by its name and SHA-256, wherever it lies, and all else by its path."""
        encoding = {} if self.encoding is None else {"encoding": codecs.lookup(self.encoding).name}
        if self.sha256 is not None:
            return {"source": self.source, "path": PurePosixPath(self.path).name, "sha256": self.sha256, **encoding}
        return {"source": self.source, "path": shortest(self.path), **encoding}

    def local_state(self, dataset: str) -> str | None:
        """Digest of a folder's or an archive's state; None where `sha256` pins the content or nothing can be read.

        It is cheap, because every start of Snakemake asks for it; `fingerprint` lists what it does not see.
        """
        if self.sha256 is not None:
            return None
        try:
            path = find_local(self.path, dataset, self.mirror)
            if path is None or not (path.is_dir() or path.is_file()):
                return None
            return fingerprint(path, self.possible_classes)
        except (OSError, UserError):  # the download reports it, with what to do
            return None

    def check_files(self, dataset: str, raw: Path) -> None:
        from deepnets.data.quick_check import find_classes

        was_downloaded = self.sha256 is not None and (raw / PurePosixPath(self.path).name).is_file()
        shown_as, path = f"config.yaml: datasets.{dataset}.path: {self.path}", None
        try:
            path = _find({**self.raw_spec(), "path": self.path}, dataset, self.mirror, was_downloaded)
            if path is None:
                return
            shown_as = f"config.yaml: datasets.{dataset}.path: {path}"
            if (found := find_classes(path, shown_as, self.encoding, self.possible_classes)) is not None:
                check_classes(shown_as, found, self.classes)
        except OSError as error:
            raise UserError(f"{shown_as}: {error.filename or path}: {error.strerror}; correct or remove it.") from None


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Copy an archive into `folder`, or hash a folder's images where they are; return the content of raw.json.

    Raises:
        UserError: there is no such folder or archive, or it has the wrong hash or another layout.
    """
    from deepnets.data import archive, download, raw_files

    path, sha256, encoding = raw_spec["path"], raw_spec.get("sha256"), raw_spec.get("encoding")
    file = raw_files.RawFile(PurePosixPath(path).name, path=path, sha256=sha256)
    found = _find(raw_spec, dataset, mirror, file.is_in(folder))
    if found is not None and found.is_dir():
        return _list_folder(found, dataset)
    download.fetch(file, folder, dataset, mirror, max_gb)
    shown_as = str(found or path)
    try:
        list_images(shown_as, archive.list_members(folder / file.name, shown_as, encoding), ANY_NUMBER)
    except UserError:
        (folder / file.name).unlink()
        raise
    return raw_files.manifest(dataset, folder, [file.name])


def _find(raw_spec: dict, dataset: str, mirror: str | None, was_downloaded: bool) -> Path | None:
    """Find the user's folder or archive; None if the archive is downloaded, or was downloaded before.

    Raises:
        UserError: there is no such folder or archive, or a key is given that does not fit it.
    """
    path = raw_spec["path"]
    found = find_local(path, dataset, mirror)
    key = f"config.yaml: datasets.{dataset}.path is {path!r}"
    if found is not None and found.is_dir():
        for given in sorted({"sha256", "encoding"} & raw_spec.keys()):
            raise UserError(
                f"config.yaml: datasets.{dataset}.{given} is for archives, but path {path!r} is a folder; remove it."
            )
        return found
    if found is None and "://" not in (mirror or "") and not was_downloaded:
        searched = ", ".join(str(each.absolute()) for each in search_paths(path, dataset, mirror))
        raise UserError(
            f"{key}, which does not exist (searched: {searched}). Correct it or put it there, or name the folder that"
            f" has it: {MIRROR_VARIABLE}=<folder>, or `mirror:` of datasets.{dataset} in config.yaml."
        )
    if kind_by_name(path) is None or (found is not None and not found.is_file()):
        is_table = path.lower().endswith(TABLES)
        hint = "write `source: csv` for a table of images and labels" if is_table else "give one of these"
        raise UserError(f"{key}, neither a folder nor an archive ({', '.join(ARCHIVES)}); {hint}.")
    return found


def _list_folder(path: Path, dataset: str) -> dict:
    from deepnets.data import raw_files

    with unreadable_named(path):
        names = list_images(str(path), list_folder(path, classes=ANY_NUMBER), ANY_NUMBER)
        return {**raw_files.manifest(dataset, path, names), "folder": str(path)}


def read(options: Options, raw: "Raw") -> "ImageSource":
    """List the images; each block is read and decoded when its task runs.

    Raises:
        UserError: wrong layout or number of classes, changed or damaged files, unsafe archives; the tasks raise it too.
    """
    from deepnets.data import archive
    from deepnets.data.image_files import ArchiveFiles, Files, FolderFiles, read_images

    if raw.in_place:
        if not raw.folder.is_dir():
            raise UserError(
                f"{raw.folder}: not the folder of images that {raw.manifest} lists; put it back, or delete"
                f" {raw.manifest}, so that the images are listed again."
            )
        files: Files = FolderFiles(raw)
        with unreadable_named(raw.folder):
            listed = list_folder(raw.folder, classes=options.possible_classes)
    else:
        name = PurePosixPath(options.path).name
        path = raw.verified(name)
        files = ArchiveFiles(path, options.path, raw.sha256[name], options.encoding)
        listed = archive.list_members(path, files.shown_as, options.encoding)
    layout = read_layout(files.shown_as, listed, options.drawing, options.possible_classes)
    if raw.in_place and (difference := set(layout.names()) ^ set(raw.sha256)):
        raise raw.changed(min(difference))
    check_classes(files.shown_as, layout.classes, options.classes)
    folder = raw.folder if raw.in_place else None
    for name in folders_left_out(files.shown_as, listed, options.possible_classes, folder):
        LOG.warning(
            "%s: the images in %s are not used; if they are a split, rename the folder to val or test, next to train",
            files.shown_as,
            printable(name),
        )
    report_case_twins(files.shown_as, layout.classes)
    return read_images(files, layout, options)
