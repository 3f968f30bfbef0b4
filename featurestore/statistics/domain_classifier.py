"""Domain classifier: how well can be told which side a row is from, given all of its features together?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from featurestore.statistics.estimate import Estimate
from featurestore.statistics.normal_scores import normal_scores

#: Products of two features that the classifier is given beside the features, of those that differ most.
PRODUCTS = 50
_ITERATIONS = 8


def domain_classifier(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    reference_size: float | None = None,
    current_size: float | None = None,
    folds: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Return the area under the ROC curve (AUC) of a classifier on rows that it was not trained on; 0.5 is no change.

    It is the chance that of two rows, one of each side, the current one is given the higher score (Lopez-Paz and
    Oquab, 2017). The classifier is a logistic regression on normal scores and the products of two of them that differ
    most between the sides of its training rows, so that it sees a change of means, of spreads and of correlations.
    Its coefficients have a normal prior under which the log-odds have a variance of 1.

    Rows that depend on each other may lie in different folds; the sizes must say what they are worth.

    Args:
        reference: shape (rows, columns); NaN is a missing value. A few thousand rows do.
        current: shape (rows, columns).
        reference_size: what the reference is worth in independent rows, at most its rows; None is its rows.
        current_size: the same for the current rows.
        folds: parts that are scored by a classifier trained on the others.
        seed: of the split into folds. The same rows in the same order give the same answer.
        confidence: of the interval: that of DeLong, DeLong and Clarke-Pearson (1988), within folds as LeDell, Petersen
            and van der Laan (2015), on the scale of log-odds, with **twice** the variance. Under no change the scores
            of different folds are correlated, because each fold trains the classifiers of the others: for a linear
            score the folds' sum is twice ``sum(<d_a, d_b>)`` over pairs of folds, with d the differences of their
            means, and so has twice the variance of independent folds.

    Returns:
        The area; 0.5, with the interval 0 to 1, when a side has fewer rows than twice the folds, or is worth none.

    Raises:
        ValueError: the matrices have not the same number of columns, or are no matrices.
    """
    one, two = normal_scores(reference, current)
    sizes = [
        min(len(side), len(side) if size is None else size)
        for side, size in ((one, reference_size), (two, current_size))
    ]
    if min(len(one), len(two)) < 2 * folds or min(sizes) <= 0:
        return Estimate(0.5, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    fold_one, fold_two = (rng.permutation(np.arange(len(side)) % folds) for side in (one, two))
    placed_one, placed_two = np.empty(len(one)), np.empty(len(two))
    for fold in range(folds):
        out_one, out_two = fold_one == fold, fold_two == fold
        score_one, score_two = _scores(one[~out_one], two[~out_two], (one[out_one], two[out_two]))
        placed_one[out_one] = 1 - _placement(score_one, score_two)
        placed_two[out_two] = _placement(score_two, score_one)
    area = float(placed_one.mean() + placed_two.mean()) / 2
    variance = 2 * sum(
        float(placed.var(ddof=1)) / size for placed, size in zip((placed_one, placed_two), sizes, strict=True)
    )
    return Estimate(area, *_on_log_odds(area, variance, max(sizes), float(ndtri((1 + confidence) / 2))))


def _scores(
    one: NDArray[np.float64], two: NDArray[np.float64], held: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log-odds of held-out rows of each side by a classifier trained on the others."""
    first, second = _products(one, two)
    train = np.concatenate([_with_products(side, first, second) for side in (one, two)])
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    used = deviation > 1e-9
    if not used.any():
        return np.zeros(len(held[0])), np.zeros(len(held[1]))
    design = ((train - mean) / np.where(used, deviation, 1.0))[:, used]
    coefficients = _logistic(design, len(one))
    given = [((_with_products(side, first, second) - mean) / np.where(used, deviation, 1.0))[:, used] for side in held]
    return given[0] @ coefficients, given[1] @ coefficients


def _products(one: NDArray[np.float64], two: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of columns whose products' means differ most, in their standard errors."""
    means = [side.T @ side / len(side) for side in (one, two)]
    variances = [
        np.maximum(np.square(side).T @ np.square(side) / len(side) - np.square(mean), 0.0) / len(side)
        for side, mean in zip((one, two), means, strict=True)
    ]
    first, second = np.triu_indices(one.shape[1])
    error = np.sqrt(variances[0] + variances[1])[first, second]
    apart = np.abs(means[1] - means[0])[first, second]
    scores = np.divide(apart, error, out=np.zeros(len(first)), where=error > 1e-9)
    chosen = np.sort(np.argsort(-scores, kind="stable")[:PRODUCTS])
    return first[chosen], second[chosen]


def _with_products(side: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.concatenate([side, side[:, first] * side[:, second]], axis=1)


def _logistic(design: NDArray[np.float64], ones: int) -> NDArray[np.float64]:
    """Return the coefficients of a logistic regression with both sides weighted alike, by Newton's method.

    The first ``ones`` rows are the reference's. The intercept is left out of the result: no rank depends on it.
    """
    rows, columns = design.shape
    matrix = np.concatenate([np.ones((rows, 1)), design], axis=1)
    target = np.arange(rows) >= ones
    weights = np.where(target, rows / (2 * (rows - ones)), rows / (2 * ones))
    penalty = np.full(columns + 1, float(columns))
    penalty[0] = 0.0
    coefficients = np.zeros(columns + 1)
    for _ in range(_ITERATIONS):
        chance = expit(matrix @ coefficients)
        slope = matrix.T @ (weights * (target - chance)) - penalty * coefficients
        curve = (matrix * (weights * chance * (1 - chance))[:, None]).T @ matrix + np.diag(penalty)
        coefficients = coefficients + np.linalg.solve(curve, slope)
    return coefficients[1:]


def _placement(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each score the share of the others that are lower, equal ones counting half."""
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")
    placement: NDArray[np.float64] = twice / (2 * len(others))
    return placement


def _on_log_odds(area: float, variance: float, size: float, z: float) -> tuple[float, float]:
    """Return the interval's ends from the variance of the area, symmetric in its log-odds."""
    # An area of 0 or 1 has no log-odds and seems to have no variance; it is that of half a row less.
    inner = min(max(area, 0.5 / (size + 1)), 1 - 0.5 / (size + 1))
    slope = inner * (1 - inner)
    middle = math.log(inner / (1 - inner))
    spread = z * math.sqrt(max(variance, slope / (size + 1))) / slope
    return min(area, float(expit(middle - spread))), max(area, float(expit(middle + spread)))
