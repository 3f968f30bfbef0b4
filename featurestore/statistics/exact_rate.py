"""The exact interval of a rate, for rare events and far tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv


def exact_rate(rate: ArrayLike, size: float, tail: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the interval of Clopper and Pearson (1934) for each rate.

    Args:
        rate: between 0 and 1.
        size: what the sample is worth in independent rows, over 0; need not be whole.
        tail: the greatest chance that the true rate lies beyond an end.
    """
    rates = np.asarray(rate, np.float64)
    hits, misses = rates * size, np.maximum((1 - rates) * size, 0.0)
    low = np.where(hits > 0, betaincinv(np.where(hits > 0, hits, 1.0), misses + 1, tail), 0.0)
    high = np.where(misses > 0, betaincinv(hits + 1, np.where(misses > 0, misses, 1.0), 1 - tail), 1.0)
    return low, high
