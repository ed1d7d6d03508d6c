"""What a file is that cannot be decoded or unpacked: a name for messages, found by its first bytes."""

START = 512  # bytes of a file that are enough
AVIF, EMPTY, WEB_PAGE = "an AVIF picture", "an empty file", "a web page"
TAR, GZIP, BZIP2, XZ = "a tar archive", "a gzip file", "a bzip2 file", "an xz file"
# The archives that are read, by the ending of their names.
ARCHIVES = {
    ".zip": "a zip archive",
    ".tar": TAR,
    **dict.fromkeys((".tar.gz", ".tgz"), GZIP),
    **dict.fromkeys((".tar.bz2", ".tbz", ".tbz2"), BZIP2),
    **dict.fromkeys((".tar.xz", ".txz"), XZ),
}
_RAR, _7_ZIP, _ZSTANDARD = "a RAR archive", "a 7-Zip archive", "a Zstandard file"
PACKED_KINDS = {*ARCHIVES.values(), _RAR, _7_ZIP, _ZSTANDARD}  # also those that are not read
_MAGIC = (  # (offset, bytes, what it is)
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"DDS ", "a DDS picture"),
    *((0, bytes((10, version, 1)), "a PCX picture") for version in (0, 2, 3, 4, 5)),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster picture"),
    (0, b"\x01\xda", "an SGI picture"),
    (0, b"icns", "an icon of macOS"),
    (0, b"qoif", "a QOI picture"),
    (0, b"gimp xcf", "a GIMP picture"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (40, b" EMF", "an EMF drawing"),
    (0, b"#?RADIANCE", "a Radiance picture"),
    (0, b"SIMPLE  =", "a FITS picture"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"/* XPM */", "an XPM picture"),
    (0, b"P7\n", "a PAM picture"),
    (0, b"\x8aMNG", "an MNG animation"),
    (0, b"MATLAB ", "a MATLAB file"),
    (344, b"n+1\0", "a NIfTI picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", ARCHIVES[".zip"]),
    (0, b"Rar!", _RAR),
    (0, b"7z\xbc\xaf", _7_ZIP),
    (0, b"\x1f\x8b", GZIP),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"BZh", BZIP2),
    (0, b"\x28\xb5\x2f\xfd", _ZSTANDARD),
    (257, b"ustar", TAR),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (128, b"DICM", "a DICOM picture"),
)
_BRANDS = {b"avif": AVIF, b"avis": AVIF, b"crx ": "a Canon raw picture"}
_END_OF_TGA = b"TRUEVISION-XFILE.\0"
# A TGA of the first version says nothing but: colour map or not, kind of pixels, and, in byte 16, their bits.
_TGA_KINDS, _TGA_BITS = {0: (2, 3, 10, 11), 1: (1, 9)}, (8, 15, 16, 24, 32)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def kind_by_name(name: str) -> str | None:
    """Return what an archive is by the ending of its name; None if that is of no archive that is read."""
    return next((kind for ending, kind in ARCHIVES.items() if name.lower().endswith(ending)), None)


def kind_of(data: bytes) -> str | None:
    """Return what a file is, with its article; None if its first bytes, and those at the end, say nothing."""
    if not data:
        return EMPTY
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "a HEIC picture" if brand in _HEIC_BRANDS else _BRANDS.get(brand, "a video")
    for offset, magic, kind in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return kind
    if data.endswith(_END_OF_TGA) or _looks_like_tga(data):
        return "a TGA picture"
    return _kind_of_text(data[:START].lstrip().lower())


def _looks_like_tga(data: bytes) -> bool:
    return (
        len(data) > 18
        and data[2] in _TGA_KINDS.get(data[1], ())
        and data[16] in _TGA_BITS
        and any(data[12:14])  # its width
        and any(data[14:16])
    )


def _kind_of_text(start: bytes) -> str | None:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (`git lfs pull` fetches the image)"
    if b"<svg" in start:
        return "an SVG drawing"
    return WEB_PAGE if start.startswith((b"<!doctype html", b"<html")) else None
