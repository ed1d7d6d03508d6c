"""Image files that Pillow cannot write."""

import struct
import zlib


def png_of_16_bits(colour_type: int, values: list[int], transparent: list[int]) -> bytes:
    """Write a PNG of one row with the one colour that is clear; Pillow cannot."""
    channels = len(transparent)
    header = struct.pack(">LLBBBBB", len(values) // channels, 1, 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"\0" + struct.pack(f">{len(values)}H", *values))
    chunks = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(f">{channels}H", *transparent)),
        (b"IDAT", pixels),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    )
