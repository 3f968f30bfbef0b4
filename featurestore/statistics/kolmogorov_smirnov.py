"""Kolmogorov-Smirnov distance: the largest difference of two distribution functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.estimate import Estimate, Estimates


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
    found = kolmogorov_smirnov_distances(
        np.asarray(reference)[None],
        np.asarray(current)[None],
        reference_sizes=[reference_size],
        current_sizes=[current_size],
        confidence=confidence,
    )
    return found.each()[0]


def kolmogorov_smirnov_distances(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_sizes: ArrayLike,
    current_sizes: ArrayLike,
    confidence: float = 0.95,
) -> Estimates:
    """Return :func:`kolmogorov_smirnov` of many features with equally many cells, bit for bit.

    Args:
        reference: rows in each cell, ascending, shape (features, cells).
        current: the same.
        reference_sizes: shape (features,).
        current_sizes: the same.
        confidence: of each interval.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    m, n = np.asarray(reference_sizes, np.float64), np.asarray(current_sizes, np.float64)
    rows, others = one.sum(axis=1), two.sum(axis=1)
    known = (rows > 0) & (others > 0) & (m > 0) & (n > 0)
    rows, others, m, n = (np.where(known, each, 1.0) for each in (rows, others, m, n))
    apart = np.cumsum(one, axis=1) / rows[:, None] - np.cumsum(two, axis=1) / others[:, None]
    distance = np.abs(apart).max(axis=1)
    level = math.log(4 / (1 - confidence)) / 2
    error = np.sqrt(level / m) + np.sqrt(level / n)
    low, high = np.maximum(0.0, distance - error), np.minimum(1.0, distance + error)
    return Estimates(np.where(known, distance, 0.0), np.where(known, low, 0.0), np.where(known, high, 1.0))
