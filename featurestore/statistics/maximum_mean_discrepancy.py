"""Maximum mean discrepancy (MMD): the distance of two joint distributions, in time linear in the rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.norm_interval import norm_error
from featurestore.statistics.normal_scores import normal_scores


def maximum_mean_discrepancy(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_size: float | None = None,
    current_size: float | None = None,
    frequencies: int = 128,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Return the MMD (Gretton and others, 2012) of normal scores under a Gaussian kernel; 0 is the same, sqrt(2) most.

    It is the distance of the mean cosines and sines of the rows at random frequencies (Rahimi and Recht, 2007; Zhao and
    Meng, 2015), in which a change of any kind, that of correlations too, shows. The kernel's bandwidth is the square
    root of the number of columns, half the usual distance of two rows over sqrt(2).

    Args:
        reference: shape (rows, columns); NaN is a missing value.
        current: shape (rows, columns).
        reference_size: what the reference is worth in independent rows; None is its rows.
        current_size: the same for the current rows.
        frequencies: how many; the time grows with it.
        seed: of the frequencies. The same rows give the same answer.
        confidence: of the interval for the discrepancy under the kernel that these frequencies are. The value is a
            norm, and lies within the norm of the sampling error of the truth, whose quantile is
            :func:`~featurestore.statistics.norm_interval.norm_error`.

    Returns:
        The discrepancy; 0, with the interval 0 to sqrt(2), when a side has fewer than two rows or is worth none.

    Raises:
        ValueError: the matrices have not the same number of columns, or are no matrices.
    """
    one, two = normal_scores(reference, current)
    sizes = [len(side) if size is None else size for side, size in ((one, reference_size), (two, current_size))]
    if min(len(one), len(two)) < 2 or min(sizes) <= 0:
        return Estimate(0.0, 0.0, math.sqrt(2))
    columns = one.shape[1]
    directions = np.random.default_rng(seed).standard_normal((columns, frequencies)) / math.sqrt(max(columns, 1))
    waves = [_waves(side @ directions) for side in (one, two)]
    value = float(np.linalg.norm(waves[0].mean(axis=0) - waves[1].mean(axis=0)))
    covariance = sum(
        (np.cov(wave, rowvar=False) / size for wave, size in zip(waves, sizes, strict=True)),
        np.zeros((2 * frequencies, 2 * frequencies)),
    )
    error = norm_error(covariance, confidence)
    return Estimate(value, max(0.0, value - error), max(value, min(math.sqrt(2), value + error)))


def _waves(phases: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / math.sqrt(phases.shape[1])
