"""Cramer's V: how strongly a category tells which side a row is from, whatever the number of rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.chi_square import pearson
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.non_centrality import multinomial_variance, non_centrality_interval


def cramers_v(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return Cramer's V of side against category with the correction of Bergsma (2013), from 0 to 1.

    Without the correction V is above 0 by chance alone, the more so the more categories. V depends on how many rows
    each side has: the same two distributions give less when one side is much smaller. Compare it only between windows
    of like sizes; total variation has no such condition.

    Args:
        reference: rows in each category.
        current: rows in the same categories.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval, which inverts the non-central chi-square of the statistic (Steiger and Fouladi,
            1997; Smithson, 2003). Far from no change the statistic varies more than that when one side is much smaller.
            So the interval also takes in the delta method's, around the statistic less its degrees of freedom.

    Returns:
        The coefficient; 0, with the interval 0 to 1, when a side has no rows or both are worth two or fewer.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None or reference_size + current_size <= 2:
        return Estimate(0.0, 0.0, 1.0)
    table = np.stack([found[0] * reference_size, found[1] * current_size])
    freedom, total = table.shape[1] - 1, float(table.sum())
    if not freedom:
        return Estimate(0.0, 0.0, 0.0)
    statistic = pearson(table)
    part = reference_size / total
    p, q = found
    ratio = (p - q) / (part * p + (1 - part) * q)
    variance = multinomial_variance(p, 2 * ratio - part * np.square(ratio), reference_size)
    variance += multinomial_variance(q, 2 * ratio + (1 - part) * np.square(ratio), current_size)
    spread = float(ndtri((1 + confidence) / 2)) * total * part * (1 - part) * math.sqrt(max(0.0, variance))
    low, high = non_centrality_interval(statistic, freedom, confidence)
    low = min(low, max(0.0, statistic - freedom - spread))
    high = min(total, max(high, statistic - freedom + spread))
    # A table of two rows: the smaller dimension is the sides', less what Bergsma takes off it.
    smaller = min(1 - 1 / (total - 1), freedom - freedom * freedom / (total - 1))
    squared = max(0.0, statistic / total - freedom / (total - 1))
    value = min(1.0, math.sqrt(squared / smaller)) if smaller > 0 else 0.0
    return Estimate(value, min(value, math.sqrt(low / total)), max(value, math.sqrt(high / total)))
