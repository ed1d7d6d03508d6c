"""The look of each model in figures: by its name, so that it is the same in every study; without matplotlib."""

import math
from collections import Counter
from collections.abc import Iterable

from deepnets.models._about import LineStyle
from deepnets.utils.files import sha256_text

# 8 colours, 7 markers and 5 line styles without a common factor: 280 models before a look comes twice. The colours are
# apart from those that the four networks declare, and as many as config.yaml has networks without one.
COLORS = ("#AA4499", "#56B4E9", "#882255", "#999933", "#225555", "#CC79A7", "#8C510A", "#6A51E0")
MARKERS = ("v", "P", "X", "<", "p", ">", "h")
LINESTYLES: tuple[LineStyle, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
LOOKS = math.lcm(len(COLORS), len(MARKERS), len(LINESTYLES))


def look_indices(models: Iterable[str]) -> dict[str, int]:
    """The index of each model's look, from 0 to LOOKS - 1, for `style.model_style`.

    A model's name chooses its look. Where an earlier model has that look, or its colour while other colours are less
    used, the next look is taken: eight models have eight colours. So a model that is added at the end changes no other.

    Args:
        models: names, in the order of config.yaml.
    """
    indices = dict[str, int]()
    for model in models:
        start = int(sha256_text(model)[:8], 16) % LOOKS
        used = Counter(index % len(COLORS) for index in indices.values())
        fewest = min(used[color] for color in range(len(COLORS)))
        order = (index % LOOKS for index in range(start, start + LOOKS))
        free = (index for index in order if index not in indices.values() and used[index % len(COLORS)] == fewest)
        indices[model] = next(free, start)  # after LOOKS models, looks come twice
    return indices
