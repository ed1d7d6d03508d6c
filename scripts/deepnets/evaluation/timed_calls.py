"""The timing of calls: the latency of a network, and that of an exported file."""

import math
from collections.abc import Callable

import numpy as np

# A few seconds for each network: calls are timed until both are reached.
LEAST_SECONDS, LEAST_CALLS = 0.5, 30


def time_calls(timed_call: Callable[[], float]) -> dict[str, float]:
    """Repeat a call that returns its own seconds; return their median and 95th percentile, and the number of calls."""
    calls = list[float]()
    while len(calls) < LEAST_CALLS or math.fsum(calls) < LEAST_SECONDS:
        calls.append(timed_call())
    return {
        "median_seconds": float(np.median(calls)),
        "p95_seconds": float(np.quantile(calls, 0.95)),
        "calls": len(calls),
    }
