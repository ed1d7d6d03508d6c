"""How input is damaged at random, and what must not happen then.

Hypothesis damages whole files: it flips, cuts, repeats and inserts bytes. Each example has seconds and a gigabyte.
A failure prints the example and FUZZ_SEED; `FUZZ_SEED=<number> pytest --full tests/unit/test_fuzzing.py` repeats
it.
"""

import contextlib
import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from PIL import Image, features

from deepnets.utils.errors import UserError

SEED = int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(2**32)))
SECONDS = 20  # of one example; the slowest takes one
BYTES = 2**30
fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")),
    deadline=None,  # `harmless` keeps the time: hypothesis only measures it afterwards
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


# One damage: its kind, where (as a share of the file), how many bytes, and which bytes where it inserts some.
DAMAGE = st.tuples(
    st.sampled_from(("flip", "cut", "zero", "ones", "repeat", "insert", "truncate")),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 64),
    st.binary(min_size=1, max_size=16),
)
DAMAGES = st.lists(DAMAGE, min_size=1, max_size=4)


def damaged(whole: bytes, damages: list[tuple[str, float, int, bytes]]) -> bytes:
    """Return a damaged copy of a file."""
    content = bytearray(whole)
    for kind, where, length, inserted in damages:
        start = int(where * len(content))
        part = content[start : start + length]
        match kind:
            case "flip":
                content[start : start + 1] = bytes(byte ^ 1 << length % 8 for byte in part[:1])
            case "cut":
                del content[start : start + length]
            case "zero":
                content[start : start + length] = bytes(len(part))
            case "ones":
                content[start : start + length] = b"\xff" * len(part)
            case "repeat":
                content[start:start] = part
            case "insert":
                content[start:start] = inserted
            case "truncate":
                del content[start:]
    return bytes(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


class TooSlow(BaseException):
    """An example took too long; no handler of the code may catch this."""


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Fail if the block takes too long, or too much memory."""

    def stop(*_: object) -> None:
        raise TooSlow(f"more than {SECONDS} s")

    note(f"FUZZ_SEED={SEED}")
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is counted from here
    in_use = memory("VmRSS")
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert memory("VmHWM") - in_use < BYTES


def memory(key: str) -> int:
    """Return a figure of this process's memory in bytes: VmRSS, in use, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_names(error: Exception, *names: str) -> None:
    """Check that a refusal is plain lines that name the input."""
    text = str(error)
    assert any(name in text for name in names), text
    assert "Traceback" not in text
    assert all(line.isprintable() for line in text.splitlines()), text
    assert len(text) < 20_000


def read_or_refuse(read: Callable[[Path], object], path: Path, content: bytes) -> None:
    """Have a damaged file read; if it is refused, then by a line with its name."""
    path.write_bytes(content)
    with harmless():
        try:
            read(path)
        except UserError as error:
            assert_names(error, path.name)


@cache
def pictures() -> dict[str, bytes]:
    """A small file of each format and mode that people have, some with EXIF."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 7), np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"  # orientation, description
    saved = {
        "jpeg": (colour, {"format": "JPEG", "exif": exif}),
        "progressive jpeg": (colour, {"format": "JPEG", "progressive": True}),
        "cmyk": (colour.convert("CMYK"), {"format": "JPEG"}),
        "png": (colour, {"format": "PNG", "exif": exif}),
        "transparent": (colour.convert("RGBA"), {"format": "PNG"}),
        "palette": (colour.convert("P"), {"format": "PNG"}),
        "16 bits": (deep, {"format": "PNG"}),
        "webp": (colour, {"format": "WEBP", "exif": exif}),
        "bmp": (colour, {"format": "BMP"}),
        "gif": (colour.convert("P"), {"format": "GIF", "save_all": True, "append_images": [colour.convert("P")]}),
        "tiff": (colour, {"format": "TIFF", "compression": "tiff_deflate"}),
        "ppm": (colour, {"format": "PPM"}),
        "16-bit pgm": (deep, {"format": "PPM"}),
        **({"avif": (colour, {"format": "AVIF", "exif": exif})} if features.check("avif") else {}),
    }
    files = {}
    for name, (image, options) in saved.items():
        buffer = io.BytesIO()
        image.save(buffer, **options)
        files[name] = buffer.getvalue()
    return files
