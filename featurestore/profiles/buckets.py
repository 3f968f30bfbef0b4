"""Cuts -> the cell of each value, exactly, at a tenth of the price of a binary search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Buckets of the grid. Most of them hold no cut or one: 2,048 stand beside at most 148 cuts.
_GRID = 2048


class Buckets:
    """Ascending cuts, ready to look values up: cell i holds ``cuts[i-1] < x <= cuts[i]``.

    A grid of equal steps says how many cuts lie in the buckets before a value's own; those in its own are told apart
    by halving. The grid's arithmetic may round as it likes: it never falls where values rise, and a cut is counted
    unseen only when its bucket, by the same arithmetic, lies before the value's. So the cells are those of a search.

    Args:
        cuts: all of them int, and then values are compared as whole numbers, also beyond 2^53; or else as floats.

    Attributes:
        whole: whether the cuts are whole numbers.
    """

    def __init__(self, cuts: Sequence[float]) -> None:
        self.whole = bool(cuts) and all(isinstance(cut, int) for cut in cuts)
        edges = np.array(cuts, np.int64 if self.whole else np.float64)
        # The outermost cuts may lie far away from all others, and would make the buckets too wide for these.
        inner = edges[1:-1] if len(edges) > 3 else edges
        self._low, self._high = (float(inner[0]), float(inner[-1])) if len(inner) else (0.0, 0.0)
        span = self._high - self._low
        # Where floats end there is no grid: one bucket holds all cuts.
        self._scale = (_GRID - 1) / span if 1e-300 < span < 1e300 else 0.0
        first = np.searchsorted(self._buckets_of(edges.astype(np.float64)), np.arange(_GRID + 1), side="left")
        self._first = first[:-1]
        most = int(np.diff(first).max())
        self._halves = [1 << bit for bit in reversed(range(most.bit_length()))]
        beyond: float = np.iinfo(np.int64).max if self.whole else np.inf
        self._padded = np.concatenate([edges, np.full(2 << most.bit_length(), beyond, edges.dtype)])

    def cells(self, values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the cell of each value.

        Args:
            values: int64 where the cuts are whole, else float64; infinities may be among them, NaN may not.
        """
        cells = self._first.take(self._buckets_of(values))
        for half in self._halves:
            cells += half * (values > self._padded.take(cells + (half - 1)))
        return cells

    def _buckets_of(self, values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.intp]:
        if not self._scale:
            return np.zeros(len(values), np.intp)
        steps = np.clip(values.astype(np.float64, copy=False), self._low, self._high)
        steps -= self._low
        steps *= self._scale
        return steps.astype(np.intp)
