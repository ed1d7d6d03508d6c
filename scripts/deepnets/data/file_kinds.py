"""What a file is that cannot be decoded or unpacked: a name for messages, found by its first bytes."""

START = 512  # bytes of a file that are enough
AVIF, RAR, SEVEN_ZIP, WEB_PAGE = "an AVIF picture", "a RAR archive", "a 7-Zip archive", "a web page"
_MAGIC = (  # (offset, bytes, what it is)
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"DDS ", "a DDS picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"Rar!", RAR),
    (0, b"7z\xbc\xaf", SEVEN_ZIP),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (128, b"DICM", "a DICOM picture"),
)
_BRANDS = {b"avif": AVIF, b"avis": AVIF, b"crx ": "a Canon raw picture"}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def kind_of(data: bytes) -> str | None:
    """Return what a file is, with its article; None if its first bytes say nothing."""
    if not data:
        return "an empty file"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "a HEIC picture" if brand in _HEIC_BRANDS else _BRANDS.get(brand, "a video")
    for offset, magic, kind in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return kind
    return _kind_of_text(data[:START].lstrip().lower())


def _kind_of_text(start: bytes) -> str | None:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (`git lfs pull` fetches the image)"
    if b"<svg" in start:
        return "an SVG drawing"
    return WEB_PAGE if start.startswith((b"<!doctype html", b"<html")) else None
