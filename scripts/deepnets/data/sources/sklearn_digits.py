"""scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, its
test split, as scikit-learn ships it (`sklearn.datasets.load_digits`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepnets.data.sources import DatasetOptions

if TYPE_CHECKING:
    from deepnets.data.image_source import ImageSource
    from deepnets.data.raw_files import Raw

SPLIT_SEED = 0


class Options(DatasetOptions):
    """scikit-learn's digits have no keys of their own."""

    source: Literal["sklearn_digits"]

    @property
    def native_shape(self) -> tuple[int, int, int]:
        return (1, 8, 8)

    @property
    def num_classes(self) -> int:
        return 10

    @property
    def native_flips(self) -> bool:
        return False  # a mirrored 2 is not a digit

    @property
    def usual_train_images(self) -> int:
        return 1_437

    def raw_spec(self) -> dict:
        return {"source": self.source}


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Return an empty list of files: the images come with scikit-learn."""
    return {"files": []}


def read(options: Options, raw: "Raw") -> "ImageSource":
    """Split the digits into 1,437 training and 360 test images, stratified.

    The source has no official split, so 20 % are drawn with a fixed seed; every experiment has the same test split.
    The data does not name the 13 writers, so both splits have digits of the same hands.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from deepnets.data.image_source import from_arrays

    digits = load_digits()
    # Pixels have 17 intensities, 0 to 16. They become 0 to 255, rounded to the nearest integer, halves up.
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[..., np.newaxis]
    train, test = train_test_split(
        np.arange(len(images)), test_size=0.2, random_state=SPLIT_SEED, stratify=digits.target
    )
    rows_of = {"train": np.sort(train), "test": np.sort(test)}
    splits = {split: (images[rows], digits.target[rows]) for split, rows in rows_of.items()}
    return from_arrays([str(name) for name in digits.target_names], splits, options.input_shape)
