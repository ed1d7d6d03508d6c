"""How often each intensity occurs in images, and the mean and standard deviation that follow from it."""

import math

import numpy as np


def count_intensities(images: np.ndarray) -> np.ndarray:
    """Count how often each intensity occurs in each channel of uint8 (..., C): int64 (C, 256)."""
    channels = range(images.shape[-1])
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in channels])


def channel_statistics(intensities: np.ndarray) -> tuple[list[float], list[float]]:
    """Compute mean and (population) standard deviation of each channel, as fractions of full intensity.

    Exact: sums are Python integers, with one rounding at the end. A constant channel has std 1,
    so that dividing by it changes nothing.

    Args:
        intensities: how often each intensity occurs in each channel, int64 (C, 256).
    """
    mean, std = [], []
    for channel in intensities.tolist():
        n = sum(channel)
        total = sum(value * count for value, count in enumerate(channel))
        squares = sum(value**2 * count for value, count in enumerate(channel))
        mean.append(total / (n * 255))
        std.append(math.sqrt(n * squares - total**2) / (n * 255) or 1.0)
    return mean, std
