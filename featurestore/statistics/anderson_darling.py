"""Anderson-Darling distance: Cramer-von Mises with as much weight on the tails as chance allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.norm_interval import cumulative_covariance, norm_error


def anderson_darling(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return the integral of ``(F - G)**2 / (H (1 - H)) dH`` with H the distribution of all rows; 0 or more.

    Dividing by H (1 - H) gives a difference at every cut the same weight against its sampling error, so a change of
    the tails alone shows. The number of rows is not in it: times ``n * m / (n + m)`` it is the two-sample statistic of
    Pettitt (1976), with ties as in equation 6 of Scholz and Stephens (1987). Compare it only between windows of like
    sizes, as Cramer-von Mises.

    Args:
        reference: rows in each cell, ascending.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval, which is made as that of
            :func:`~featurestore.statistics.cramer_von_mises.cramer_von_mises`.

    Returns:
        The integral; 0, with the interval 0 to infinity, when a side has no rows.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Estimate(0.0, 0.0, np.inf)
    p, q = found
    part = float(np.sum(reference) / (np.sum(reference) + np.sum(current)))
    # At the last cut both functions are 1, and the weight would be infinite.
    one, two = np.cumsum(p)[:-1], np.cumsum(q)[:-1]
    both = part * one + (1 - part) * two
    # What is left of a sum that rounding may take to 1 or over it, from the other end.
    left = part * np.cumsum(p[::-1])[::-1][1:] + (1 - part) * np.cumsum(q[::-1])[::-1][1:]
    weights = np.sqrt((part * p + (1 - part) * q)[:-1] / (both * left))
    one, two = np.minimum(one, 1.0), np.minimum(two, 1.0)
    root = float(np.linalg.norm(weights * (one - two)))
    covariance = cumulative_covariance(one, two, reference_size, current_size) * weights * weights[:, None]
    error = norm_error(covariance, confidence)
    return Estimate(root**2, max(0.0, root - error) ** 2, (root + error) ** 2)
