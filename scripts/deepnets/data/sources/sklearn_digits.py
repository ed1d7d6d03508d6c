"""scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, its
test part, as scikit-learn ships it (`sklearn.datasets.load_digits`).
"""

from pathlib import Path
from typing import Literal

import numpy as np

from deepnets.data.sources import DatasetOptions

SPLIT_SEED = 0


class Options(DatasetOptions):
    """scikit-learn's digits; nothing to choose beyond what every dataset offers."""

    source: Literal["sklearn_digits"]

    @property
    def native_shape(self) -> tuple[int, int, int]:
        return (1, 8, 8)

    @property
    def num_classes(self) -> int:
        return 10

    @property
    def native_flips(self) -> bool:
        return False  # a mirrored 2 is no digit

    def raw_spec(self) -> dict:
        return {"source": self.source}


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path) -> dict:
    """Nothing to download: the images come with scikit-learn."""
    return {"files": []}


def read(options: Options, raw):
    """The digits as deepnets.data.decode.ImageSource: 1,437 training and 360 test images, stratified.

    The source has no official split, so 20 % are drawn with a fixed seed; every experiment has the same test part.
    The 13 writers are not told apart in the data, so both parts have digits of the same hands.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from deepnets.data.decode import from_arrays

    digits = load_digits()
    # Pixels count 0 to 16 strokes: to 0 to 255, rounded to the nearest integer, halves up.
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[..., np.newaxis]
    train, test = train_test_split(
        np.arange(len(images)), test_size=0.2, random_state=SPLIT_SEED, stratify=digits.target
    )
    parts = {
        part: (images[rows], digits.target[rows]) for part, rows in (("train", np.sort(train)), ("test", np.sort(test)))
    }
    return from_arrays([str(name) for name in digits.target_names], parts, options.input_shape)
