"""Total variation distance: the share of rows that would have to change category."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.estimate import Estimate, Estimates


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
    found = total_variations(
        np.asarray(reference)[None],
        np.asarray(current)[None],
        reference_sizes=[reference_size],
        current_sizes=[current_size],
        confidence=confidence,
    )
    return found.each()[0]


def total_variations(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_sizes: ArrayLike,
    current_sizes: ArrayLike,
    confidence: float = 0.95,
) -> Estimates:
    """Return :func:`total_variation` of many features with equally many categories, bit for bit.

    Args:
        reference: rows in each category, shape (features, categories).
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
    p, q = one / rows[:, None], two / others[:, None]
    # Where a side has no rows, its shares are none.
    p, q = np.where(known[:, None], p, 0.0), np.where(known[:, None], q, 0.0)
    distance = np.abs(p - q).sum(axis=1) / 2
    error = np.sqrt(math.log(2 / (1 - confidence)) / 2 * (1 / m + 1 / n))
    bias = np.sqrt(p * (1 - p) / m[:, None] + q * (1 - q) / n[:, None]).sum(axis=1) / 2
    low, high = np.maximum(0.0, distance - error - bias), np.minimum(1.0, distance + error)
    return Estimates(np.where(known, distance, 0.0), np.where(known, low, 0.0), np.where(known, high, 1.0))
