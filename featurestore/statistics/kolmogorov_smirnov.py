"""Kolmogorov-Smirnov distance: the largest difference of two distribution functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.estimate import Estimate


def kolmogorov_smirnov(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return the distance, from 0 to 1, at the cuts between cells.

    It is the share of rows that lie on the other side of the worst cut, whatever the unit of the feature. It never
    exceeds the distance over all values, and with cells of 1/147 of the reference falls short of it by at most that.

    Args:
        reference: rows in each cell, ascending.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval, which joins the two bounds of Dvoretzky, Kiefer and Wolfowitz with Massart's
            constant (1990); it holds at every size.

    Returns:
        The distance; 0, with the interval 0 to 1, when a side has no rows.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if not (one.sum() > 0 and two.sum() > 0 and reference_size > 0 and current_size > 0):
        return Estimate(0.0, 0.0, 1.0)
    distance = float(np.max(np.abs(np.cumsum(one) / one.sum() - np.cumsum(two) / two.sum())))
    level = math.log(4 / (1 - confidence)) / 2
    error = math.sqrt(level / reference_size) + math.sqrt(level / current_size)
    return Estimate(distance, max(0.0, distance - error), min(1.0, distance + error))
