"""Difference of two rates: nulls, unseen categories, values out of range."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate, Estimates


def rate_difference(
    reference_rate: float,
    current_rate: float,
    *,
    reference_size: float,
    current_size: float,
    confidence: float = 0.95,
) -> Estimate:
    """Return the current rate less the reference's, from -1 to 1.

    Args:
        reference_rate: between 0 and 1.
        current_rate: between 0 and 1.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval: Newcombe (1998), method 10, from two Wilson score intervals. It is sound at rates
            of 0 and 1, where the textbook interval has no width.

    Returns:
        The difference; with the interval -1 to 1 when a side has no rows.
    """
    found = rate_differences(
        [reference_rate],
        [current_rate],
        reference_sizes=[reference_size],
        current_sizes=[current_size],
        confidence=confidence,
    )
    return found.each()[0]


def rate_differences(
    reference_rates: ArrayLike,
    current_rates: ArrayLike,
    *,
    reference_sizes: ArrayLike,
    current_sizes: ArrayLike,
    confidence: float = 0.95,
) -> Estimates:
    """Return :func:`rate_difference` of many pairs, bit for bit.

    Args:
        reference_rates: shape (pairs,).
        current_rates: the same.
        reference_sizes: the same.
        current_sizes: the same.
        confidence: of each interval.
    """
    one, two = np.asarray(reference_rates, np.float64), np.asarray(current_rates, np.float64)
    m, n = np.asarray(reference_sizes, np.float64), np.asarray(current_sizes, np.float64)
    known = (m > 0) & (n > 0)
    m, n = np.where(known, m, 1.0), np.where(known, n, 1.0)
    difference = two - one
    z = float(ndtri((1 + confidence) / 2))
    low_one, high_one = _wilson(one, m, z)
    low_two, high_two = _wilson(two, n, z)
    low = np.maximum(-1.0, difference - _hypot(two - low_two, high_one - one))
    high = np.minimum(1.0, difference + _hypot(high_two - two, one - low_one))
    return Estimates(np.where(known, difference, 0.0), np.where(known, low, -1.0), np.where(known, high, 1.0))


def _hypot(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Python's, which is the same to the last bit on every machine; the C library's need not be."""
    return np.array(list(map(math.hypot, one.tolist(), two.tolist())), np.float64)


def _wilson(
    rate: NDArray[np.float64], size: NDArray[np.float64], z: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = rate + z * z / (2 * size)
    spread = z * np.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    return np.maximum(0.0, (centre - spread) / scale), np.minimum(1.0, (centre + spread) / scale)
