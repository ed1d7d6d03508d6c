"""Archives: members that are read, and members that are refused before a byte of them is used."""

import contextlib
import gzip
import io
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from deepnets.data import archive
from deepnets.data.file_kinds import ARCHIVES, BZIP2, GZIP, TAR, XZ, kind_by_name, kind_of
from deepnets.utils.errors import UserError

FILES = {"train/a/1.png": b"one", "test/a/2.png": b"two"}
_MODES = {TAR: "w", GZIP: "w:gz", BZIP2: "w:bz2", XZ: "w:xz"}


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """Pack files into an archive whose kind its name says."""
    if kind_by_name(path.name) == ARCHIVES[".zip"]:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    else:
        with tarfile.open(path, _MODES[kind_by_name(path.name)]) as packed:
            for name, content in files.items():
                add_member(packed, name, content)
    return path


def add_member(packed: tarfile.TarFile, name: str, content: bytes = b"", **attributes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    packed.addfile(member, io.BytesIO(content))


PACKED = ("images.zip", "images.tar.gz", "images.tar.bz2", "images.tar.xz")
every_kind = pytest.mark.parametrize("name", [*PACKED, "images.tar"])
every_ending = pytest.mark.parametrize("name", [f"images{ending}" for ending in ARCHIVES])
every_packed_kind = pytest.mark.parametrize("name", PACKED)


@every_ending
def test_every_kind_is_listed_and_read_in_order(tmp_path, name):
    path = write_archive(tmp_path / name.upper(), FILES)
    assert archive.list_members(path) == list(FILES)
    assert dict(archive.read_members(path, FILES)) == FILES
    assert kind_of(path.read_bytes()) == kind_by_name(name)


def test_short_endings_are_of_the_same_kind_as_the_long_ones():
    short = {".tgz": ".tar.gz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}
    assert {ending: ARCHIVES[ending] for ending in short} == {each: ARCHIVES[long] for each, long in short.items()}


@every_kind
def test_only_requested_members_are_read(tmp_path, name):
    path = write_archive(tmp_path / name, FILES)
    assert dict(archive.read_members(path, {"test/a/2.png"})) == {"test/a/2.png": b"two"}


@every_kind
def test_leading_dot_is_taken_off(tmp_path, name):
    path = write_archive(tmp_path / name, {"./train/a/1.png": b"one"})
    assert archive.list_members(path) == ["train/a/1.png"]
    assert dict(archive.read_members(path, {"train/a/1.png"})) == {"train/a/1.png": b"one"}


@every_kind
@pytest.mark.parametrize("member", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil"])
def test_name_that_leads_outside_is_refused(tmp_path, name, member):
    path = write_archive(tmp_path / name, {**FILES, member: b""})
    with pytest.raises(UserError, match="refused, because member") as error:
        archive.list_members(path)
    assert str(path) in str(error.value)
    assert repr(member) in str(error.value)


@every_kind
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_same_name_twice_is_refused(tmp_path, name):
    path = write_archive(tmp_path / name, {**FILES, "./train/a/1.png": b"another"})
    with pytest.raises(UserError, match="occurs twice"):
        archive.list_members(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as packed:
        add_member(packed, "train/a/1.png", type=kind, linkname="/etc/passwd")
    with pytest.raises(UserError, match="is a link or a device"):
        archive.list_members(path)


def test_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as packed:
        member = zipfile.ZipInfo("train/a/1.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(member, "/etc/passwd")
    with pytest.raises(UserError, match="is a link or a device"):
        archive.list_members(path)


def test_encrypted_zip_is_refused(tmp_path):
    path = write_archive(tmp_path / "images.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    with pytest.raises(UserError, match="is encrypted"):
        archive.list_members(path)


@every_packed_kind
def test_bomb_is_refused_by_its_ratio(tmp_path, name, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_MATTERS_FROM", 100_000)
    path = write_archive(tmp_path / name, {f"train/a/{i}.png": bytes(100_000) for i in range(10)})
    with pytest.raises(UserError, match="archive bomb"):
        archive.list_members(path)


@every_kind
def test_bomb_is_refused_by_its_declared_total(tmp_path, name, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 1000)
    path = write_archive(tmp_path / name, FILES)
    with pytest.raises(UserError, match="archive bomb"):
        archive.list_members(path)


@every_kind
def test_member_larger_than_any_image_is_refused(tmp_path, name, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 20_000)
    path = write_archive(tmp_path / name, {"train/a/1.png": bytes(20_001)})
    with pytest.raises(UserError, match="declares 20,001 bytes"):
        archive.list_members(path)


def test_tar_header_of_any_size_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 20_000)
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, 10**9
    path = tmp_path / "images.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)))
    with pytest.raises(UserError, match="a header of 1,000,000,000 bytes"):
        archive.list_members(path)


@every_kind
@pytest.mark.parametrize("kept", [0, 0.01, 0.5])
def test_truncated_archive_is_named(tmp_path, name, kept):
    path = write_archive(tmp_path / name, {f"train/a/{i}.png": bytes([i]) * 5000 for i in range(9)})
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(UserError, match="damaged archive") as error:
        archive.list_members(path)
    assert str(path) in str(error.value)


MANY = {f"train/a/{i}.png": random.Random(i).randbytes(700) for i in range(40)}


@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz", "images.tar.xz"])  # bzip2 packs 900 kB as one
def test_members_before_the_place_where_a_tar_breaks_off_are_listed_and_whole(tmp_path, name):
    path = write_archive(tmp_path / name, MANY)
    os.truncate(path, path.stat().st_size * 3 // 4)
    with pytest.raises(UserError, match="damaged archive"):
        archive.list_members(path)
    names, error = archive.list_undamaged(path)
    assert 0 < len(names) < len(MANY)
    assert str(error) == f"{path}: damaged from train/a/{len(names)}.png on; fetch it again."
    assert dict(archive.try_members(path, names)) == {each: MANY[each] for each in names}


@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz", "images.tar.bz2", "images.tar.xz"])
def test_of_a_damaged_tar_no_member_with_a_changed_byte_is_listed(tmp_path, name):
    path = write_archive(tmp_path / name, MANY)
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with contextlib.suppress(UserError):  # refused as a whole
            names, error = archive.list_undamaged(path)
            if error is not None:  # the contents of a plain tar have no checksum
                assert dict(archive.try_members(path, names)) == {each: MANY[each] for each in names}


def test_a_whole_archive_is_listed_without_an_error(tmp_path):
    path = write_archive(tmp_path / "images.tar.gz", FILES)
    assert archive.list_undamaged(path) == (list(FILES), None)


def test_an_archive_that_is_unsafe_before_its_damage_is_refused(tmp_path):
    path = write_archive(tmp_path / "images.tar", {"1.png": b"one", "../2.png": b"two", "3.png": bytes(700)})
    os.truncate(path, 4 * 512 + 512 + 100)
    with pytest.raises(UserError, match="refused, because member"):
        archive.list_undamaged(path)


def test_plain_tar_is_named_wherever_it_breaks_off(tmp_path):
    whole = write_archive(tmp_path / "whole.tar", {f"train/a/{i}.png": bytes([i]) * 700 for i in range(5)})
    cut = tmp_path / "cut.tar"
    for size in range(0, 5 * (512 + 1024) + 1, 64):  # up to the last byte before the blocks of zeros
        cut.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(UserError, match="damaged archive"):
            archive.list_members(cut)


@pytest.mark.parametrize("place", range(0, 512, 37))
def test_tar_with_one_bad_header_is_named(tmp_path, place):
    path = write_archive(tmp_path / "birds.tar", {f"train/a/{i}.png": bytes([i]) * 700 for i in range(5)})
    content = bytearray(path.read_bytes())
    content[3 * (512 + 1024) + place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged archive"):
        archive.list_members(path)


@every_packed_kind
@pytest.mark.parametrize("lost", [1, 20])
def test_archive_that_lacks_its_last_bytes_is_named(tmp_path, name, lost):
    path = write_archive(tmp_path / name, FILES)
    os.truncate(path, path.stat().st_size - lost)
    with pytest.raises(UserError, match="damaged archive"):
        archive.list_members(path)


def test_zip_that_lacks_its_first_byte_is_named(tmp_path):
    path = write_archive(tmp_path / "images.zip", FILES)
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(UserError, match="damaged archive"):
        list(archive.read_members(path, archive.list_members(path)))


@every_packed_kind
def test_damaged_content_is_named(tmp_path, name):
    content = bytes(range(256)) * 100
    path = write_archive(tmp_path / name, {"train/a/1.png": content})
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 8] = bytes(8)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="damaged archive"):
        list(archive.read_members(path, archive.list_members(path)))


@every_kind
@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"Rar!\x1a\x07\x01\0", "RAR archive"),
        (b"7z\xbc\xaf", "7-Zip archive"),
        (b"<!doctype html>", "web page"),
    ],
)
def test_archive_of_another_kind_is_named(tmp_path, name, start, kind):
    (tmp_path / name).write_bytes(start + bytes(600))
    with pytest.raises(UserError, match=rf"{name}: is a {kind}; give one of \.zip, \.tar, "):
        archive.list_members(tmp_path / name)


@every_kind
def test_text_file_is_no_archive(tmp_path, name):
    (tmp_path / name).write_text("not an archive " * 100)
    with pytest.raises(UserError, match="damaged archive, or not one"):
        archive.list_members(tmp_path / name)


@pytest.mark.parametrize(
    ("packed", "name", "kind"),
    [
        ("a.tar.gz", "b.tar", "a gzip file"),
        ("a.tar", "b.zip", "a tar archive"),
        ("a.zip", "b.tar.gz", "a zip archive"),
        ("a.tar.xz", "b.tgz", "an xz file"),
        ("a.tbz", "b.txz", "a bzip2 file"),
        ("a.zip", "b.tar.xz", "a zip archive"),
    ],
)
def test_archive_whose_name_has_the_ending_of_another_kind_is_named(tmp_path, packed, name, kind):
    path = write_archive(tmp_path / packed, FILES).rename(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: is {kind}; give its name the ending that fits\."):
        archive.list_members(path)


def test_empty_archive_is_called_empty(tmp_path):
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(UserError, match=r"a\.tar\.gz: a damaged archive, or not one \(it is empty\); fetch it again"):
        archive.list_members(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz", "images.tar.bz2", "images.tar.xz"])
def test_second_archive_behind_the_end_of_a_tar_is_no_silent_loss(tmp_path, name):
    path = write_archive(tmp_path / name, FILES)
    more = write_archive(tmp_path / f"more-{name}", {"train/a/3.png": b"three"})
    path.write_bytes(path.read_bytes() + more.read_bytes())
    with pytest.raises(UserError, match="more follows its end"):
        archive.list_members(path)
