"""A ranking in which those that cannot be distinguished share a letter."""

from string import ascii_letters

import numpy as np
from numpy.typing import NDArray


def groups(different: NDArray[np.bool_]) -> list[list[int]]:
    """Return the largest sets of candidates of which no two differ, the best first.

    Insert-and-absorb: Piepho 2004 (Journal of Computational and Graphical Statistics 13).

    Args:
        different: (N, N), symmetric; the candidates in the order of their ranks.

    Returns:
        Sets of indices, each ascending. Each candidate is in one set at least. Two share a set unless they differ.
    """
    sets = [frozenset(range(len(different)))]
    for first, second in np.argwhere(np.triu(different)).tolist():
        split = [each - {one} for each in sets if {first, second} <= each for one in (first, second)]
        kept = [each for each in sets if not {first, second} <= each]
        for new in split:
            if not any(new <= other for other in kept):
                kept = [other for other in kept if not other < new] + [new]
        sets = kept
    return sorted(map(sorted, sets))


def letters(different: NDArray[np.bool_]) -> list[str]:
    """Return the letters of each candidate: sharing one means not distinguished. `different`: see `groups`."""
    names = [""] * len(different)
    for number, group in enumerate(groups(different)):
        letter = ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"
        for member in group:
            names[member] += letter
    return names
