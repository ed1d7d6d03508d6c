"""A sample of images, where all of them would take too long."""

import numpy as np


def sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return a fixed random sample of rows, int64 (N,), in ascending order; all of them if there are no more than most.

    It is the same for each network of a dataset.
    """
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
