"""Random seeds of a training run: each use has its own stream, each step its own seed."""

import numpy as np

# Streams of randomness: two uses never share a seed.
INITIALISATION, ORDER, AUGMENTATION, DROPOUT = range(4)


def derived_seed(*numbers: int) -> int:
    """A 63-bit seed from small numbers; neighbours give unrelated seeds (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
