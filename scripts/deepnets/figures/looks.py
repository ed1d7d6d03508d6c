"""The look of each model in figures: by its name, so that it is the same in every study; without matplotlib."""

from collections import Counter
from collections.abc import Iterable

from deepnets.utils.files import sha256_text

COLORS = 6  # of figures/style.py
LOOKS = COLORS * 7 * 5  # with the markers and the line styles


def look_indices(models: Iterable[str]) -> dict[str, int]:
    """The index of each model's look, from 0 to LOOKS - 1, for `style.model_style`.

    A model's name chooses its look. Where an earlier model has that look, or its colour while other colours are less
    used, the next look is taken: six models have six colours. So a model that is added at the end changes no other.

    Args:
        models: names, in the order of config.yaml.
    """
    indices = dict[str, int]()
    for model in models:
        start = int(sha256_text(model)[:8], 16) % LOOKS
        used = Counter(index % COLORS for index in indices.values())
        fewest = min(used[color] for color in range(COLORS))
        order = (index % LOOKS for index in range(start, start + LOOKS))
        free = (index for index in order if index not in indices.values() and used[index % COLORS] == fewest)
        indices[model] = next(free, start)  # after 210 models, looks come twice
    return indices
