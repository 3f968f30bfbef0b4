"""The population stability index by itself, without its interval: it needs no SciPy, which takes long to import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: A cell without rows is given this many, so that its logarithm is finite.
EMPTY_CELL = 0.5


def shares(reference: ArrayLike, current: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of each side's rows in the cells that are not empty on both sides; both sides have rows.

    Args:
        reference: rows in each cell.
        current: rows in the same cells.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    used = (one > 0) | (two > 0)
    return np.maximum(one[used], EMPTY_CELL) / one.sum(), np.maximum(two[used], EMPTY_CELL) / two.sum()


def stability_index(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the sum of (q - p) ln(q / p) over :func:`shares` p and q; 0 or more, without an upper limit.

    0 when a side has no rows, too.
    """
    if not np.sum(reference) or not np.sum(current):
        return 0.0
    p, q = shares(reference, current)
    return float(((q - p) * np.log(q / p)).sum())
