"""Ink on paper becomes bright on black."""

import numpy as np
import pytest

from deepnets.data.ink import to_bright_on_black


def test_full_contrast_is_only_inverted():
    pixels = np.array([[255, 255, 200], [128, 60, 0]], np.uint8)
    assert np.array_equal(to_bright_on_black(pixels), 255 - pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_paper_becomes_black_and_the_darkest_ink_white(channels):
    pixels = np.full((8, 8, channels), 170, np.uint8)
    pixels[0], pixels[2:4], pixels[4, 4] = 190, 130, 90  # where more light falls, a stroke, and its middle
    found = to_bright_on_black(pixels)
    assert found.dtype == np.uint8
    assert found.shape == pixels.shape
    assert set(found[[0, 1, 5]].flatten()) == {0}
    assert set(found[2:4].flatten()) == {128}
    assert set(found[4, 4]) == {255}


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_paper_without_ink_is_black(gray):
    assert to_bright_on_black(np.full((8, 8, 1), gray, np.uint8)).max() == 0
