"""Jensen-Shannon distance: how much one row tells of which side it is from, as a metric."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.non_centrality import lower_non_centrality, non_centrality_interval
from featurestore.statistics.pooled_cells import pooled_cells


def jensen_shannon(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_size: float,
    current_size: float,
    base: float = math.e,
    confidence: float = 0.95,
) -> Estimate:
    """Return the square root of the Jensen-Shannon divergence (Lin, 1991), a metric (Endres and Schindelin, 2003).

    The divergence is the mean relative entropy of the two sides to their middle. A cell that is empty on one side has
    a finite part in it, so nothing is smoothed.

    Args:
        reference: rows in each cell.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        base: of the logarithm: e for nats, where the distance is at most sqrt(ln 2) = 0.8326; 2 for bits, at most 1.
        confidence: of the interval. With B cells, 8 times the divergence in nats times 1 / (1/n + 1/m) is about a
            non-central chi-square of B - 1 degrees of freedom, and the interval inverts it
            (:func:`~featurestore.statistics.non_centrality.non_centrality_interval`). However large the change, the
            variance of the divergence is no larger than this takes it to be. The lower end is that of pooled cells
            (:func:`~featurestore.statistics.pooled_cells.pooled_cells`), which cells of few rows do not spoil.

    Returns:
        The distance; 0, with the interval 0 to its largest value, when a side has no rows.
    """
    unit = math.log(base)
    largest = math.sqrt(math.log(2) / unit)
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Estimate(0.0, 0.0, largest)
    p, q = found
    divergence = _divergence(p, q)
    value = min(largest, math.sqrt(divergence / unit))
    if len(p) == 1:
        return Estimate(value, 0.0, value)
    scale = 8 / (1 / reference_size + 1 / current_size)
    pooled = pooled_cells(p, q, reference_size, current_size)
    low = lower_non_centrality(_divergence(*pooled) * scale, len(pooled[0]) - 1, confidence)
    _, high = non_centrality_interval(divergence * scale, len(p) - 1, confidence)
    low, high = math.sqrt(low / scale / unit), math.sqrt(high / scale / unit)
    return Estimate(value, min(value, low), max(value, min(largest, high)))


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Return the divergence in nats."""
    middle = (p + q) / 2
    # Equal shares may give a sum a rounding below zero.
    return max(0.0, float((rel_entr(p, middle) + rel_entr(q, middle)).sum()) / 2)
