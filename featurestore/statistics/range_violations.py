"""Values out of the reference's range, less those that are there by chance."""

from __future__ import annotations

import math

from scipy.special import betaincinv

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.exact_rate import exact_rate


def range_violations(rate: float, *, reference_size: float, current_size: float, confidence: float = 0.95) -> Estimate:
    """Return by how much the share of values out of range exceeds that of further rows of the reference; -1 to 1.

    The range is the minimum and maximum of the very rows that the cuts were made from, so none of those is out of it.
    Of further rows of the same kind a share is, whatever their distribution when it is continuous: 2 / (m + 1) in the
    mean of all references of m rows (Wilks, 1941). Against the reference's own zero a small reference would be
    broken by every window. Where values tie at the ends the share is smaller, and the difference errs to the low side.

    For two sides neither of which made the cuts use :func:`~featurestore.statistics.rate_difference.rate_difference`.

    Args:
        rate: of current values in the two cells beyond the cuts, between 0 and 1.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval, which joins that of the reference's share, a beta variable of 2 and m - 1, with
            the exact one of the current share (:func:`~featurestore.statistics.exact_rate.exact_rate`), as Newcombe
            (1998, method 10) joins two. One value out of range must not seem sure because it is rare.

    Returns:
        The difference; 0, with the interval -1 to 1, when a side has no rows or the reference is worth less than two.
    """
    if reference_size < 2 or current_size <= 0:
        return Estimate(0.0, -1.0, 1.0)
    tail = (1 - confidence) / 2
    expected = 2 / (reference_size + 1)
    least, most = (float(betaincinv(2, reference_size - 1, chance)) for chance in (tail, 1 - tail))
    low, high = (float(end) for end in exact_rate(rate, current_size, tail))
    difference = rate - expected
    below = math.hypot(rate - low, most - expected)
    above = math.hypot(high - rate, expected - least)
    return Estimate(difference, max(-1.0, difference - below), min(1.0, difference + above))
