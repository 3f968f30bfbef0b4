"""The interval of a divergence that is about chi-square when nothing has changed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, chndtrinc, ndtri

_LARGE = 1e6


def non_centrality_interval(value: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Return the non-centralities under which a non-central chi-square is as large as ``value``, not surely otherwise.

    Divergences of binned shares are alike for small changes: each is a multiple of ``sum((q - p)**2 / p)``, and that
    times ``1 / (1/n + 1/m)`` is about a non-central chi-square whose non-centrality is what the sum is of the whole
    populations. Inverting it (Steiger and Fouladi, 1997) takes off the upward bias that sampling gives to every
    divergence, so the interval begins at 0 as long as chance alone explains the value.

    Args:
        value: of the statistic, 0 or more.
        freedom: its degrees of freedom, 1 or more.
        confidence: of the interval, between 0 and 1; each tail has half of what is left.

    Returns:
        The interval's ends, at least 0. Both may lie under ``value``, which is biased.
    """
    tail = (1 - confidence) / 2
    return _non_centrality(value, freedom, 1 - tail), _non_centrality(value, freedom, tail)


def lower_non_centrality(value: float, freedom: float, confidence: float) -> float:
    """Return the lower end of :func:`non_centrality_interval`; 0 when there are no degrees of freedom."""
    return _non_centrality(value, freedom, (1 + confidence) / 2) if freedom else 0.0


def multinomial_variance(shares: NDArray[np.float64], slopes: NDArray[np.float64], size: float) -> float:
    """Return the variance of a function of sampled shares by the delta method.

    Args:
        shares: of each cell.
        slopes: the function's derivative by each.
        size: what the sample is worth in independent rows.
    """
    return float(shares @ np.square(slopes) - (shares @ slopes) ** 2) / size


def _non_centrality(value: float, freedom: float, probability: float) -> float:
    """Return the non-centrality under which a value as large or smaller has that probability, or 0 if none does."""
    if value > _LARGE:
        # The inversion fails here, and the normal approximation is exact to six digits.
        return value - freedom - float(ndtri(probability)) * math.sqrt(2 * (2 * value - freedom))
    if chdtr(freedom, value) <= probability:
        return 0.0
    return float(chndtrinc(value, freedom, probability))
