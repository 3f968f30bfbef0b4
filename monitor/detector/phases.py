"""Limits by the hour: a window of a feature that has a rhythm is judged by the hours it covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import Rhythm
from featurestore.profiles.rhythms import VISITS, WEEK, phase_of
from monitor.detector.bounds import design_effect_of, upper_limits
from monitor.detector.events import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def hour_of_week(start: datetime) -> int:
    """Return the hour of the week, from Monday in UTC, that an instant is in."""
    return int(phase_of((start - _EPOCH) // _HOUR, WEEK))


@dataclass(frozen=True, eq=False)
class Phases:
    """The limits of one feature, for each start of a window within the week.

    A window over several hours is judged by the mixture of them that the baseline has, each hour with its rows. It
    counts from the full hour that it begins in.

    Attributes:
        rhythm: what the feature is like in each hour.
        events: its events.
        pooled: their limits over all hours.
        values: the leading coarse cells that hold values.
        window: the length of the windows.
        scale: what a unit of the counts is worth in rows.
        delta: the chance that some limit lies under the truth.
        smallest_change: of a probability, that matters.
    """

    rhythm: Rhythm
    events: tuple[Event, ...]
    pooled: NDArray[np.float64]
    values: int
    window: timedelta
    scale: float
    delta: float
    smallest_change: float

    @property
    def rho(self) -> float:
        """How alike rows of one block are beyond the rhythm."""
        return self.rhythm.block_rho

    @cached_property
    def sets(self) -> int:
        """How many different mixtures of hours there are."""
        cycle = self.rhythm.phases * 3600
        step = max(math.gcd(int(self.window.total_seconds()), cycle), 3600)
        return max(1, cycle // step)

    def limits(self, key: int) -> NDArray[np.float64]:
        """Return the limits of a window that begins in an hour of the week, shape (events,)."""
        share = self._overlap(key)
        if self.rhythm.visits[share > 0].max() < VISITS:
            return self._envelope
        return self._of(share)

    def _overlap(self, key: int) -> NDArray[np.float64]:
        """Return how much of each hour of the cycle a window has."""
        length = max(1.0, self.window / _HOUR)
        whole, rest = int(length), length % 1
        phases = self.rhythm.phases
        share = np.bincount((key + np.arange(whole)) % phases, minlength=phases).astype(np.float64)
        share[(key + whole) % phases] += rest
        return share

    @cached_property
    def _envelope(self) -> NDArray[np.float64]:
        """The most that any hour allows: for hours that the baseline does not know."""
        known = np.flatnonzero(self.rhythm.visits >= VISITS)
        highest: NDArray[np.float64] = np.max([self._of(np.eye(self.rhythm.phases)[hour]) for hour in known], axis=0)
        return highest

    def _of(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        rhythm = self.rhythm
        counts = share @ rhythm.counts
        visits, blocks = float(share @ rhythm.visits), float(rhythm.visits[share > 0].max())
        upto = np.concatenate([[0.0], np.cumsum(counts)])
        bases = np.array([upto[-1] if one.out_of_rows else upto[self.values] for one in self.events])
        ends = np.array([(0, 0) if one.coarse is None else one.coarse for one in self.events])
        inside = upto[ends[:, 1]] - upto[ends[:, 0]]
        fewer = np.array([one.direction == "fewer" for one in self.events])
        shares = np.divide(np.where(fewer, bases - inside, inside), bases, out=np.zeros(len(bases)), where=bases > 0)
        rows = bases * self.scale
        # Rows of one hour resemble each other, and so do hours of one day: the greater loss counts.
        within = design_effect_of(rows / visits, rhythm.visit_rho)
        phi = np.maximum(within, design_effect_of(rows / blocks, rhythm.block_rho))
        limits = upper_limits(self.events, shares, rows / phi, self.delta / self.sets, self.smallest_change)
        # Values that were never there before, and those beyond all others, are so at any hour.
        clockless = np.array([one.kind in ("range", "unseen") or one.coarse is None for one in self.events])
        return np.where(clockless, self.pooled, limits)
