"""Launch mismatch: a difference that is there from the first day is one finding, and drift is what comes after it.

A model that is served other rows than it was trained on from its first hour (training data that was filtered, a unit
that differs, a population that was never sampled) has not drifted. It is told once; then the question is whether
anything changes *after* launch. So what was seen in the first days widens the limits of those events that lay over
them: what is allowed from then on, until the mismatch is mended, is what training allows, what launch showed, and all
between.

The widened limit of an event is an upper bound of its probability at launch, at each window with its part delta / 2 /
(t (t + 1)) of the chance to err, so that it holds at every time at once, and also at the one when the alarm happens
to be raised. It is known before the window that it is used on, which is all that the detector's guarantee needs: an
e-detector with predictable limits is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from monitor.detector.bounds import design_effect_of, upper_bound
from monitor.detector.limits import Limits

#: Blocks that count as launch: with blocks of a day, a week, which has all of its days.
LAUNCH_BLOCKS = 7


@dataclass(frozen=True, eq=False)
class Launch:
    """What was seen in the first blocks that were judged against a baseline; after a mismatch, in those of this period.

    Attributes:
        first: start of the first window, in microseconds since 1970; None before it.
        end: start of the last window that counted.
        period: how many periods as long as the launch have passed; it counts only after a mismatch.
        windows: windows of this period.
        mismatch: whether a mismatch was found.
        hits: rows of its windows in each event, shape (events,).
        rows: rows that these are counted out of.
        allowed: the sum over windows of limit times rows.
        shift: how far the limits are widened; nothing without a mismatch.
    """

    first: int | None
    end: int | None
    period: int
    windows: int
    mismatch: bool
    hits: NDArray[np.float64]
    rows: NDArray[np.float64]
    allowed: NDArray[np.float64]
    shift: NDArray[np.float64]

    ARRAYS: ClassVar[tuple[str, ...]] = ("hits", "rows", "allowed", "shift")

    @classmethod
    def start(cls, events: int) -> Launch:
        """Return what is known before the first window."""
        nothing = np.zeros(events)
        return cls(None, None, 0, 0, False, nothing, nothing, nothing, nothing)

    def seen(
        self,
        limits: Limits,
        start: int,
        hits: NDArray[np.float64],
        rows: NDArray[np.float64],
        allowed: NDArray[np.float64],
    ) -> Launch:
        """Return what is known after one more window.

        Without a mismatch, windows after the launch add nothing. With one, each period as long as the launch is looked
        at when it has passed: if no event lay over what training allows in it, the mismatch has been mended, and limits
        are those of training again. Else what was wrong at launch could come back and never be told.
        """
        first = start if self.first is None else self.first
        period = (start - first) // (LAUNCH_BLOCKS * block_us(limits))
        known = self
        if period > self.period:
            if not self.mismatch:
                return self
            known = self._next(period)
        more = replace(
            known,
            first=first,
            end=start,
            windows=known.windows + 1,
            hits=known.hits + hits,
            rows=known.rows + rows,
            allowed=known.allowed + allowed * rows,
        )
        return more.recentred(limits) if self.mismatch and period == 0 else more

    def _next(self, period: int) -> Launch:
        nothing = np.zeros(len(self.hits))
        wide = self.shift > 0
        mended = self.period > 0 and bool(np.all(self.hits[wide] <= self.allowed[wide]))
        shift = nothing if mended else self.shift
        return replace(self, period=period, windows=0, hits=nothing, rows=nothing, allowed=nothing, shift=shift)

    def includes(self, limits: Limits, onset: int) -> bool:
        """Say whether an onset lies in the first block: within a block one window cannot be told from another."""
        return self.first is not None and onset < self.first + block_us(limits)

    def recentred(self, limits: Limits) -> Launch:
        """Return it with a mismatch, and with limits that allow what was seen."""
        if self.first is None or self.end is None:
            return self
        blocks = 1 + (self.end - self.first) // block_us(limits)
        some = np.maximum(self.rows, 1.0)
        shares, allowed = self.hits / some, self.allowed / some
        # An event that did not lie over its limit is judged as before: what widens it would only blunt it.
        over = np.flatnonzero((shares > allowed) & (self.rows > 0))
        sizes = self.rows[over] / design_effect_of(self.rows[over] / blocks, limits.rho[over])
        alpha = limits.delta / 2 / max(1, len(shares)) / (self.windows * (self.windows + 1))
        room = np.minimum(limits.smallest_change, shares[over])
        bound = upper_bound(shares[over], sizes, alpha)
        # Of a score, Hoeffding's: Clopper and Pearson's is that of events.
        loose = shares[over] + np.sqrt(-np.log(alpha) / (2 * np.maximum(sizes, 1e-12)))
        upper = np.minimum(1.0, np.where(limits.flat.score[over], loose, bound) + room)
        shift = np.zeros(len(shares))
        shift[over] = np.maximum(0.0, upper - allowed[over])
        return replace(self, mismatch=True, shift=shift)


def block_us(limits: Limits) -> int:
    """Return the length of a block in microseconds."""
    return round(limits.block.total_seconds() * 1_000_000)
