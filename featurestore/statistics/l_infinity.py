"""L-infinity distance: how far the share of the category that moved most has moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.exact_rate import exact_rate


def l_infinity(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return the largest absolute difference of shares, from 0 to 1.

    It names one category, and does not see many that move a little each.

    Args:
        reference: rows in each category.
        current: rows in the same categories.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval. Each category has one, of which Clopper and Pearson's exact intervals (1934) of
            the two shares are joined as Newcombe (1998, method 10) joins Wilson's, whose far tails are too short for
            rare categories; with Bonferroni's correction for their number all hold at once, and so does the largest.

    Returns:
        The distance; 0, with the interval 0 to 1, when a side has no rows.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Estimate(0.0, 0.0, 1.0)
    p, q = found
    value = float(np.abs(p - q).max())
    tail = (1 - confidence) / (2 * len(p))
    low_one, high_one = exact_rate(p, reference_size, tail)
    low_two, high_two = exact_rate(q, current_size, tail)
    above = q - p + np.hypot(high_two - q, p - low_one)
    below = q - p - np.hypot(q - low_two, high_one - p)
    low = max(0.0, float(np.maximum(below, -above).max()))
    high = min(1.0, float(np.maximum(above, -below).max()))
    return Estimate(value, min(value, low), max(value, high))
