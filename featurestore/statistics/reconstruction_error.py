"""Reconstruction error: do the columns still hang together as principal components of the reference say?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.normal_scores import normal_scores

_ROUNDING = 1e-12


def reconstruction_error(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_size: float | None = None,
    current_size: float | None = None,
    explained: float = 0.65,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Return the current rows' mean squared error of reconstruction over that of the reference; 1 is no change.

    Principal components that explain a given part of the variance of one half of the reference's normal scores
    reconstruct the other half and the current rows. It sees that correlations break; a change along the components
    themselves, or from no correlation to some, it does not.

    Args:
        reference: shape (rows, columns); NaN is a missing value.
        current: shape (rows, columns).
        reference_size: what the reference is worth in independent rows; None is its rows.
        current_size: the same for the current rows.
        explained: the part of the variance that components are taken for; at least one, and not all of them.
        seed: of the halves. The same rows in the same order give the same answer.
        confidence: of the interval: the delta method's for the logarithm of a ratio of two means, given the components;
            half of the reference's size counts.

    Returns:
        The ratio; 1, with the interval 0 to infinity, when a side has fewer than four rows or is worth none, or fewer
        than two columns vary. An error that is no more than rounding counts as such, so the ratio is finite.

    Raises:
        ValueError: the matrices have not the same number of columns, or are no matrices.
    """
    one, two = normal_scores(reference, current)
    sizes = [len(side) if size is None else size for side, size in ((one, reference_size), (two, current_size))]
    if min(len(one), len(two)) < 4 or min(sizes) <= 0 or one.shape[1] < 2:
        return Estimate(1.0, 0.0, math.inf)
    order = np.random.default_rng(seed).permutation(len(one))
    fitted, held = one[order[: len(one) // 2]], one[order[len(one) // 2 :]]
    mean = fitted.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(fitted, rowvar=False))
    part = np.cumsum(variances[::-1]) / max(float(variances.sum()), _ROUNDING)
    kept = min(int(np.searchsorted(part, explained)) + 1, one.shape[1] - 1)
    rest = axes[:, : one.shape[1] - kept]
    errors = [np.square((side - mean) @ rest).sum(axis=1) for side in (held, two)]
    means = [max(float(error.mean()), _ROUNDING) for error in errors]
    spread = sum(
        float(error.var(ddof=1)) / (size * centre**2)
        for error, centre, size in zip(errors, means, (sizes[0] / 2, sizes[1]), strict=True)
    )
    ratio = means[1] / means[0]
    factor = math.exp(min(700.0, float(ndtri((1 + confidence) / 2)) * math.sqrt(spread)))
    return Estimate(ratio, ratio / factor, ratio * factor)
