"""Upper bounds of probabilities that were estimated from rows which are not independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from featurestore.statistics.design_effect import intra_block_correlation
from monitor.detector.events import Event


def design_effect_of(rows_per_block: NDArray[np.float64], rho: Any) -> NDArray[np.float64]:
    """Return phi for several block sizes; see :func:`~featurestore.statistics.design_effect.design_effect`."""
    phi: NDArray[np.float64] = 1 + np.maximum(0.0, rows_per_block - 1) * rho
    return phi


def upper_limits(
    events: Sequence[Event],
    shares: NDArray[np.float64],
    sizes: NDArray[np.float64],
    delta: float,
    smallest_change: float,
) -> NDArray[np.float64]:
    """Return pi + r + eps: share, its own error, and the smallest change.

    For a cell or a tail the smallest change is at most its share. r is the lesser of two bounds that hold together with
    probability 1 - 2 delta / 3 (the last third is that of scores): Clopper and Pearson's for each event, which is the
    sharper one in the tails, and that of Dvoretzky, Kiefer and Wolfowitz for the distribution function.
    """
    distribution = np.array([one.direction in ("up", "down") and one.kind == "drift" for one in events])
    tail = np.array([one.kind == "drift" and one.coarse is None for one in events])
    some = np.maximum(sizes, 1e-12)
    exact = upper_bound(shares, some, delta / 3 / len(events))
    uniform = np.where(distribution, shares + np.sqrt(math.log(6 / delta) / (2 * some)), 1.0)
    room = np.where(distribution & ~tail, smallest_change, np.minimum(smallest_change, shares))
    limits: NDArray[np.float64] = np.minimum(1.0, np.minimum(exact, uniform) + room)
    # Every row is in it already: no more can be. And of what was never seen nothing is known.
    limits[(shares >= 1) | (sizes <= 0)] = 1.0
    return limits


def upper_bound(
    shares: NDArray[np.float64], sizes: NDArray[np.float64], alpha: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Clopper and Pearson's upper bound of probabilities; sizes need not be whole."""
    hits = shares * sizes
    bound: NDArray[np.float64] = betaincinv(hits + 1, np.maximum(sizes - hits, 1e-12), 1 - np.asarray(alpha))
    return bound


def likeness(hits: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Return rho of a feature: how alike rows of one block are, the largest over its events.

    The largest of some twenty estimates that depend on each other lies two deviations over the truth, or about that: of
    independent rows phi would be 1.3 with 90 blocks. So two deviations of one estimate are taken off, sqrt(2 / (D - 1))
    each, what it has when rows are independent. (If they are not, the deviation grows with phi, and what is taken off
    is less than what is too much.)

    Args:
        hits: rows of each block in each event, shape (blocks, events).
        rows: rows of each block, shape (blocks,).
    """
    largest = float(intra_block_correlation(hits, rows).max(initial=0.0))
    some = rows[rows > 0]
    if len(some) < 2:
        return largest
    size = float(some.sum() - np.square(some).sum() / some.sum()) / (len(some) - 1)
    return deviations_off(largest, len(some), size) if size > 1 else largest


def deviations_off(rho: float, blocks: int, size: float) -> float:
    """Return rho, the largest of several, less two deviations of one; see :func:`likeness`."""
    return max(0.0, rho - 2 * math.sqrt(2 / (blocks - 1)) / (size - 1))
