"""Folds: several divisions of the same images into training and test split, so that each image is tested once.

The arrays hold each image once. The file of the test split has the first fold, that of the training split the others,
one after the other. An experiment's seed chooses the fold that it tests: see `DatasetOptions.of_seed`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepnets.data.intensities import channel_statistics, count_intensities


@dataclass(frozen=True)
class Folds:
    """Where each fold is among all images: rows count from the first image of the first fold on.

    sizes        number of images in each fold
    validation   for each fold that is tested: rows of the images to validate on, ascending; None: an experiment draws
                 them itself
    """

    sizes: list[int]
    validation: list[list[int]] | None = None

    def describe(self) -> dict[str, Any]:
        """Return what dataset.json has under `folds`."""
        return {"sizes": self.sizes} | ({} if self.validation is None else {"validation": self.validation})

    def fit(self, images: int) -> bool:
        """Whether these can be the folds of this many images."""
        chosen = [[]] * len(self.sizes) if self.validation is None else self.validation
        within = all(row < images for rows in chosen for row in rows)
        return within and sum(self.sizes) == images and len(chosen) == len(self.sizes)

    def of_rows(self) -> np.ndarray:
        """Return the fold of each row, int64 (N,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def of_files(self) -> np.ndarray:
        """Return the fold of each image of the training split's file, then of the test split's: int64 (N,)."""
        return np.roll(self.of_rows(), -self.sizes[0])

    def rows(self, fold: int) -> dict[str, np.ndarray]:
        """Return the rows of an experiment that tests one fold: int64, by split.

        "train" is as in the arrays of a dataset without folds: validation images that were chosen here come last.
        """
        of_rows = self.of_rows()
        validation = np.array([] if self.validation is None else self.validation[fold], np.int64)
        train = np.setdiff1d(np.flatnonzero(of_rows != fold), validation)
        return {"train": np.concatenate([train, validation]), "test": np.flatnonzero(of_rows == fold)}


def how_folds_are_used(number: int) -> str:
    """Say which fold is tested when, for the log and dataset.json."""
    return (
        f"each image is in one of {number} test splits, the same for every experiment; seed 0 is tested on the first,"
        f" seed 1 on the second, seed {number} on the first again"
    )


def of_fold(metadata: dict[str, Any], fold: int, images: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the rows of each split, and dataset.json as it would be if these were the only splits.

    Args:
        metadata: the content of dataset.json.
        fold: that is tested.
        images: all images, fold after fold, uint8 (N, H, W, C).
    """
    folds = Folds(**metadata["folds"])
    rows = folds.rows(fold)
    trained = len(rows["train"])
    changed: dict[str, Any] = {}
    if folds.validation is not None:
        trained -= len(folds.validation[fold])
        changed["validation_rows"] = [trained, len(rows["train"])]
    if "test_files" in metadata:
        files = [*metadata["test_files"], *metadata["train_files"]]
        changed["test_files"] = [files[row] for row in rows["test"]]
    mean, std = channel_statistics(count_intensities(images[rows["train"][:trained]]))
    return rows, {**metadata, **changed, "mean": mean, "std": std}
