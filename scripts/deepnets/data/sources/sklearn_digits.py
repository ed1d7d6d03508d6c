"""scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, its
test split, as scikit-learn ships it (`sklearn.datasets.load_digits`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from deepnets.data.draws import Image, draw_folds
from deepnets.data.folds import Folds
from deepnets.data.sources import FOLDS, DatasetOptions, FoldCount

if TYPE_CHECKING:
    from deepnets.data.image_source import ImageSource
    from deepnets.data.raw_files import Raw

SPLIT_SEED = 0


class Options(DatasetOptions):
    """scikit-learn's digits."""

    source: Literal["sklearn_digits"]
    folds: FoldCount | None = Field(default=None, description=FOLDS)

    @property
    def number_of_folds(self) -> int | None:
        return self.folds

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

    def prepared_spec(self) -> dict:
        return super().prepared_spec() | ({} if self.folds is None else {"folds": self.folds})


def download(raw_spec: dict, dataset: str, mirror: str | None, folder: Path, max_gb: int) -> dict:
    """Return an empty list of files: the images come with scikit-learn."""
    return {"files": []}


def read(options: Options, raw: "Raw") -> "ImageSource":
    """Split the digits into 1,437 training and 360 test images, stratified.

    The source has no official split, so 20 % are drawn with a fixed seed; every experiment has the same test split.
    The data does not name the 13 writers, so both splits have digits of the same hands. With `folds`, each digit is in
    one of several test splits instead.
    """
    from sklearn.datasets import load_digits

    from deepnets.data.image_source import from_arrays

    digits = load_digits()
    # Pixels have 17 intensities, 0 to 16. They become 0 to 255, rounded to the nearest integer, halves up.
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[..., np.newaxis]
    rows_of, folds = _drawn(digits.target) if options.folds is None else _folds(digits.target, options.folds)
    splits = {split: (images[rows], digits.target[rows]) for split, rows in rows_of.items()}
    return from_arrays([str(name) for name in digits.target_names], splits, options.input_shape, folds)


def _drawn(labels: np.ndarray) -> tuple[dict[str, np.ndarray], None]:
    """The rows of each split; no folds."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=SPLIT_SEED, stratify=labels)
    return {"train": np.sort(train), "test": np.sort(test)}, None


def _folds(labels: np.ndarray, number: int) -> tuple[dict[str, np.ndarray], Folds]:
    """The rows of each file of arrays, and where the folds are in them."""
    listed = [Image(str(row), str(label), str(row)) for row, label in enumerate(labels)]
    test, *others = (np.array(sorted(map(int, names))) for names in draw_folds(listed, number))
    return {"train": np.concatenate(others), "test": test}, Folds([len(test), *map(len, others)])
