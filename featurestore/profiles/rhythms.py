"""Rhythms: features whose values follow the hour of the day or of the week, and what they are like in each hour.

A shop has other customers at night than at noon. Judged by the baseline as a whole, each night is a change; and a
change at noon that makes it look like a night is none. So for a feature that follows the clock, and for no other, the
baseline keeps what each hour is like. Hours are of UTC, and those of the week begin on Monday.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY = 24
WEEK = 168
#: Hours from the Monday before 1970 to 1970, which began on a Thursday.
_MONDAY = 72
#: Days (or weeks) that must have an hour before its rhythm is believed.
VISITS = 3
#: Least share of the rows whose hour has so many.
_COVERED = 0.95
#: Between-hours variance over within-hours variance, from which on a rhythm is seen. Without any the ratio is 1 with a
#: deviation of sqrt(2 / degrees of freedom), and hours of one day, or of one weekday, are not independent: so many
#: deviations at no more degrees than independent ones there are. A rhythm that is missed by this is smaller than the
#: error that limits by the hour would have to allow.
_DEVIATIONS = 4
_BY_DAY = 1 + _DEVIATIONS * math.sqrt(2 / (DAY - 1))
_BY_WEEK = 1 + _DEVIATIONS * math.sqrt(2 / (WEEK // DAY - 1))


@dataclass(frozen=True, eq=False)
class Rhythm:
    """What one feature is like in each hour.

    Attributes:
        counts: rows by hour and cell, shape (24 or 168, coarse cells): those of
            :meth:`~featurestore.profiles.FeatureBins.readable`. With weights they are units of weight.
        visits: hours with rows that each hour of the day or week has had, shape (24 or 168,).
        visit_rho: how alike rows of one hour are beyond the rhythm, from 0 to 1; the largest over events.
        block_rho: how alike rows of one block are beyond the rhythm.
    """

    counts: NDArray[np.int64]
    visits: NDArray[np.int64]
    visit_rho: float
    block_rho: float

    @property
    def phases(self) -> int:
        """24 when it follows the day, 168 when it follows the week."""
        return len(self.visits)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rhythm):
            return NotImplemented
        return (
            np.array_equal(self.counts, other.counts)
            and np.array_equal(self.visits, other.visits)
            and (self.visit_rho, self.block_rho) == (other.visit_rho, other.block_rho)
        )

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, Any]:
        """Return all but the counts as plain JSON values; floats survive exactly."""
        return {"visits": self.visits.tolist(), "visit_rho": self.visit_rho, "block_rho": self.block_rho}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], counts: NDArray[np.int64]) -> Rhythm:
        """Return the rhythm that :meth:`to_json` and the counts came from."""
        return cls(counts, np.array(values["visits"], np.int64), values["visit_rho"], values["block_rho"])


def phase_of(hours: NDArray[np.int64] | int, phases: int) -> NDArray[np.int64]:
    """Return the hour of the day or the week of hours since 1970."""
    found: NDArray[np.int64] = (np.asarray(hours, np.int64) + _MONDAY) % phases
    return found


def find_rhythm(
    counts: NDArray[np.int64],
    hours: NDArray[np.int64],
    blocks: NDArray[np.int64],
    *,
    values: int,
    ordered: bool,
    scale: float = 1.0,
) -> Rhythm | None:
    """Return the rhythm of one feature; None where none is seen, or where too few days or weeks were watched.

    Args:
        counts: rows by hour and coarse cell, shape (hours, cells); hours without rows are left out.
        hours: hours since 1970, ascending, shape (hours,).
        blocks: the number of each hour's block, ascending, shape (hours,).
        values: leading cells that hold values.
        ordered: whether cells are in the order of the values.
        scale: what one unit of the counts is worth in rows; below 1 where they are weighted.
    """
    events = _events(counts.astype(np.float64) * scale, values, ordered=ordered)
    phases, chosen = 1, np.zeros(len(hours), np.int64)
    for finer, least in ((DAY, _BY_DAY), (WEEK, _BY_WEEK)):
        phase = phase_of(hours, finer)
        if not _covered(counts.sum(axis=1), phase, finer):
            break
        if max(_ratio(hits, rows, chosen, phase) for hits, rows in events) >= least:
            phases, chosen = finer, phase
    if phases == 1:
        return None
    by_phase = np.zeros((phases, counts.shape[1]), np.int64)
    np.add.at(by_phase, chosen, counts)
    each = np.arange(len(hours))
    return Rhythm(
        counts=by_phase,
        visits=np.bincount(chosen, minlength=phases).astype(np.int64),
        visit_rho=max(_likeness(hits, rows, chosen, each) for hits, rows in events),
        block_rho=max(_likeness(hits, rows, chosen, blocks) for hits, rows in events),
    )


def _covered(rows: NDArray[np.int64], phase: NDArray[np.int64], phases: int) -> bool:
    visits = np.bincount(phase, minlength=phases)
    often = rows[visits[phase] >= VISITS].sum()
    return bool((visits > 0).sum() > 1 and often >= _COVERED * rows.sum())


def _events(
    counts: NDArray[np.float64], values: int, *, ordered: bool
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return hits by hour and event, and rows by hour: of the values, and of what is no value."""
    inside = counts[:, :values]
    hits = np.cumsum(inside, axis=1)[:, :-1] if ordered else inside
    rows = counts.sum(axis=1)
    found = [(hits, inside.sum(axis=1)), (counts[:, values:], rows)]
    return [(hits, rows) for hits, rows in found if hits.shape[1]]


def _shares(
    hits: NDArray[np.float64], rows: NDArray[np.float64], group: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each group's share of hits, shape (groups, events), and its rows."""
    count = int(group.max(initial=0)) + 1
    inside = np.zeros((count, hits.shape[1]))
    np.add.at(inside, group, hits)
    total: NDArray[np.float64] = np.bincount(group, rows, count).astype(np.float64)
    shares: NDArray[np.float64] = np.divide(inside, total[:, None], out=np.zeros_like(inside), where=total[:, None] > 0)
    return shares, total


def _ratio(
    hits: NDArray[np.float64], rows: NDArray[np.float64], coarse: NDArray[np.int64], fine: NDArray[np.int64]
) -> float:
    """Return what the finer groups explain over what is left, per degree of freedom: the largest over events."""
    coarse_share, _ = _shares(hits, rows, coarse)
    fine_share, total = _shares(hits, rows, fine)
    explained = (rows[:, None] * np.square(fine_share[fine] - coarse_share[coarse])).sum(axis=0)
    own = np.divide(hits, rows[:, None], out=np.zeros_like(hits), where=rows[:, None] > 0)
    left = (rows[:, None] * np.square(own - fine_share[fine])).sum(axis=0)
    groups, kept = len(np.unique(coarse)), int((total > 0).sum())
    seen = int((rows > 0).sum())
    if kept <= groups or seen <= kept:
        return 0.0
    explained, left = explained / (kept - groups), left / (seen - kept)
    # Hours that are alike to the last row, and differ from each other, are a rhythm as clear as can be.
    ratio = np.divide(explained, left, out=np.where(explained > 0, np.inf, 0.0), where=left > 0)
    return float(ratio.max(initial=0.0))


def _likeness(
    hits: NDArray[np.float64], rows: NDArray[np.float64], phase: NDArray[np.int64], group: NDArray[np.int64]
) -> float:
    """Return rho of rows in one group about the shares of their phases: the largest over events.

    As :func:`~featurestore.statistics.design_effect.intra_block_correlation`, with the degrees of freedom that the
    phases' shares have taken.
    """
    share, total = _shares(hits, rows, phase)
    count = int(group.max(initial=0)) + 1
    beyond = np.zeros((count, hits.shape[1]))
    np.add.at(beyond, group, hits - rows[:, None] * share[phase])
    size = np.bincount(group, rows, count)
    seen, kept = int((rows > 0).sum()), int((total > 0).sum())
    groups = int((size > 0).sum())
    free = groups * (1 - kept / max(1, seen))
    mean = size.sum() / max(1, groups)
    if free <= 0 or mean <= 1:
        return 1.0 if free <= 0 else 0.0
    spread = (np.square(beyond[size > 0]) / size[size > 0, None]).sum(axis=0) / free
    binomial = (total[:, None] * share * (1 - share)).sum(axis=0) / max(1.0, total.sum())
    phi = np.divide(spread, binomial, out=np.ones_like(spread), where=binomial > 0)
    return float(np.clip((phi - 1) / (mean - 1), 0.0, 1.0).max(initial=0.0))
