"""Volume: how many rows came, against how many used to come."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.stability_index import EMPTY_CELL


def dispersion(rows: ArrayLike) -> float:
    """Return the index of dispersion of the rows of several blocks: their variance over their mean; at least 1.

    1 is what independent arrivals give (Poisson). With fewer than two blocks, or no rows, nothing is known and the
    index is infinite.

    Args:
        rows: of each block of one length, empty ones too, shape (blocks,).
    """
    counts = np.asarray(rows, np.float64)
    if len(counts) < 2 or not counts.sum():
        return math.inf
    return max(1.0, float(counts.var(ddof=1) / counts.mean()))


def volume_ratio(
    reference_rows: float,
    current_rows: float,
    *,
    reference_blocks: float,
    current_blocks: float = 1.0,
    dispersion: float = 1.0,
    confidence: float = 0.95,
) -> Estimate:
    """Return the current rows per block over the reference's; 0 or more, without an upper limit.

    Args:
        reference_rows: of all the reference's blocks. None counts as half a row, so that the ratio is finite.
        current_rows: of all the current blocks.
        reference_blocks: how many blocks there were; a block is as long as one window.
        current_blocks: the same for the current rows; may be a part of one.
        dispersion: of the rows of a block, as :func:`dispersion` measures it. What days differ by grows with their
            volume, so measure it on blocks of the window's length.
        confidence: of the interval. Given the sum of two Poisson counts, one of them is binomial, and the interval is
            that of Clopper and Pearson (1934) for its share (Przyborowski and Wilenski, 1940); it holds at every size.
            Counts that are spread more widely are divided by the dispersion first (quasi-Poisson).

    Returns:
        The ratio; 1, with the interval 0 to infinity, when a side has no time or the dispersion is unknown. The upper
        end is infinity, too, when the reference has no rows.
    """
    if reference_blocks <= 0 or current_blocks <= 0 or not math.isfinite(dispersion):
        return Estimate(1.0, 0.0, math.inf)
    blocks = reference_blocks / current_blocks
    ratio = current_rows / max(reference_rows, EMPTY_CELL) * blocks
    one, two = reference_rows / dispersion, current_rows / dispersion
    tail = (1 - confidence) / 2
    low = float(betaincinv(two, one + 1, tail)) if two else 0.0
    high = float(betaincinv(two + 1, one, 1 - tail)) if one else 1.0
    above = high / (1 - high) * blocks if high < 1 else math.inf
    return Estimate(ratio, min(ratio, low / (1 - low) * blocks), max(ratio, above))
