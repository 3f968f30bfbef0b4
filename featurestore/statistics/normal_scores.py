"""Two matrices -> one scale for all columns, on which no outlier and no unit counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri


def normal_scores(reference: ArrayLike, current: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the van der Waerden scores of the rows of both sides: normal quantiles of the pooled ranks.

    They are the same for any increasing function of a column, and infinities are no more than the last ranks. The
    ranks are of both sides together, so that under no change the rows of both remain exchangeable.

    Args:
        reference: shape (rows, columns); NaN is a missing value.
        current: shape (rows, columns).

    Returns:
        Two matrices of the same number of columns. A column whose values are all the same is left out. Missing values
        are 0, the middle; each pattern of what is missing that a column has, other than in all rows or none, adds one
        column of 0 or 1.

    Raises:
        ValueError: the matrices have not the same number of columns, or are no matrices.
    """
    one, two = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1]:
        raise ValueError(f"matrices of shape {one.shape} and {two.shape} do not have the same columns")
    pooled = np.concatenate([one, two])
    columns, patterns = [], {}
    for column in pooled.T:
        missing = np.isnan(column)
        scores = _scores(column[~missing])
        if scores.any():
            columns.append(np.zeros(len(column)))
            columns[-1][~missing] = scores
        if missing.any() and not missing.all():
            patterns[missing.tobytes()] = missing.astype(np.float64)
    columns += patterns.values()
    matrix = np.stack(columns, axis=1) if columns else np.zeros((len(pooled), 0))
    return matrix[: len(one)], matrix[len(one) :]


def _scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(values):
        return values
    ordered = np.sort(values)
    # Twice the mean of the ranks of equal values, counted from one, less one.
    ranks = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    if ordered[0] == ordered[-1]:
        return np.zeros(len(values))
    scores: NDArray[np.float64] = ndtri((ranks + 1) / (2 * (len(values) + 1)))
    centred: NDArray[np.float64] = scores - scores.mean()
    return centred
