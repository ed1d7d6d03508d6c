"""Names of the members of zip and tar archives: from bytes of an encoding that the archive may not say to text."""

import codecs
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

from deepnets.utils.errors import UserError

ENCODING_OPTION = "`encoding:` of this dataset in config.yaml"  # in messages; other words where it is not a dataset's
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # an extra field of Info-ZIP: version, CRC-32 of the name as it stands, the name in UTF-8
_USUAL = ("utf-8", "gbk", "cp932", "cp1251", "cp437")  # the last four of Chinese, Japanese, Russian, Western Windows
# Text that codecs for other things than names read as something else: unicode_escape, idna, punycode, utf-7, hz.
_PLAIN = (rb"\x41\u0041", b"xn--mnchen-3ya", b"a-b", b"+AGE-", b"~{VPND~}", bytes(range(32, 127)))


def is_encoding(name: str) -> bool:
    """Return whether Python knows an encoding of this name in which ASCII is as it is everywhere."""
    try:
        return codecs.lookup(name) is not None and all(text.decode(name) == text.decode("ascii") for text in _PLAIN)
    except (LookupError, ValueError, AttributeError):  # AttributeError: codecs from bytes to bytes, such as hex
        return False


def zip_names(members: Sequence[zipfile.ZipInfo], encoding: str | None, shown_as: str) -> list[str]:
    r"""Return the name of each member, with `/` between folders.

    A name is taken from the member if it says its encoding. Other names are in `encoding`, else in UTF-8 if they can
    hardly be anything else. Some programs on Windows write `\` between folders.

    Raises:
        UserError: the encoding is unknown.
    """
    marked = [_marked_name(member) for member in members]
    unmarked = [_stored_name(member) for member, name in zip(members, marked, strict=True) if name is None]
    decoded = iter(_decode(unmarked, encoding, shown_as))
    return [(next(decoded) if name is None else name).replace("\\", "/") for name in marked]


def tar_name(member: tarfile.TarInfo, encoding: str | None, shown_as: str) -> str:
    """Return the name of a member: of a tar read as UTF-8 with surrogate escapes, which is what nearly all are in.

    Raises:
        UserError: the name is in another encoding, and `encoding` is not given or not the right one.
    """
    if "path" in member.pax_headers:  # these are UTF-8 by definition
        return member.name
    stored = member.name.encode("utf-8", "surrogateescape")
    if encoding is None and _is_text(stored):
        return member.name
    return _decode([stored], encoding, shown_as)[0]


def _marked_name(member: zipfile.ZipInfo) -> str | None:
    """The name if the member says its encoding; None if it does not."""
    if member.flag_bits & _UTF8_FLAG:
        return member.orig_filename
    stored, extra = _stored_name(member), member.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[1:5] == struct.pack("<L", zlib.crc32(stored)) and _is_text(field[5:]):
            return field[5:].decode()
    return None


def _stored_name(member: zipfile.ZipInfo) -> bytes:
    return member.orig_filename.encode("cp437")  # zipfile has decoded it so, and every byte has a character there


def _decode(names: Sequence[bytes], encoding: str | None, shown_as: str) -> list[str]:
    if encoding is None:
        encoding = "utf-8" if all(map(bytes.isascii, names)) or _is_surely_utf8(names) else None
        if encoding is None:
            raise UserError(_unknown(next(name for name in names if not name.isascii()), shown_as))
    for name in names:
        if not _is_text(name, encoding):
            raise UserError(
                f"{shown_as}: the name {name!r} is not in the encoding {encoding!r}; correct {ENCODING_OPTION}, or"
                " pack the archive again with names in UTF-8."
            )
    return [name.decode(encoding) for name in names]


def _is_surely_utf8(names: Sequence[bytes]) -> bool:
    """Whether names of an archive are UTF-8 and not by chance.

    Three bytes that make one character are no chance. Two bytes can be: C3 A8 is è or 猫, "cat猫" can be read as
    "catè", and ﾈｺ as Ⱥ. So no name may be Chinese of the usual characters (GB 2312), nor Japanese of narrow syllables.
    """
    if not all(map(_is_text, names)):
        return False
    if max("".join(name.decode() for name in names)) >= "\u0800":
        return True
    is_chinese = all(_is_text(name, "gb2312") for name in names)
    is_japanese = all(_is_text(name, "cp932") for name in names) and all(
        character.isascii() or "\uff61" <= character <= "\uff9f" for name in names for character in name.decode("cp932")
    )
    return not (is_chinese or is_japanese)


def _is_text(name: bytes, encoding: str = "utf-8") -> bool:
    try:
        name.decode(encoding)
    except ValueError:
        return False
    return True


def _unknown(name: bytes, shown_as: str) -> str:
    readings = ", ".join(f"{name.decode(usual)!r} in {usual}" for usual in _USUAL if _is_text(name, usual))
    return (
        f"{shown_as}: it does not say in which encoding its names are ({name!r} is {readings}); write the right one"
        f" ({', '.join(_USUAL)} ...) as {ENCODING_OPTION}, or pack it again with names in UTF-8."
    )
