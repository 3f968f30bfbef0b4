"""Population stability index (PSI), which is Jeffreys' divergence of binned shares."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.non_centrality import multinomial_variance, non_centrality_interval
from featurestore.statistics.stability_index import shares, stability_index


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
            Far from no change the index varies more than that, where q / p is large most of all; so the interval also
            takes in the delta method's, around the index less its bias to second order.

    Returns:
        The index; 0, with the interval 0 to infinity, when a side has no rows.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if not (one.sum() > 0 and two.sum() > 0 and reference_size > 0 and current_size > 0):
        return Estimate(0.0, 0.0, np.inf)
    index = stability_index(one, two)
    scale = 1 / (1 / reference_size + 1 / current_size)
    freedom = len(shares(one, two)[0]) - 1
    if not freedom:
        return Estimate(index, 0.0, 0.0)
    low, high = (end / scale for end in non_centrality_interval(index * scale, freedom, confidence))
    p, q = shares(one, two)
    variance = multinomial_variance(p, np.log(p / q) + 1 - q / p, reference_size)
    variance += multinomial_variance(q, np.log(q / p) + 1 - p / q, current_size)
    spread = float(ndtri((1 + confidence) / 2)) * math.sqrt(max(0.0, variance))
    bias = float((1 + q / p).sum() / reference_size + (1 + p / q).sum() / current_size) / 2
    low, high = min(low, max(0.0, index - bias - spread)), max(high, index - bias + spread)
    return Estimate(index, min(index, low), max(index, high))
