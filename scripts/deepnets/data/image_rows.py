"""All images of a prepared dataset as rows, which its audit counts and names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass
class ImageRows:
    """All images of a dataset, split by split.

    sizes: images of each split, in the order of the rows. label, content: int64 (N,); content is the same number for
    the same pixels. classes: names. names: of the files, by split; None if unknown. fold: int64 (N,); None without
    folds.
    """

    sizes: dict[str, int]
    label: np.ndarray
    content: np.ndarray
    classes: Sequence[str]
    names: Mapping[str, Sequence[str]] | None = None
    fold: np.ndarray | None = None

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The rows of each split."""
        ends = np.cumsum(list(self.sizes.values())).tolist()
        return {split: slice(end - size, end) for (split, size), end in zip(self.sizes.items(), ends, strict=True)}

    def member(self, row: int) -> dict[str, Any]:
        """Name an image: its split, index there and class, and its file if that is known."""
        split = next(each for each in reversed(self.slices) if self.slices[each].start <= row)
        index = row - self.slices[split].start
        name = {} if self.names is None else {"file": self.names[split][index]}
        return {"split": split, "index": index, "class": self.classes[int(self.label[row])], **name}
