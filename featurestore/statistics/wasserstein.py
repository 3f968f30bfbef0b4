"""Wasserstein distance: how far the rows have moved, in standard deviations of the reference."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.numeric_cells import NumericCells, pieces


def wasserstein(
    reference: NumericCells,
    current: NumericCells,
    cuts: ArrayLike,
    *,
    deviation: float,
    reference_size: float,
    current_size: float,
    discrete: bool = False,
    confidence: float = 0.95,
) -> Estimate:
    """Return the integral of ``|F - G|`` over the deviation: the mean way of a row, 0 or more, without an upper limit.

    It sees how far rows move, which Kolmogorov-Smirnov does not, and one that moves very far can be all of it.
    Infinities count as rows at the ends of what is finite.

    Args:
        reference: where the reference's rows lie.
        current: the same for the current rows.
        cuts: between the cells, ascending.
        deviation: the reference's standard deviation; 1 gives the distance in the feature's unit.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        discrete: whether rows lie at the upper cut of their cell; else they are spread evenly over it.
        confidence: of the interval. The value lies within the same integral of the sampling error (the triangle
            inequality). That is about normal (del Barrio, Gine and Matran, 1999), so it exceeds its expectation by z
            times the largest standard deviation of the mean of a function with slope 1 with no more than the chance of
            a normal variable (Borell, 1975; Tsirelson, Ibragimov and Sudakov, 1976); that function is x itself. The
            interval is longer than need be far from no change, and sound there. The deviation is taken as known.

    Returns:
        The distance; 0, with the interval 0 to infinity, when a side has no rows or there are no cuts. When the
        deviation is 0, or too large for a float, a distance over 0 is infinite and the interval says nothing.
    """
    edges = np.asarray(cuts, np.float64)
    if not (reference.counts.sum() > 0 and current.counts.sum() > 0 and reference_size > 0 and current_size > 0):
        return Estimate(0.0, 0.0, math.inf)
    if not len(edges) or not math.isfinite(deviation):
        return Estimate(0.0, 0.0, math.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        widths, one, two = pieces(reference, current, edges, discrete=discrete, unit=deviation or 1.0)
        distance = float(widths @ _mean_absolute(one - two))
    if not math.isfinite(distance) or not deviation:
        return Estimate(math.inf if distance else 0.0, 0.0, math.inf)
    variance = 0.0
    for side, size in ((one.mean(axis=1), reference_size), (two.mean(axis=1), current_size)):
        variance += _variance(widths, side) / size
    spread = one.mean(axis=1) * (1 - one.mean(axis=1)) / reference_size
    spread += two.mean(axis=1) * (1 - two.mean(axis=1)) / current_size
    expected = math.sqrt(2 / math.pi) * float(widths @ np.sqrt(spread))
    error = expected + float(ndtri(confidence)) * math.sqrt(variance)
    return Estimate(distance, max(0.0, distance - error), distance + error)


def _mean_absolute(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the absolute value of a linear function from its values at the ends, shape (pieces, 2)."""
    start, end = np.abs(ends[:, 0]), np.abs(ends[:, 1])
    crosses = ends[:, 0] * ends[:, 1] < 0
    squares = np.square(start) + np.square(end)
    return np.where(
        crosses, np.divide(squares, 2 * (start + end), out=np.zeros(len(start)), where=crosses), (start + end) / 2
    )


def _variance(widths: NDArray[np.float64], function: NDArray[np.float64]) -> float:
    """Return the variance of a variable from its distribution function on pieces (Hoeffding, 1940)."""
    lower, upper = widths * function, widths * (1 - function)
    after = np.cumsum(upper[::-1])[::-1] - upper
    return float(2 * (lower @ after) + lower @ upper)
