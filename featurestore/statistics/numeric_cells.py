"""Where the rows of cells lie on the line: what distances in the feature's unit need beside counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featurestore.profiles import Profile


@dataclass(frozen=True, eq=False)
class NumericCells:
    """One side of a comparison of numbers.

    Attributes:
        counts: rows in each cell between cuts, shape (cuts + 1,). Infinities lie in the end cells.
        minimum: the smallest finite number; infinity when there is none.
        maximum: the largest; minus infinity when there is none.
        mean: of finite numbers; NaN when it is not known.
    """

    counts: NDArray[np.float64]
    minimum: float
    maximum: float
    mean: float = math.nan

    @classmethod
    def of(cls, profile: Profile, feature: str) -> NumericCells:
        """Return a profile's numbers of one feature, which is numeric; NaN and null are left out."""
        position = profile.bins.positions[feature]
        mean = profile.mean_of(feature)
        return cls(
            np.asarray(profile.cells(feature)[: profile.bins.features[position].values], np.float64),
            float(profile.minimum[position]),
            float(profile.maximum[position]),
            math.nan if mean is None else mean,
        )

    def divided(self, unit: float) -> NumericCells:
        """Return the same rows with all numbers divided."""
        return NumericCells(self.counts, self.minimum / unit, self.maximum / unit, self.mean / unit)


class Pieces(NamedTuple):
    """Two distribution functions, both linear between the same points.

    Attributes:
        widths: of each piece, shape (pieces,).
        reference: the function just after the piece's start and just before its end, shape (pieces, 2).
        current: the same for the current rows.
    """

    widths: NDArray[np.float64]
    reference: NDArray[np.float64]
    current: NDArray[np.float64]


def pieces(
    reference: NumericCells, current: NumericCells, cuts: ArrayLike, *, discrete: bool, unit: float = 1.0
) -> Pieces:
    """Return the distribution functions that the cells tell of.

    Rows beyond the cuts lie between them and the minimum or maximum of their side. Where the rows of a cell lie in it
    is not known, but their mean over all cells is. So each cell's rows lie evenly over the longest part of it whose
    middle is moved from the cell's by as much as to give that mean; of all ways to do so it is the one with the least
    mean square of moves over widths: wide cells move most. One row far out does then not stretch the others.

    Args:
        reference: one side; has rows.
        current: the other; has rows.
        cuts: ascending, at least one; cell i holds ``cuts[i-1] < x <= cuts[i]``.
        discrete: whether rows between cuts lie at the upper of them, as they do when cells are the distinct values;
            else they lie evenly between.
        unit: of the widths; everything is divided by it before anything is subtracted, lest that overflow.
    """
    edges = np.asarray(cuts, np.float64) / unit
    sides = [_spread(side.divided(unit), edges, discrete=discrete) for side in (reference, current)]
    points = np.unique(np.concatenate([edges, *(ends for start, end, _ in sides for ends in (start, end))]))
    functions = [
        np.stack([_function(side, points[:-1], "right"), _function(side, points[1:], "left")], 1) for side in sides
    ]
    return Pieces(np.diff(points), *functions)


_Spread = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _spread(side: NumericCells, cuts: NDArray[np.float64], *, discrete: bool) -> _Spread:
    """Return start, end and share of rows of each cell, ascending."""
    shares = side.counts / side.counts.sum()
    starts = np.concatenate([[min(side.minimum, cuts[0])], cuts[1:] if discrete else cuts[:-1], cuts[-1:]])
    ends = np.concatenate([cuts, [max(side.maximum, cuts[-1])]])
    middles, halves = starts / 2 + ends / 2, ends / 2 - starts / 2
    moves = np.zeros(len(shares))
    if not math.isnan(side.mean):
        moves = _moves(shares, halves, side.mean - float(shares @ middles))
    left = halves - np.abs(moves)
    return np.maximum(starts, middles + moves - left), np.minimum(ends, middles + moves + left), shares


def _moves(shares: NDArray[np.float64], halves: NDArray[np.float64], lift: float) -> NDArray[np.float64]:
    """Return moves of cells' middles, at most half a cell each, that lift the mean; ``lambda * halves**2`` or as much.

    The lift grows with lambda, along straight lines between the points where one more cell, the next narrower, can
    move no further.
    """
    moves = np.zeros(len(shares))
    widest = float(halves[shares > 0].max())
    if not widest:
        return moves
    # Squares of widths far under the widest may be no numbers; such cells could not move by anything that counts.
    inside = np.flatnonzero((shares > 0) & (halves > widest * 1e-9))
    order = inside[np.argsort(-halves[inside], kind="stable")]
    share, half, lifted = shares[order], halves[order] / widest, abs(lift) / widest
    whole = np.cumsum(share * half)
    # What cells narrower than each lift when lambda is one over its half.
    parts = np.cumsum((share * half * half)[::-1])[::-1]
    beyond = whole + np.append(parts[1:], 0.0) / half
    stuck = int(np.searchsorted(beyond, lifted, side="left"))
    moves[order] = half
    if stuck < len(order):
        slope = max(0.0, lifted - (whole[stuck - 1] if stuck else 0.0)) / parts[stuck]
        moves[order[stuck:]] = np.minimum(slope * half[stuck:] ** 2, half[stuck:])
    return moves * math.copysign(widest, lift)


def _function(spread: _Spread, points: NDArray[np.float64], limit: str) -> NDArray[np.float64]:
    """Return the distribution function's limit from one side at ascending points."""
    starts, ends, shares = spread
    before = np.concatenate([[0.0], np.cumsum(shares)])
    cell = np.searchsorted(starts, points, side="right" if limit == "right" else "left") - 1
    at = np.maximum(cell, 0)
    widths = ends[at] - starts[at]
    with np.errstate(over="ignore"):  # of a cell that is all but a point
        part = np.divide(points - starts[at], widths, out=np.ones(len(points)), where=widths > 0)
    values = before[at] + shares[at] * np.clip(part, 0.0, 1.0)
    return np.where(cell < 0, 0.0, np.minimum(values, 1.0))
