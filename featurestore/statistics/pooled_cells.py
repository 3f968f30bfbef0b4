"""Cells with few rows are pooled with their neighbours, for the lower end of a divergence's interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Cochran's rule (1954): with fewer rows expected in a cell the chi-square distribution is a poor guide.
LEAST_EXPECTED = 5.0


def pooled_cells(
    p: NDArray[np.float64], q: NDArray[np.float64], reference_size: float, current_size: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares over pooled cells, each with at least :data:`LEAST_EXPECTED` expected rows on both sides.

    Pooling never makes an f-divergence larger (the data-processing inequality; Csiszar, 1967), so a lower bound for
    pooled cells is one for the cells themselves, and one that rare cells do not spoil. Neighbours are pooled: those of
    numbers are alike, and those of categories alike rare. Only totals decide, never a difference.

    Args:
        p: the reference's shares.
        q: the current shares in the same cells.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.

    Returns:
        Two arrays of one shape; of one cell when there are too few rows for two.
    """
    both = (p * reference_size + q * current_size) / (reference_size + current_size)
    expected = both * min(reference_size, current_size)
    starts, held = [0], 0.0
    for cell, rows in enumerate(expected.tolist()):
        if held >= LEAST_EXPECTED:
            starts.append(cell)
            held = 0.0
        held += rows
    if held < LEAST_EXPECTED and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(p, starts), np.add.reduceat(q, starts)
