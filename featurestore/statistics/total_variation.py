"""Total variation distance: the share of rows that would have to change category."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.estimate import Estimate


def total_variation(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return half the sum of absolute differences of shares, from 0 to 1.

    Unlike the largest single difference it also sees many categories that move a little each, and unlike
    chi-square, Jensen-Shannon or PSI it is in the unit that people think in.

    Args:
        reference: rows in each category.
        current: rows in the same categories.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval. One row moves the distance by at most one part of its sample, so it keeps
            within McDiarmid's bound (1989) of its expectation; the expectation lies over the truth by at most the
            mean absolute sampling error of the shares, which is taken off the lower end.

    Returns:
        The distance; 0, with the interval 0 to 1, when a side has no rows.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if not (one.sum() > 0 and two.sum() > 0 and reference_size > 0 and current_size > 0):
        return Estimate(0.0, 0.0, 1.0)
    p, q = one / one.sum(), two / two.sum()
    distance = float(np.abs(p - q).sum() / 2)
    error = math.sqrt(math.log(2 / (1 - confidence)) / 2 * (1 / reference_size + 1 / current_size))
    spread = np.sqrt(p * (1 - p) / reference_size + q * (1 - q) / current_size)
    bias = float(spread.sum() / 2)
    return Estimate(distance, max(0.0, distance - error - bias), min(1.0, distance + error))
