"""Chi-square test of homogeneity: could both sides be samples of one distribution?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from featurestore.statistics.cell_shares import cell_shares


class Homogeneity(NamedTuple):
    """What the test returns.

    Attributes:
        statistic: Pearson's, 0 or more; 0 when nothing can be tested.
        p_value: the chance of a statistic as large or larger when nothing has changed; 1 when nothing can be tested.
        freedom: degrees of freedom: cells that took part, less one.
    """

    statistic: float
    p_value: float
    freedom: int


def chi_square(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_size: float,
    current_size: float,
    least_expected: float | None = None,
) -> Homogeneity:
    """Return Pearson's test of homogeneity of two samples.

    It is not the goodness-of-fit test, which takes the reference for the truth and so finds, at equal sizes, 17 % of
    unchanged windows changed where it says 5 % (two categories), or 49 % (ten).

    The table that is tested has the shares as they are and the effective sizes as totals: the correction of first
    order of Rao and Scott (1981) with a design effect for each side. A size is the number of rows when they are
    independent. There is no interval: the answer is a probability. For the size of the change see
    :func:`~featurestore.statistics.cramers_v.cramers_v` or total variation.

    Args:
        reference: rows in each category.
        current: rows in the same categories.
        reference_size: what the reference is worth in independent rows.
        current_size: the same for the current rows.
        least_expected: pool the rarest categories until each has at least this many expected rows on both sides.
            :data:`~featurestore.statistics.pooled_cells.LEAST_EXPECTED` is the usual number. Only totals decide what
            is pooled, never a difference, so the test stays one. None pools nothing.
    """
    found = cell_shares(reference, current, reference_size, current_size)
    if found is None:
        return Homogeneity(0.0, 1.0, 0)
    table = np.stack([found[0] * reference_size, found[1] * current_size])
    if least_expected is not None:
        table = _pool(table, least_expected)
    freedom = table.shape[1] - 1
    statistic = pearson(table)
    return Homogeneity(statistic, float(chdtrc(freedom, statistic)) if freedom else 1.0, freedom)


def pearson(table: NDArray[np.float64]) -> float:
    """Return Pearson's statistic of a table of two rows, of which no row and no column is empty."""
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float((np.square(table - expected) / expected).sum())


def _pool(table: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    totals = table.sum(axis=0)
    ordered = table[:, np.argsort(totals, kind="stable")]
    # The smaller side expects the fewest rows, in every category the same part of its total.
    expected = np.sort(totals) * (table.sum(axis=1).min() / table.sum())
    rare = int(np.searchsorted(expected, least, side="left"))
    if not rare:
        return table
    together = np.cumsum(expected)
    reached = int(np.searchsorted(together, least, side="left")) + 1
    pooled = min(max(rare, reached), len(totals))
    return np.column_stack([ordered[:, :pooled].sum(axis=1), ordered[:, pooled:]])
