"""Difference of two rates: nulls, unseen categories, values out of range."""

from __future__ import annotations

import math

from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate


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
    difference = current_rate - reference_rate
    if reference_size <= 0 or current_size <= 0:
        return Estimate(0.0, -1.0, 1.0)
    z = float(ndtri((1 + confidence) / 2))
    low_one, high_one = _wilson(reference_rate, reference_size, z)
    low_two, high_two = _wilson(current_rate, current_size, z)
    below = math.hypot(current_rate - low_two, high_one - reference_rate)
    above = math.hypot(high_two - current_rate, reference_rate - low_one)
    return Estimate(difference, max(-1.0, difference - below), min(1.0, difference + above))


def _wilson(rate: float, size: float, z: float) -> tuple[float, float]:
    centre = rate + z * z / (2 * size)
    spread = z * math.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
