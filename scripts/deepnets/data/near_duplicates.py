"""Images that look alike though their pixels differ: photos saved twice, resized, or taken a moment later.

Each image has a perceptual hash of 64 bits (Zauner 2010, 'Implementation and Benchmarking of Perceptual Image Hash
Functions', as the package imagehash computes it). Two images look alike if few of these bits differ.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

NEAR = 4  # bits of 64 that may differ
_BITS, _ROWS = 64, 256


def perceptual_hash(image: np.ndarray) -> int:
    """The hash of an image, uint8 (H, W, C) with C 1 or 3; 64 bits."""
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(hashes: np.ndarray, most: int = NEAR) -> np.ndarray:
    """Find the pairs of hashes of which at most `most` bits differ: int64 (P, 2), each pair once, in ascending order.

    The bits are divided into one band more than may differ, so that a pair is equal in one of them: only hashes with an
    equal band are compared.

    Args:
        hashes: uint64 (N,), each another one.
        most: bits that may differ, at most 15.
    """
    edges = np.linspace(0, _BITS, most + 2).astype(int).tolist()
    found = [np.empty((0, 2), np.int64)]
    for low, high in itertools.pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        found += [pair for bucket in np.split(order, starts) for pair in _pairs_within(hashes, bucket, most)]
    return np.unique(np.concatenate(found), axis=0)


def _pairs_within(hashes: np.ndarray, bucket: np.ndarray, most: int) -> Iterator[np.ndarray]:
    for start in range(0, len(bucket) - 1, _ROWS):
        rows = bucket[start : start + _ROWS]
        first, second = np.nonzero(np.bitwise_count(hashes[rows][:, None] ^ hashes[bucket][None]) <= most)
        pairs = np.stack([rows[first], bucket[second]], axis=1)
        yield pairs[pairs[:, 0] < pairs[:, 1]]


def alike(
    hashes: np.ndarray, contents: np.ndarray, rows: Sequence[int], accepts: Callable[[int, int], bool]
) -> dict[int, int]:
    """For each of some images, find another one that looks alike but has other pixels.

    Args:
        hashes: uint64 (N,), of all images.
        contents: int64 (N,), the same number for the same pixels.
        rows: of the images to look at, and to compare with.
        accepts: whether the second image, by its row, counts for the first one.

    Returns:
        The first such image by the row of each image that has one.
    """
    unique, of_row = np.unique(hashes, return_inverse=True)
    near: dict[int, list[int]] = {index: [index] for index in range(len(unique))}
    for first, second in near_pairs(unique).tolist():
        near[first].append(second)
        near[second].append(first)
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(int(of_row[row]), []).append(row)
    found = {}
    for row in rows:
        candidates = (other for index in near[int(of_row[row])] for other in members.get(index, ()))
        other = next((each for each in candidates if contents[each] != contents[row] and accepts(row, each)), None)
        if other is not None:
            found[row] = other
    return found
