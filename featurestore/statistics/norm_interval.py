"""How far a norm of an average may lie from that of what it estimates, by chance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri


def norm_error(covariance: NDArray[np.float64], confidence: float) -> float:
    """Return what the Euclidean norm of a centred normal vector exceeds with the chance 1 - confidence.

    A norm of an estimated difference lies within the norm of the estimate's error of the true one (the triangle
    inequality), near no change and far from it, so this is half the length of an interval that holds at least as
    often as it says. Its squared norm is a weighted sum of chi-squares; the quantile is that of the chi-square with
    the same first three cumulants (Imhof, 1961, after Pearson, 1959).

    Args:
        covariance: of the error, shape (dimensions, dimensions).
        confidence: between 0 and 1.
    """
    largest = float(np.max(np.abs(covariance), initial=0.0))
    if not largest:
        return 0.0
    scaled = covariance / largest
    twice = scaled @ scaled
    first = float(np.trace(scaled))
    second = float(np.trace(twice))
    third = float((twice * scaled).sum())
    freedom = second**3 / third**2
    quantile = first + math.sqrt(second / freedom) * (float(chdtri(freedom, 1 - confidence)) - freedom)
    return math.sqrt(largest * max(0.0, quantile))


def cumulative_covariance(
    reference: NDArray[np.float64], current: NDArray[np.float64], reference_size: float, current_size: float
) -> NDArray[np.float64]:
    """Return the covariance of the difference of two empirical distribution functions at points.

    Args:
        reference: the distribution function at each point, ascending.
        current: the same for the current rows.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
    """
    covariance: NDArray[np.float64] = (
        np.minimum(reference, reference[:, None]) - reference * reference[:, None]
    ) / reference_size
    covariance += (np.minimum(current, current[:, None]) - current * current[:, None]) / current_size
    return covariance
