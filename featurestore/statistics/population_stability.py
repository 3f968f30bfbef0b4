"""Population stability index (PSI), which is Jeffreys' divergence of binned shares."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtr, chndtrinc, ndtri

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.stability_index import shares, stability_index

_LARGE = 1e6


def population_stability(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return the sum of (q - p) ln(q / p) over cells with shares p and q; 0 or more, without an upper limit.

    Cells that are empty on both sides are left out; one that is empty on one side counts as half a row there.

    Args:
        reference: rows in each cell.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval. With B cells the index times 1 / (1/n + 1/m) is about a non-central chi-square of
            B - 1 degrees of freedom, whose non-centrality is the true index on the same scale (Yurdakul, 2018, for
            no change); the interval inverts it, so that it begins at 0 as long as chance alone explains the index.

    Returns:
        The index; 0, with the interval 0 to infinity, when a side has no rows.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if not one.sum() or not two.sum():
        return Estimate(0.0, 0.0, np.inf)
    index = stability_index(one, two)
    scale = 1 / (1 / reference_size + 1 / current_size)
    freedom = len(shares(one, two)[0]) - 1
    if not freedom:
        return Estimate(index, 0.0, 0.0)
    tail = (1 - confidence) / 2
    low = _non_centrality(index * scale, freedom, 1 - tail) / scale
    high = _non_centrality(index * scale, freedom, tail) / scale
    return Estimate(index, min(index, low), max(index, high))


def _non_centrality(value: float, freedom: int, probability: float) -> float:
    """Return the non-centrality under which a value as large or smaller has that probability, or 0 if none does."""
    if value > _LARGE:
        # The inversion fails here, and the normal approximation is exact to six digits.
        return value - freedom - float(ndtri(probability)) * math.sqrt(2 * (2 * value - freedom))
    if chdtr(freedom, value) <= probability:
        return 0.0
    return float(chndtrinc(value, freedom, probability))
