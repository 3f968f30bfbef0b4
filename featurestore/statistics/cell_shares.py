"""From the counts of two profiles to shares of rows, as they are: nothing is smoothed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cell_shares(
    reference: ArrayLike, current: ArrayLike, reference_size: float, current_size: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the shares of each side's rows in the cells that are not empty on both sides.

    Args:
        reference: rows in each cell.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.

    Returns:
        Two arrays of one shape, each of sum 1; None when a side has no rows or is worth none, so nothing is known.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if not (one.sum() > 0 and two.sum() > 0 and reference_size > 0 and current_size > 0):
        return None
    used = (one > 0) | (two > 0)
    return one[used] / one.sum(), two[used] / two.sum()
