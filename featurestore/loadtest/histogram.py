"""Durations as counts over logarithmic bins, as HDR histograms have them: a fixed size, and at most 1 % off."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1e-6
_LARGEST = 3600.0
_STEP = math.log(1.01)
#: From a microsecond to an hour; what lies outside counts in the outermost.
BINS = math.ceil(math.log(_LARGEST / _SMALLEST) / _STEP) + 1

Counts = NDArray[np.int64]


def bin_of(seconds: float) -> int:
    """Return the bin of a duration."""
    if seconds <= _SMALLEST:
        return 0
    return min(math.ceil(math.log(seconds / _SMALLEST) / _STEP), BINS - 1)


def upper_edge(place: int) -> float:
    """Return the longest duration of a bin, in seconds."""
    return _SMALLEST * math.exp(place * _STEP)


def percentile(counts: Counts, percent: float, *, longest: float = math.inf) -> float | None:
    """Return the duration in seconds that so many percent do not exceed; None of nothing.

    It is the upper edge of a bin: never less than the truth, and at most 1 % more.

    Args:
        counts: of shape (BINS,).
        percent: 99.9 is the 99.9th percentile.
        longest: the longest duration that was counted.
    """
    total = int(counts.sum())
    if not total:
        return None
    # The tiny part less keeps 99.9 % of 1000 at 999 whatever floats make of it.
    rank = max(1, math.ceil(total * percent / 100 - 1e-9))
    place = int(np.searchsorted(np.cumsum(counts), rank))
    return min(upper_edge(place), longest)
