"""Single image files become arrays of one size and colour."""

import io

import numpy as np
import pytest
from PIL import Image

from deepnets.data.decode import decode, fit


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
