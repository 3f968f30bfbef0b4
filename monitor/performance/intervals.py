"""Intervals of one number, and of the difference and the ratio of two, from what the rows are worth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from featurestore.statistics.estimate import Estimate


def quantile(confidence: float, freedom: float = math.inf) -> float:
    """Return how many standard errors reach to each side: of Student's t, or of the normal where nothing limits it.

    Infinity where there is no degree of freedom.
    """
    level = (1 + confidence) / 2
    if math.isinf(freedom):
        return float(ndtri(level))
    return float(stdtrit(freedom, level)) if freedom > 0 else math.inf


def wilson(rate: float, size: float, reach: float) -> Estimate:
    """Return a proportion with Wilson's score interval (1927), which is sound at 0 and 1 and at few rows.

    Args:
        rate: from 0 to 1.
        size: what its rows are worth in independent ones; need not be whole.
        reach: standard errors to each side.
    """
    if size <= 0 or math.isinf(reach):
        return Estimate(rate, 0.0, 1.0)
    square = reach * reach
    centre = rate + square / (2 * size)
    spread = reach * math.sqrt(rate * (1 - rate) / size + square / (4 * size * size))
    scale = 1 + square / size
    # At 0 and 1 the formula gives just these, but for rounding.
    low = 0.0 if rate <= 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if rate >= 1 else min(1.0, (centre + spread) / scale)
    return Estimate(rate, min(rate, low), max(rate, high))


def around(value: float, error: float, reach: float, low: float, high: float) -> Estimate:
    """Return a number with the symmetric interval of its standard error, within the limits that it can have."""
    if not math.isfinite(error) or math.isinf(reach):
        return Estimate(value, low, high)
    return Estimate(value, max(low, value - reach * error), min(high, value + reach * error))


def difference(one: Estimate, other: Estimate, correlation: float = 0.0) -> Estimate:
    """Return ``one`` less ``other``; of independent rows, or with the correlation of the two.

    The interval is recovered from the two intervals: each end of it is as far as the two ends that matter there, at
    right angles (MOVER, Zou and Donner 2008). Of two Wilson intervals it is Newcombe's tenth method (1998); of two
    symmetric ones the textbook's.
    """
    value = one.value - other.value
    below = _third_side(one.value - one.low, other.high - other.value, correlation)
    above = _third_side(one.high - one.value, other.value - other.low, correlation)
    return Estimate(value, value - below, value + above)


def _third_side(one: float, other: float, cosine: float) -> float:
    if math.isinf(one) or math.isinf(other):
        return math.inf
    return math.sqrt(max(0.0, one * one + other * other - 2 * cosine * one * other))


def ratio(one: Estimate, other: Estimate, correlation: float = 0.0) -> Estimate:
    """Return ``one`` over ``other``, both above 0; of independent rows, or with the correlation of the two.

    The ends are the factors ``k`` for which the interval of ``one - k * other`` just reaches 0 (MOVER-R, Donner and
    Zou 2012). Of two symmetric intervals that is Fieller's (1954).

    Returns:
        The ratio; the upper end is infinite where ``other`` may be 0, and all is unknown (NaN, from 0) where it is 0.
    """
    if other.value <= 0:
        return Estimate(math.nan, 0.0, math.inf)
    value = one.value / other.value
    low = _factor(one.value, one.low, other.value, other.high, correlation, lower=True)
    high = _factor(one.value, one.high, other.value, other.low, correlation, lower=False)
    return Estimate(value, min(value, low), max(value, high))


def _factor(top: float, top_end: float, bottom: float, bottom_end: float, correlation: float, *, lower: bool) -> float:
    """Return the ``k`` on one side where ``top - k * bottom`` is as large as its own interval reaches."""
    if not math.isfinite(bottom_end) or not math.isfinite(top_end):
        return 0.0 if lower else math.inf
    # The coefficients of a quadratic in k; the products are written so that they do not cancel.
    leading = bottom_end * (2 * bottom - bottom_end)
    constant = top_end * (2 * top - top_end)
    middle = top * bottom - correlation * abs(top - top_end) * abs(bottom - bottom_end)
    root = middle + math.sqrt(max(0.0, middle * middle - leading * constant))
    if lower:
        # The smaller root, as constant / (larger part): right also where the leading coefficient is 0 or below.
        return constant / root if constant > 0 and root > 0 else 0.0
    return root / leading if leading > 0 else math.inf


def block_correlation(influence: NDArray[np.float64], blocks: NDArray[np.int64]) -> float:
    """Return rho: how alike the influences of rows of one block are, from 0 to 1.

    It is the intraclass correlation of the analysis of variance, as
    :func:`featurestore.statistics.design_effect.intra_block_correlation` has it for events; of the influence values of
    a metric it gives the design effect of that metric (Kish 1965; Binder 1983 for metrics that are no means).

    Args:
        influence: what each row adds to the metric, shape (rows,); their mean is 0.
        blocks: the block of each row, shape (rows,).

    Returns:
        1 where there are fewer than two blocks: nothing is known then, and a block counts as one observation. 0 where
        all influences are the same.
    """
    _, place = np.unique(blocks, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    if len(sizes) < 2:
        return 1.0
    total = sizes.sum()
    largest = float(np.abs(influence).max())
    influence = influence / largest if largest else influence
    variance = float(np.mean(np.square(influence)))
    size = (total - np.square(sizes).sum() / total) / (len(sizes) - 1)
    if variance <= 0 or size <= 1:
        return 0.0
    sums = np.bincount(place, weights=influence)
    phi = float(np.square(sums) @ (1 / sizes)) / (len(sizes) - 1) / variance
    return min(1.0, max(0.0, (phi - 1) / (float(size) - 1)))
