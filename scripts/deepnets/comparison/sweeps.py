"""What a sweep over recipes gains with each further trial, by the validation images."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from deepnets.comparison.crossed import Floats


def expected_best(values: ArrayLike) -> Floats:
    """Return the expected best of k of N trials, drawn without replacement, for k = 1..N; (N,).

    The unbiased estimator of Tang et al. 2020 (arXiv 2004.13705); that of Dodge et al. 2019 (D19-1224) draws with
    replacement and is too low.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    rank = np.arange(1.0, number + 1)
    trials = rank[:, None]
    with np.errstate(invalid="ignore"):
        # The i-th smallest is the best of k where the other k - 1 are among the i - 1 below it.
        logs = _log_choose(rank - 1, trials - 1) - _log_choose(np.full(1, float(number)), trials)
    return np.where(rank >= trials, np.exp(logs), 0) @ ordered


def _log_choose(n: Floats, k: Floats) -> Floats:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
