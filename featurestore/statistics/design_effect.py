"""Design effect: how many rows are worth one, when rows of a block resemble each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def intra_block_correlation(hits: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
    """Return rho for several events: how alike two rows of one block are.

    From Kish's design effect (1965) phi, the variance of an event's share between blocks over what it would be if rows
    were independent: ``phi = 1 + (n0 - 1) * rho``, with n0 the mean block size of the analysis of variance.

    Args:
        hits: rows of each block in each event, shape (blocks, events).
        rows: rows of each block, shape (blocks,).

    Returns:
        rho, shape (events,), from 0 to 1; 0 for an event that all rows or none are in. With fewer than two blocks
        nothing is known and rho is 1: a block counts as one observation.
    """
    inside, sizes = np.asarray(hits, np.float64), np.asarray(rows, np.float64)
    inside, sizes = inside[sizes > 0], sizes[sizes > 0]
    total = sizes.sum()
    if len(sizes) < 2:
        return np.ones(inside.shape[1])
    shares = inside.sum(axis=0) / total
    spread = (sizes[:, None] * np.square(inside / sizes[:, None] - shares)).sum(axis=0) / (len(sizes) - 1)
    binomial = shares * (1 - shares)
    phi = np.divide(spread, binomial, out=np.ones_like(spread), where=binomial > 0)
    size = (total - np.square(sizes).sum() / total) / (len(sizes) - 1)
    if size <= 1:
        return np.zeros(inside.shape[1])
    rho: NDArray[np.float64] = np.clip((phi - 1) / (size - 1), 0.0, 1.0)
    return rho


def design_effect(rows_per_block: float, rho: ArrayLike) -> NDArray[np.float64]:
    """Return how many rows of a stream with that many rows a block are worth one; at least 1."""
    phi: NDArray[np.float64] = 1 + max(0.0, rows_per_block - 1) * np.asarray(rho, np.float64)
    return phi
