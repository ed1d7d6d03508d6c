"""Two ways to train on imbalanced classes: rare classes weigh more in the loss, or are drawn more often."""

import numpy as np
import torch
from torch import Tensor


def balanced_weights(labels: Tensor) -> Tensor:
    """Weight of each class, float32 (C,): inverse to its number of images, and 1 in the mean over the images.

    The same as scikit-learn's `class_weight="balanced"`, after King and Zeng 2001, 'Logistic Regression in Rare Events
    Data'.

    Args:
        labels: int64 (N,), each in 0..C-1.
    """
    counts = torch.bincount(labels).clamp(min=1)
    return (len(labels) / (len(counts) * counts)).float()


def balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw as many images as there are, of each class equally many, in random order: int64 (N,).

    No image of a class is drawn again before all others of it are. Where N is no multiple of the number of classes,
    random classes get one image more.

    Args:
        labels: int64 (N,).
        rng: draws them.
    """
    classes = np.unique(labels)
    each, more = divmod(len(labels), len(classes))
    with_more = set(rng.permutation(classes)[:more].tolist())
    drawn = []
    for label in classes.tolist():
        rows, number = np.flatnonzero(labels == label), each + (label in with_more)
        rounds = [rng.permutation(rows) for _ in range(-(-number // len(rows)))]
        drawn.append(np.concatenate(rounds)[:number] if rounds else rows[:0])
    return rng.permutation(np.concatenate(drawn))
