"""Hellinger distance: from 0, the same, to 1, nothing in common."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featurestore.statistics.cell_shares import cell_shares
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.non_centrality import lower_non_centrality, non_centrality_interval
from featurestore.statistics.pooled_cells import pooled_cells
from featurestore.statistics.stability_index import EMPTY_CELL


def hellinger(
    reference: ArrayLike, current: ArrayLike, *, reference_size: float, current_size: float, confidence: float = 0.95
) -> Estimate:
    """Return ``sqrt(sum((sqrt(p) - sqrt(q))**2) / 2)`` over cells with shares p and q, from 0 to 1.

    A square root is steepest near zero, so rare cells weigh more than in total variation; none needs smoothing.

    Args:
        reference: rows in each cell.
        current: rows in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        confidence: of the interval. Square roots of shares all have about the same variance, a quarter of 1 / n
            (Bartlett, 1936), so with B cells 8 times the squared distance times 1 / (1/n + 1/m) is about a non-central
            chi-square of B - 1 degrees of freedom, near and far; the interval inverts it
            (:func:`~featurestore.statistics.non_centrality.non_centrality_interval`). Its lower end is that of
            pooled cells (:func:`~featurestore.statistics.pooled_cells.pooled_cells`): the square root of a count of few
            rows has another variance, and a mean of its own. Where one share is much smaller than the other, the
            bias is larger than that of B - 1 degrees of freedom, and its first term takes their place.

    Returns:
        The distance; 0, with the interval 0 to 1, when a side has no rows.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Estimate(0.0, 0.0, 1.0)
    p, q = found
    squared = _squared(p, q)
    value = min(1.0, math.sqrt(squared))
    if len(p) == 1:
        return Estimate(value, 0.0, value)
    scale = 8 / (1 / reference_size + 1 / current_size)
    pooled = pooled_cells(p, q, reference_size, current_size)
    freedom = _freedom(*pooled, reference_size, current_size)
    low = lower_non_centrality(_squared(*pooled) * scale, freedom, confidence)
    _, high = non_centrality_interval(squared * scale, len(p) - 1, confidence)
    return Estimate(value, min(value, math.sqrt(low / scale)), max(value, min(1.0, math.sqrt(high / scale))))


def _squared(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    return float(np.square(np.sqrt(p) - np.sqrt(q)).sum()) / 2


def _freedom(p: NDArray[np.float64], q: NDArray[np.float64], reference_size: float, current_size: float) -> float:
    """Return the bias of the squared distance as degrees of freedom; cells less one when the shares are the same."""
    if len(p) == 1:
        return 0.0
    one, two = np.maximum(p, EMPTY_CELL / reference_size), np.maximum(q, EMPTY_CELL / current_size)
    bias = float((np.sqrt(two / one) / reference_size + np.sqrt(one / two) / current_size).sum())
    return max(len(p) - 1, bias / (1 / reference_size + 1 / current_size) - 1)
