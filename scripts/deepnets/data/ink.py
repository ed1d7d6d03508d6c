"""Ink on paper, as networks know it that were trained on bright on black."""

import numpy as np
from numpy.typing import NDArray

PAPER = 25  # percent of a picture that are paper, at least


def to_bright_on_black(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exchange dark and bright, so that paper becomes black, however gray it is, and the darkest ink white.

    Without that, photographed paper would stay gray, and few digits on it would be recognised.

    Args:
        pixels: dark on bright, of any shape.
    """
    inverted = 255 - pixels
    black, white = np.percentile(inverted, PAPER, method="lower"), inverted.max()
    contrast = max(1.0, float(white) - float(black))
    return np.rint(np.maximum(inverted - float(black), 0) * (255 / contrast)).astype(np.uint8)
