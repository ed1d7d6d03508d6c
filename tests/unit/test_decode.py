"""Single image files become arrays of one size and colour."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from png_files import png_of_16_bits

from deepnets.data.decode import Dim, fit
from deepnets.data.decode import decode as decode_file


def decode(*arguments, **options) -> np.ndarray:
    return decode_file(*arguments, **options).pixels


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def image_file(color=(200, 100, 50), size=(6, 6), mode="RGB", format="PNG", **save) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, format, **save)
    return file.getvalue()


def test_larger_side_is_cut_equally_at_both_ends():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 255  # the centred square
    assert fit(Image.fromarray(pixels), 4, 3).min() == 255


@pytest.mark.parametrize(("channels", "black"), [(1, [0]), (3, [0, 0, 0])])
def test_padding_keeps_all_of_an_image_between_black(channels, black):
    pixels = np.full((4, 8, 3), 255, np.uint8)
    padded = fit(Image.fromarray(pixels), 8, channels, "pad")
    assert (padded[2:6] == 255).all()
    assert (padded[[0, 1, 6, 7]] == black).all()


def test_squashing_keeps_both_ends_of_an_image_and_adds_nothing():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    squashed = fit(Image.fromarray(pixels), 4, 1, "squash")[..., 0]
    assert (squashed[:, 0] == 0).all()
    assert (squashed[:, -1] == 255).all()
    assert np.array_equal(squashed, np.tile(squashed[0], (4, 1)))


def test_image_of_the_right_size_is_kept_to_the_bit():
    pixels = random_images(5, 5, 3)
    assert np.array_equal(fit(Image.fromarray(pixels), 5, 3), pixels)


def test_reduction_averages_pixels():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.ptp(fit(Image.fromarray(board), 8, 1).astype(int)) < 8


def test_enlarging_interpolates_linearly():
    """The centres of four pixels lie at -0.25, 0.25, 0.75 and 1.25 of two: a quarter of 255 is 63.75."""
    pixels = np.array([[0, 255]] * 2, np.uint8)
    assert fit(Image.fromarray(pixels), 4, 1)[0, :, 0].tolist() == [0, 64, 191, 255]


def test_sixteen_bits_become_eight_by_the_nearest_257th():
    """65535 is 255 * 257. 385 / 257 is 1.498, and 128 / 257 is just below a half."""
    pixels = np.array([[0, 128, 129], [385, 386, 51400], [65278, 65406, 65535]], np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert decode(file.getvalue(), 3, 1)[..., 0].tolist() == [[0, 0, 1], [1, 2, 200], [254, 254, 255]]


def test_orientation_is_respected():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0] = 255  # bright on top as stored
    exif = Image.Exif()
    exif[0x0112] = 3  # to be shown turned by 180 degrees
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    image = decode(file.getvalue(), 4, 1)
    assert image[3].min() == 255
    assert image[0].max() == 0


@pytest.mark.parametrize(
    ("file", "rgb"),
    [
        (image_file(128, mode="L"), (128, 128, 128)),
        (image_file(1, mode="1"), (255, 255, 255)),
        (image_file(128 * 257, mode="I;16"), (128, 128, 128)),
        (image_file((0, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (image_file((10, 20, 30, 255), mode="RGBA"), (10, 20, 30)),
        (image_file((40, 255), mode="LA"), (40, 40, 40)),
        (image_file((0, 0), mode="LA"), (255, 255, 255)),
        (image_file((10, 20, 30, 128), mode="RGBA", format="WEBP", lossless=True), (132, 137, 142)),
        (image_file(0, mode="P"), (0, 0, 0)),
        (image_file(0, mode="P", transparency=b"\0"), (255, 255, 255)),
        (image_file((0, 0, 0, 255), mode="CMYK", format="JPEG"), (0, 0, 0)),
    ],
    ids=[
        "gray",
        "bilevel",
        "16bit",
        "clear",
        "opaque",
        "grayalpha",
        "cleargray",
        "half",
        "palette",
        "clearpalette",
        "cmyk",
    ],
)
def test_every_kind_of_pixel_becomes_rgb(file, rgb):
    image = decode(file, 6, 3)
    assert image.shape == (6, 6, 3)
    assert np.abs(image.astype(int) - rgb).max() <= 1


def test_colour_becomes_luma():
    assert decode(image_file((255, 0, 0)), 6, 1).flatten().tolist() == [76] * 36  # 0.299 * 255


def file_of(pixels: np.ndarray, format: str = "PNG", **save) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **save)
    return file.getvalue()


def exif(orientation: int, before: bytes = b"", entries: int = 1) -> bytes:
    """EXIF data with an orientation behind the entries `before`."""
    entry = struct.pack(">HHLHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", entries) + before + entry + bytes(4)


BRIGHT_ON_TOP = np.repeat(np.array([255, 0, 0, 0], np.uint8), 4 * 3).reshape(4, 4, 3)
# A Make whose text lies behind the end, a tag of an unknown type, and one of 4 billion rationals.
ODD_TAGS = [
    struct.pack(">HHLL", 0x010F, 2, 400, 10**6),
    struct.pack(">HHLL", 0x0110, 77, 1, 0),
    struct.pack(">HHLL", 0x0111, 5, 2**32 - 1, 8),
]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tag", ODD_TAGS)
def test_orientation_behind_an_odd_tag_is_respected(format, tag):
    data = exif(3, tag, 2)
    image = decode(file_of(BRIGHT_ON_TOP, format, exif=data if format == "JPEG" else data[6:]), 4, 1)
    assert image[3].mean() > 200 > 50 > image[0].mean()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "data", [b"not a TIFF", b"MM", b"", b"II*\0\xff\xff\xff\xff", exif(99)[6:], exif(0)[6:], exif(6)[6:-9]]
)
def test_image_whose_exif_cannot_be_read_stays_as_it_is(format, data):
    data = b"Exif\0\0" + data if format == "JPEG" else data
    image = decode(file_of(BRIGHT_ON_TOP, format, exif=data), 4, 1)
    assert image[0].mean() > 200 > 50 > image[3].mean()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_is_turned_as_pillow_turns_it(format, orientation):
    tag = Image.Exif()
    tag[0x0112] = orientation
    file = file_of(random_images(6, 6, 3), format, exif=tag, **({"lossless": True} if format == "WEBP" else {}))
    with Image.open(io.BytesIO(file)) as image:
        assert np.array_equal(decode(file, 6, 3), np.asarray(ImageOps.exif_transpose(image)))


def test_tiff_with_an_odd_tag_is_decoded():
    file = bytearray(file_of(BRIGHT_ON_TOP, "TIFF", tiffinfo={0x010F: "a maker of cameras", 0x8769: 2**31}))
    assert np.array_equal(decode(bytes(file), 4, 3), BRIGHT_ON_TOP)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF"])
def test_format_is_found_by_the_content(format):
    image = decode(file_of(np.full((6, 6, 3), 200, np.uint8), format), 6, 3)
    assert np.abs(image.astype(int) - 200).max() <= 3


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_first_of_several_frames_is_used(format):
    file = io.BytesIO()
    frames = [Image.new("L", (6, 6), value) for value in (200, 0, 0)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    assert np.abs(decode(file.getvalue(), 6, 1).astype(int) - 200).max() <= 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"8BPS\0\1", "a Photoshop picture"),
        (b'<?xml version="1.0"?><svg width="4"/>', "an SVG drawing"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x0a\x05\x01\x08" + bytes(124), "a PCX picture"),
        (b"\0\0\x02" + bytes(9) + b"\x04\0\x04\0\x18\0" + bytes(48), "a TGA picture"),
        (bytes(60) + b"TRUEVISION-XFILE.\0", "a TGA picture"),
        (b"\x01\xda\x01\x01", "an SGI picture"),
        (b"P7\nWIDTH 4\n", "a PAM picture"),
        (bytes(128) + b"DICM", "a DICOM picture"),
    ],
)
def test_other_format_is_named(data, kind):
    with pytest.raises(ValueError, match=rf"^is {kind}.*; convert it to JPEG, .* or remove it$"):
        decode(data, 6, 3)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"7z\xbc\xaf", "a 7-Zip archive"), (b"Rar!", "a RAR archive"), (b"BZh9", "a bzip2 file")]
)
def test_an_archive_is_to_be_unpacked(data, kind):
    with pytest.raises(ValueError, match=rf"^is {kind}; unpack it, or remove it$"):
        decode(data, 6, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF"])
def test_half_a_file_is_refused(format):
    file = file_of(random_images(40, 40, 3), format)
    with pytest.raises(ValueError, match=r"^not a whole .*; replace or remove it$"):
        decode(file[: len(file) // 2], 6, 3)


@pytest.mark.parametrize("format", ["PCX", "TGA", "SGI", "ICNS", "EPS", "DDS", "JPEG2000", "ICO", "PDF"])
def test_other_formats_of_pillow_are_named(format):
    picture = Image.new("RGB", (16, 16), (200, 100, 50))
    file = io.BytesIO()
    picture.save(file, format)
    with pytest.raises(ValueError, match=r"^is an? [^;]*(picture|icon|document).*; convert it"):
        decode(file.getvalue(), 6, 3)


def test_empty_file_is_called_empty():
    with pytest.raises(ValueError, match=r"^is empty; replace or remove it$"):
        decode(b"", 6, 3)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_12_bits_are_as_bright_as_bit_depth_says(format):
    file = file_of(np.array([[0, 2048], [4094, 4095]], np.uint16), format)
    assert decode(file, 2, 1).max() == 16
    assert decode_file(file, 2, 1).dim == Dim(12, True)
    assert decode(file, 2, 1, bit_depth=12)[..., 0].tolist() == [[0, 128], [255, 255]]
    assert decode(file, 2, 1, bit_depth=16).max() == 16
    assert decode_file(file, 2, 1, bit_depth=16).dim is None


def test_dark_colour_of_16_bits_is_reported():
    """Pillow keeps the upper 8 bits of each value; it cannot write such a file."""
    header = struct.pack(">LLBBBBB", 1, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + struct.pack(">HHH", 4095, 9, 0))), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    )
    assert decode(file, 1, 3).max() == 15
    assert decode_file(file, 1, 3).dim == Dim(12, False)
    with pytest.raises(
        ValueError, match=r"16 bits in colour or with transparency have no `bit_depth`.*convert it to 8 bits"
    ):
        decode(file, 1, 3, bit_depth=12)


def gray(values: np.ndarray | list) -> bytes:
    return file_of(np.array(values, np.uint16))


NOISE = np.random.default_rng(0).integers(0, 2**12, (64, 64))


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        (NOISE, 12),
        (NOISE * 4, 14),
        (NOISE // 4, 10),
        (NOISE // 16, 8),
        (np.where(np.arange(64 * 64).reshape(64, 64) == 5, 65535, NOISE), 12),  # one pixel is stuck
    ],
)
def test_bits_that_all_but_a_few_pixels_need_are_counted(values, bits):
    assert decode_file(gray(values), 64, 1).dim == Dim(bits, True)
    assert decode(gray(values), 64, 1, bit_depth=bits).mean() > 100


@pytest.mark.parametrize("values", [NOISE * 16, np.eye(64) * 0, np.pad([[60_000]], (0, 63))])
def test_bright_and_black_images_of_16_bits_are_not_reported(values):
    assert decode_file(gray(values), 64, 1).dim is None


@pytest.mark.parametrize("kind", [b"P5", b"P2"])
@pytest.mark.parametrize("comment", [b"", b"# by a microscope\n"])
def test_pgm_says_what_is_white_unless_that_is_all_16_bits(kind, comment):
    def pgm(white: int) -> bytes:
        values = np.array([[0, 2048], [4094, 4095]])
        pixels = values.astype(">u2").tobytes() if kind == b"P5" else b" ".join(b"%d" % each for each in values.flat)
        return b"%b\n%b2 2\n%d\n%b" % (kind, comment, white, pixels)

    bright = [[0, 128], [255, 255]]
    assert decode(pgm(4095), 2, 1)[..., 0].tolist() == decode(pgm(4095), 2, 1, bit_depth=12)[..., 0].tolist() == bright
    assert decode(pgm(65535), 2, 1, bit_depth=12)[..., 0].tolist() == bright
    assert decode_file(pgm(65535), 2, 1).dim == Dim(12, True)


@pytest.mark.parametrize("pixels", [np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70000, np.int32)])
def test_values_without_a_known_white_are_refused(pixels):
    with pytest.raises(ValueError, match="its pixels are signed or 32-bit values; convert it"):
        decode(file_of(pixels, "TIFF"), 2, 1)


def test_black_image_of_16_bits_is_black_without_a_word():
    pixels, dim = decode_file(file_of(np.zeros((2, 2), np.uint16)), 2, 1)
    assert (pixels.max(), dim) == (0, None)


def test_108_megapixels_are_taken_on_request():
    file = file_of(np.zeros((9000, 12000), bool))
    with pytest.raises(ValueError, match=r"12,000 x 9,000 .* 108 megapixels, more than 100;.*`max_megapixels: 109`"):
        decode(file, 2, 1)
    assert decode(file, 2, 1, max_megapixels=109).max() == 0


def test_an_option_that_would_be_refused_is_not_advised():
    with pytest.raises(ValueError, match=r"1200 megapixels, more than 100; make it smaller$"):
        decode(b"P5 40000 30000 255\n", 2, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiff_whose_white_is_0_is_turned(kind):
    file = bytearray(file_of(np.array([[0, 1], [1, 0]], kind) * np.iinfo(kind).max, "TIFF"))
    place = file.index(struct.pack("<HHL", 0x0106, 3, 1)) + 8
    file[place : place + 2] = bytes(2)
    assert decode(bytes(file), 2, 1)[..., 0].tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize(("colour_type", "clear"), [(0, [30_000]), (2, [30_000, 20_000, 10_000])])
def test_clear_colour_of_16_bits_becomes_white(colour_type, clear):
    opaque = [51_400] * len(clear)
    image = decode(png_of_16_bits(colour_type, [*clear, *opaque, *clear, *opaque], clear), 1, 3)
    assert image.mean() == pytest.approx((255 + 200) / 2, abs=1)


def test_png_with_a_long_text_is_decoded():
    text = PngInfo()
    text.add_text("history", "x" * 2_000_000, zip=True)
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(file, "PNG", pnginfo=text)
    assert decode(file.getvalue(), 2, 1).mean() == 7


def test_threads_that_decode_at_once_leave_pillow_and_the_warnings_as_they_were(monkeypatch):
    """The first thread leaves while the second one is inside, which began later."""
    first_is_inside, second_is_inside, first_is_done = (threading.Event() for _ in range(3))
    events = {"first": (first_is_inside, second_is_inside), "second": (second_is_inside, first_is_done)}

    def slow_fit(*arguments):
        inside, go_on = events[threading.current_thread().name]
        inside.set()
        assert go_on.wait(10)
        assert Image.MAX_IMAGE_PIXELS is None
        return fit(*arguments)

    def decode_first():
        decode(file, 2, 1)
        first_is_done.set()

    def decode_second():
        assert first_is_inside.wait(10)
        decode(file, 2, 1)

    monkeypatch.setattr("deepnets.data.decode.fit", slow_fit)
    file, before = gray(np.full((2, 2), 2**15)), (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    threads = [
        threading.Thread(target=work, name=name) for name, work in (("first", decode_first), ("second", decode_second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first_is_done.is_set()
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
