"""The size and the channels of the prepared images, found from the image files where config.yaml leaves them out."""

import statistics
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from deepnets.data.decode import Header, read_header
from deepnets.utils.errors import UserError

LARGEST = 64  # pixels; a network takes minutes for a thousand of them on a CPU
_LOOKED_AT = 2_000  # images, spread over all of them


def sample(names: Sequence[str]) -> list[str]:
    """Return the names of the images to look at, spread over all."""
    return list(names[:: -(-len(names) // _LOOKED_AT) or 1])


def find_shape(
    shown_as: str, files: Iterable[BinaryIO], channels: int | None
) -> tuple[tuple[int, int, int], dict[str, str]]:
    """Choose (C, H, W) of the prepared images.

    The size is the median of the shorter sides, at most `LARGEST`. Images are gray if all are.

    Args:
        shown_as: the folder or archive, for messages.
        files: of the images to look at; only the start of each is read.
        channels: that config.yaml gives; None where it gives none.

    Returns:
        (C, H, W), and the reason by the key of config.yaml for each that was found.

    Raises:
        UserError: none of the files is an image.
    """
    seen = [image for file in files if (image := read_header(file)) is not None]
    if not seen:
        raise UserError(f"{shown_as}: none of the files is an image that can be read; replace them.")
    median = statistics.median_low([min(image.width, image.height) for image in seen])
    size = min(median, LARGEST)
    reason = f"{size}, as {_sides(seen, median)}"
    if median > size:
        reason += f"; more pixels take longer to train, but show more: for all of them write `size: {median}`"
    found = {"size": reason}
    if channels is None:
        colour = sum(not image.is_gray for image in seen)
        channels = 3 if colour else 1
        found["channels"] = f"{channels}, as {colour or 'none'} of {len(seen):,} images are in colour"
    return (channels, size, size), found


def _sides(seen: Sequence[Header], median: int) -> str:
    sizes = {(image.width, image.height) for image in seen}
    if len(sizes) == 1:
        ((width, height),) = sizes
        return f"all images have {width}x{height} pixels"
    return f"half of the images have a shorter side of {median} pixels or less"
