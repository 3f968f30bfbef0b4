"""Energy distance: Wasserstein's squared counterpart, which many small ways weigh less in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.norm_interval import cumulative_covariance, norm_error
from featurestore.statistics.numeric_cells import NumericCells, pieces


def energy_distance(
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
    """Return the square root of twice the integral of ``(F - G)**2`` over the deviation; 0 or more.

    That is the root of ``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` (Szekely and Rizzo, 2013) for a feature in units of the
    reference's deviation. Infinities count as rows at the ends of what is finite.

    Args:
        reference: where the reference's rows lie.
        current: the same for the current rows.
        cuts: between the cells, ascending.
        deviation: the reference's standard deviation; 1 takes the feature in its own unit.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        discrete: whether rows lie at the upper cut of their cell; else they are spread evenly over it.
        confidence: of the interval. The value is a norm of F - G, and lies within the norm of the sampling error of
            the truth, whose quantile is :func:`~featurestore.statistics.norm_interval.norm_error`. The interval is
            longer than need be far from no change, and sound there. The deviation is taken as known.

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
        start, end = (one - two).T
        squared = float(widths @ (start * start + start * end + end * end)) * 2 / 3
    if not math.isfinite(squared) or not deviation:
        return Estimate(math.inf if squared else 0.0, 0.0, math.inf)
    value = math.sqrt(max(0.0, squared))
    weights = np.sqrt(2 * widths)
    covariance = cumulative_covariance(one.mean(axis=1), two.mean(axis=1), reference_size, current_size)
    error = norm_error(covariance * weights * weights[:, None], confidence)
    return Estimate(value, max(0.0, value - error), value + error)
