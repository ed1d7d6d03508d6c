"""A split of a dataset as training and evaluation read it, and which images the validation split has."""

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deepnets.data.arrays import is_on_disk, read_ahead, read_at_random, read_in_order
from deepnets.utils.errors import UserError


@dataclass(frozen=True)
class Split:
    """Images and labels of one split of a dataset.

    images: uint8 (M, H, W, C), possibly memory-mapped. labels: int64 (M,). rows: int64 (N,), the indices of the images
    that belong to this split; None for all. All three are on one device. on_disk: the mapped images if their file is
    too large to be read into memory; None if it is in memory, or if the images are on a GPU.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor | None = None
    on_disk: np.memmap | None = None

    @classmethod
    def of_arrays(cls, images: np.ndarray, labels: np.ndarray) -> "Split":
        """All rows of two arrays; they are shared, not copied."""
        with warnings.catch_warnings():  # a mapped file is read-only; nothing here writes to it
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            split = cls(torch.from_numpy(images), torch.from_numpy(labels))
        if not (isinstance(images, np.memmap) and is_on_disk(images)):
            return split
        read_at_random(images)
        return replace(split, on_disk=images)

    def __len__(self) -> int:
        return len(self.labels if self.rows is None else self.rows)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.images.shape[1]

    def to(self, device: torch.device) -> "Split":
        """The same split on the device if it fits in half of the free memory there; else unchanged on the host."""
        if device.type == "cpu" or self.images.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        if self.on_disk is not None:
            read_in_order(self.on_disk)
        rows = None if self.rows is None else self.rows.to(device)
        return Split(self.images.to(device), self.labels.to(device), rows)

    def subset(self, rows: Tensor) -> "Split":
        """The split with these rows, int64 (N,), of all images; nothing is copied."""
        return replace(self, rows=rows.to(self.labels.device))

    def prefetch(self, index: Tensor) -> None:
        """Prefetch the images at `index`, int64 (n,) in 0..N-1: the system reads them from the disk meanwhile."""
        if self.on_disk is not None:
            read_ahead(self.on_disk, (index if self.rows is None else self.rows[index]).numpy())

    def get_batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) and labels (n,) at `index`, int64 (n,) in 0..N-1, on `device`.

        If the split and `index` are on a GPU, this does not wait for the GPU. If the split is on the host, the rows are
        gathered there while the GPU works, in pinned memory: a copy from other memory may wait for earlier steps.
        """
        index = index.to(self.labels.device)
        rows = index if self.rows is None else self.rows[index]
        images, labels = self.images[rows], self.labels[rows]
        if device.type == "cuda" and images.device.type == "cpu":
            images, labels = images.pin_memory(), labels.pin_memory()
        return images.to(device, non_blocking=True).permute(0, 3, 1, 2), labels.to(device, non_blocking=True)

    def all_labels(self) -> Tensor:
        """Labels of the split, int64 (N,), on the CPU."""
        return (self.labels if self.rows is None else self.labels[self.rows]).cpu()


def split_train_validation(
    labels: np.ndarray, fraction: float, seed: int, metadata: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the images of the training arrays into two splits, to train and to validate on.

    If the dataset brings a validation split, that is used, whatever `fraction` and `seed` are. Else the validation
    split is drawn, stratified by class.

    Args:
        labels: int64 (N,), of the training arrays.
        fraction: fraction of the images that go to the validation split, in (0, 0.5].
        seed: the same labels, fraction and seed give the same split.
        metadata: the content of dataset.json: rows of its validation split; names of dataset and classes for messages.

    Returns:
        Indices of the training and of the validation images, int64, each in ascending order.

    Raises:
        UserError: a class has a single image, or there are too few images for every class to be in both splits.
    """
    if rows := metadata.get("validation_rows"):
        return np.arange(rows[0]), np.arange(*rows)

    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        name = metadata["classes"][classes[counts.argmin()]]
        raise UserError(
            f"datasets.{metadata['dataset']}: class {name!r} has one training image, but needs two: one for validation."
            " Add images or remove the class."
        )
    number = math.ceil(fraction * len(labels))
    if min(number, len(labels) - number) < len(classes):
        raise UserError(
            f"datasets.{metadata['dataset']}: a validation split of {fraction:g} cannot be drawn from {len(labels)}"
            f" training images: one of {number} and the other {len(labels) - number} cannot have an image of each of"
            f" the {len(classes)} classes. Change the recipe's `validation_fraction`, or add images."
        )
    return _draw_stratified(labels, counts, number, np.random.RandomState(seed))


def _draw_stratified(
    labels: np.ndarray, counts: np.ndarray, number: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that scikit-learn's `train_test_split` draws; without it, as it takes a second to load.

    Args:
        labels: (N,). counts: images of each class that occurs.
        number: of images to hold out; the others are the first array returned.
    """
    for_training = _share_out(len(labels) - number, counts, random)
    held_out = _share_out(number, counts - for_training, random)
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    train, validation = [], []
    for rows, most, rest in zip(rows_by_class, for_training, held_out, strict=True):
        shuffled = rows[random.permutation(len(rows))]
        train.append(shuffled[:most])
        validation.append(shuffled[most : most + rest])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _share_out(number: int, counts: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Share a number of images out among classes in proportion to `counts`; equal remainders are drawn by lot."""
    exact = counts / counts.sum() * number
    shares = np.floor(exact).astype(int)
    remainders, missing = exact - shares, number - shares.sum()
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        (tied,) = np.where(remainders == remainder)
        chosen = random.choice(tied, min(len(tied), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    return shares
