"""Cramer-von Mises distance: the mean squared difference of two distribution functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.norm_interval import cumulative_covariance, norm_error


def cramer_von_mises(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return the integral of ``(F - G)**2 dH`` with H the distribution of all rows of both sides; from 0 to 1.

    Where Kolmogorov-Smirnov takes the worst cut, this takes the mean over all of them. The number of rows is not in
    it: times ``n * m / (n + m)`` it is the two-sample statistic T of Anderson (1962) when no two values tie. Which
    rows are more decides where the mean is taken, so compare it only between windows of like sizes.

    Args:
        reference: rows in each cell, ascending.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval. The root of the value is a norm of F - G, and lies within the norm of the sampling
            error of the truth; its quantile is :func:`~featurestore.statistics.norm_interval.norm_error`. H is taken
            as known. The interval is longer than need be far from no change, and sound there.

    Returns:
        The mean; 0, with the interval 0 to 1, when a side has no rows.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Estimate(0.0, 0.0, 1.0)
    p, q = found
    part = float(np.sum(reference) / (np.sum(reference) + np.sum(current)))
    weights = np.sqrt(part * p + (1 - part) * q)
    one, two = np.minimum(np.cumsum(p), 1.0), np.minimum(np.cumsum(q), 1.0)
    root = float(np.linalg.norm(weights * (one - two)))
    covariance = cumulative_covariance(one, two, reference_size, current_size) * weights * weights[:, None]
    error = norm_error(covariance, confidence)
    return Estimate(min(1.0, root**2), max(0.0, root - error) ** 2, min(1.0, root + error) ** 2)
