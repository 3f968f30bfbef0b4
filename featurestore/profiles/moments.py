"""Mean and sum of squares that keep their digits, however the rows are split and however far from zero they lie.

A mean is kept as two floats: the nearest one, and the rest that it lacks. So the distance between the means of two
parts, which is what a merge squares, is known to the last digits of the *spread*, not of the distance from zero (Chan,
Golub and LeVeque, 1979, for the merge; Dekker, 1971, for a number in two floats).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", float, NDArray[np.float64])

# Sums of numbers near the largest float would overflow; a power of two changes no digit.
_LARGE = 1e300
_SMALLER = 2.0**-64


class Moments(NamedTuple):
    """Moments of several features, or of several parts of them: every array has the same shape.

    Attributes:
        finite: how many numbers.
        mean: the float nearest to their mean; 0 where there is none.
        mean_rest: what ``mean`` lacks.
        squares: the sum of squared distances from the mean.
        minimum: infinity where there is none.
        maximum: minus infinity where there is none.
    """

    finite: NDArray[np.int64]
    mean: NDArray[np.float64]
    mean_rest: NDArray[np.float64]
    squares: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]


#: Moments of no number.
NONE = (0, 0.0, 0.0, 0.0, np.inf, -np.inf)


def moments_of(finite: NDArray[np.float64]) -> tuple[int, float, float, float, float, float]:
    """Return the moments of finite numbers, in the order of :class:`Moments`."""
    if not len(finite):
        return NONE
    low, high = float(finite.min()), float(finite.max())
    scale = _SMALLER if max(-low, high) > _LARGE else 1.0
    scaled = finite * scale if scale != 1.0 else finite
    count = len(finite)
    pivot = float(np.add.reduce(scaled)) / count
    apart = scaled - pivot
    rest = float(np.add.reduce(apart)) / count
    # The variance of numbers near the largest float is infinite, which is what a float can say of it.
    with np.errstate(over="ignore"):
        squares = np.add.reduce(np.square(apart, out=apart))
        if np.isfinite(squares):
            squares = max(0.0, squares - rest * rest * count)
        squares = float(squares / scale / scale)
    mean, error = _sum_in_two(pivot, rest)
    return count, mean / scale, error / scale, squares, low, high


def merge_moments(parts: Moments) -> Moments:
    """Return the moments of all numbers of several parts, shape (features,), from arrays of shape (parts, features)."""
    finite = parts.finite.sum(axis=0)
    share = parts.finite / np.maximum(finite, 1)
    scale = np.where(np.abs(parts.mean).max(axis=0, initial=0.0) > _LARGE, _SMALLER, 1.0)
    mean, part_rest = parts.mean * scale, parts.mean_rest * scale
    pivot = _sum(share * mean)
    apart = (mean - pivot) + part_rest
    rest = _sum(share * apart)
    total, error = _sum_in_two(pivot, rest)
    # A part without numbers may lie infinitely far away: it has no weight.
    with np.errstate(over="ignore", invalid="ignore"):
        between = _sum(np.where(parts.finite > 0, parts.finite * np.square(apart - rest), 0.0)) / scale / scale
        squares = _sum(parts.squares) + between
    return Moments(
        finite=finite,
        mean=total / scale,
        mean_rest=error / scale,
        squares=squares,
        minimum=parts.minimum.min(axis=0, initial=np.inf),
        maximum=parts.maximum.max(axis=0, initial=-np.inf),
    )


def _sum(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    # NumPy sums in pairs along memory, whose error grows with the logarithm of the number of parts alone.
    total: NDArray[np.float64] = np.ascontiguousarray(parts.T).sum(axis=-1)
    return total


def _sum_in_two(one: _Number, two: _Number) -> tuple[_Number, _Number]:
    total = one + two
    second = total - one
    return total, (one - (total - second)) + (two - second)
