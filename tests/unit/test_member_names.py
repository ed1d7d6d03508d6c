"""Names in archives whose encoding nobody says, and zips as Windows writes them."""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from deepnets.data import archive
from deepnets.data import sources as datasets
from deepnets.utils.errors import UserError


def write_zip(path: Path, names: list[bytes], extra: bytes = b"", method: int = 0) -> Path:
    """Write a zip as its format says, with these bytes as names, without the flag that they are UTF-8."""
    body, directory = b"", b""
    for name in names:
        fields = struct.pack(
            "<HHHHLLLHH", 0, method, 0, 33, zlib.crc32(name), len(name), len(name), len(name), len(extra)
        )
        directory += b"PK\1\2\x14\0\x14\0" + fields + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name + extra
        body += b"PK\3\4\x14\0" + fields + name + extra + name  # its content is its name
    end = struct.pack("<HHHHLLH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\5\6" + end)
    return path


def write_tar(path: Path, names: list[bytes], format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format, encoding="latin-1") as packed:
        for name in names:
            member = tarfile.TarInfo(name.decode("latin-1"))
            member.size = len(name)
            packed.addfile(member, io.BytesIO(name))
    return path


def listed(path: Path, encoding: str | None = None) -> list[str]:
    """The names of an archive, which are those under which its content is read."""
    names = archive.list_members(path, encoding=encoding)
    assert [name for name, _ in archive.read_members(path, set(names), encoding=encoding)] == names
    return names


NAMES = {"gbk": "train/猫/1.png", "cp932": "train/表/1.png", "cp1251": "train/кот/1.png", "cp437": "train/Bär/1.png"}


@pytest.mark.parametrize(("encoding", "name"), NAMES.items())
def test_zip_of_unknown_encoding_is_refused_with_the_option_and_read_with_it(tmp_path, encoding, name):
    path = write_zip(tmp_path / "images.zip", [b"test/a/1.png", name.encode(encoding)])
    with pytest.raises(UserError, match=rf"'{name}' in {encoding}.*`encoding:` of this dataset") as error:
        listed(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert listed(path, encoding) == ["test/a/1.png", name]


@pytest.mark.parametrize(("encoding", "name"), NAMES.items())
def test_tar_of_unknown_encoding_is_refused_with_the_option_and_read_with_it(tmp_path, encoding, name):
    path = write_tar(tmp_path / "images.tar", [b"test/a/1.png", name.replace("猫", "猫狗鸟").encode(encoding)])
    with pytest.raises(UserError, match=rf" in {encoding}.*`encoding:` of this dataset"):
        listed(path)
    assert listed(path, encoding)[1] == name.replace("猫", "猫狗鸟")


@pytest.mark.parametrize(
    "names",
    [
        ["train/猫/1.png"],
        ["train/кот/1.png"],
        ["train/cafe\u0301/1.png"],
        ["train/A\u0308/1", "o\u0308/2"],
        ["ě/1", "ő/2"],
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_names_that_can_hardly_be_anything_but_utf8_are(tmp_path, write, names):
    path = write(tmp_path / f"images.{write.__name__[-3:]}", [name.encode() for name in names])
    assert listed(path) == names


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["猫/1.png", "牛/1.png", "女/1.png"]),
        ("gbk", ["cat猫/1.png", "ox牛/1.png"]),
        ("cp932", ["ﾈｺ/1.png", "ﾑｼ/1.png", "ﾊｺ/1.png"]),
        ("utf-8", ["café/1.png", "bär/1.png"]),
    ],
)
def test_names_that_are_also_text_in_another_encoding_are_refused(tmp_path, encoding, names):
    path = write_zip(tmp_path / "images.zip", [name.encode(encoding) for name in names])
    with pytest.raises(UserError, match=rf"{names[0]}' in {encoding}"):
        listed(path)
    assert listed(path, encoding) == names


def test_two_bytes_that_may_be_utf8_or_chinese_are_refused_with_each_reading(tmp_path):
    path = write_zip(tmp_path / "images.zip", [b"train/\xc3\xa8/1.png"])
    with pytest.raises(
        UserError, match=r"is 'train/è/1.png' in utf-8, 'train/猫/1.png' in gbk, 'train/ﾃｨ/1.png' in cp932"
    ):
        listed(path)
    assert listed(path, "utf-8") == ["train/è/1.png"]


def unicode_path(stored: bytes, name: str) -> bytes:
    field = struct.pack("<BL", 1, zlib.crc32(stored)) + name.encode()
    return struct.pack("<HH", 0x5455, 1) + b"\0" + struct.pack("<HH", 0x7075, len(field)) + field


def test_name_in_the_unicode_field_of_info_zip_is_used(tmp_path):
    stored = "train/猫/1.png".encode("gbk")
    path = write_zip(tmp_path / "images.zip", [stored], unicode_path(stored, "train/猫/1.png"))
    assert listed(path) == listed(path, "cp1251") == ["train/猫/1.png"]


def test_unicode_field_of_another_name_is_not_used(tmp_path):
    stored = "train/猫狗/1.png".encode("gbk")
    path = write_zip(tmp_path / "images.zip", [stored], unicode_path(b"renamed since", "train/a/1.png"))
    assert listed(path, "gbk") == ["train/猫狗/1.png"]


def test_name_marked_as_utf8_keeps_its_encoding(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("train/è/1.png", b"")
    assert listed(path, "gbk") == ["train/è/1.png"]


def test_pax_name_of_a_tar_keeps_its_encoding(tmp_path):
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as packed:
        packed.addfile(tarfile.TarInfo("train/è/1.png"))
    assert listed(path, "gbk") == ["train/è/1.png"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_wrong_encoding_is_named_with_the_name_that_shows_it(tmp_path, write):
    path = write(tmp_path / f"images.{write.__name__[-3:]}", ["train/кот/1.png".encode("cp1251")])
    with pytest.raises(UserError, match=r"name b'train/\\xea\\xee\\xf2/1\.png' is not in the encoding 'utf-8'"):
        listed(path, "utf-8")


@pytest.mark.parametrize(
    "encoding",
    [
        *(
            "gbk2",
            "utf-16",
            "hex",
            "rot13",
            "",
            "utf-7",
            "\0",
            "idna",
            "unicode_escape",
            "raw_unicode_escape",
            "punycode",
        ),
        *("base64", "quopri", "zlib", "hz", "undefined", "cp037", "aliases", "a.b", "x" * 10_000),
    ],
)
def test_what_is_no_encoding_of_names_is_refused(encoding):
    with pytest.raises(ValueError, match="must be an encoding, such as gbk, cp932, cp1251, cp437 or utf-8"):
        datasets.source("folder").Options(source="folder", path="a.zip", classes=2, size=4, encoding=encoding)


# -- Windows -----------------------------------------------------------------------------------------------------------


def test_backslashes_between_folders_of_a_zip_are_taken(tmp_path):
    path = write_zip(tmp_path / "images.zip", [b"train\\a\\", b"train\\a\\1.png", "test\\表\\1.png".encode("cp932")])
    names = archive.list_members(path, encoding="cp932")
    assert names == ["train/a/", "train/a/1.png", "test/表/1.png"]
    assert dict(archive.read_members(path, set(names), encoding="cp932")).keys() == set(names[1:])


@pytest.mark.parametrize(
    "name", [b"..\\evil.png", b"train\\..\\..\\evil.png", b"\\evil.png", b"C:\\evil.png", b"\\\\server\\x"]
)
def test_backslashes_that_lead_outside_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="refused, because member"):
        listed(write_zip(tmp_path / "images.zip", [b"train/a/1.png", name]))


def test_same_name_with_either_slash_is_refused(tmp_path):
    with pytest.raises(UserError, match="occurs twice"):
        listed(write_zip(tmp_path / "images.zip", [b"train/a/1.png", b"train\\a\\1.png"]))


@pytest.mark.parametrize(
    ("method", "name"),
    [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd"), (99, "AES"), (1, "Shrink"), (77, "method 77")],
)
def test_packing_that_cannot_be_unpacked_is_named_with_what_to_do(tmp_path, method, name):
    with pytest.raises(
        UserError, match=rf"is packed with {name}.*unpack the archive.*give the folder as `path:`"
    ) as error:
        archive.list_members(write_zip(tmp_path / "images.zip", [b"train/a/1.png"], method=method))
    assert "fetch it again" not in str(error.value)


def test_zip_of_a_version_that_cannot_be_read_is_no_damaged_archive(tmp_path):
    path = write_zip(tmp_path / "images.zip", [b"train/a/1.png"])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99  # the version that is needed to extract it
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"cannot be read here \(zip file version 9\.9\); unpack it and give the folder"
    ):
        archive.list_members(path)
