"""Where the rows of features have gone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import FeatureBins, Profile
from monitor.decisions.finding import Direction, Move
from monitor.decisions.stacking import Stack

#: How many bins or categories a finding names.
MOVED = 3
#: Distribution functions cross, rather than lie on one side, when the smaller difference is so much of the larger.
CROSSING = 0.5


def moves_of(reference: Profile, current: Profile, *, hidden: Collection[str]) -> list[tuple[Move, ...]]:
    """Return, of each feature, the bins or categories whose share of the rows changed most, the largest change first.

    Args:
        reference: the baseline.
        current: the rows that are judged, over the same bins.
        hidden: fields whose values must not leave: nothing is said of them.
    """
    features = reference.bins.features
    if not reference.rows or not current.rows or not features:
        return [()] * len(features)
    starts, widths = _readable(reference)
    before = np.add.reduceat(reference.counts, starts) / reference.rows
    after = np.add.reduceat(current.counts, starts) / current.rows
    # Stable, so that of equal changes the first cell comes first.
    order = np.lexsort((-np.abs(after - before), np.repeat(np.arange(len(widths)), widths)))
    firsts = np.cumsum(widths) - widths
    found: list[tuple[Move, ...]] = []
    for one, first, width in zip(features, firsts.tolist(), widths.tolist(), strict=True):
        cells = order[first : first + min(MOVED, width)].tolist()
        found.append(() if one.column in hidden else tuple(_moved(one, first, cells, before, after)))
    return found


def _readable(profile: Profile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the cells that people read begin in a profile's counts, and how many each feature has.

    They are those of :meth:`FeatureBins.readable`.
    """
    bins = profile.bins
    places: list[NDArray[np.int64]] = []
    for one, first in zip(bins.features, (np.cumsum(bins.widths) - bins.widths).tolist(), strict=True):
        if one.kind == "numeric":
            ends = (0, *(event + 1 for event in one.events), one.values, one.values + 1)
            places.append(np.array(ends, np.int64) + first)
        else:
            places.append(np.arange(first, first + one.cells))
    return np.concatenate(places), np.array([len(one) for one in places], np.int64)


def _moved(
    one: FeatureBins, first: int, cells: list[int], before: NDArray[np.float64], after: NDArray[np.float64]
) -> list[Move]:
    shares = [(cell - first, float(before[cell]), float(after[cell])) for cell in cells]
    return [Move(label=one.labels[at], baseline=was, current=now) for at, was, now in shares if was != now]


def directions_of(stack: Stack) -> list[Direction]:
    """Return where the numbers of features have gone, from where the distribution functions differ most.

    Both ways means that the spread has changed: with more rows at either end it is wider.
    """
    if stack.kind != "numeric":
        return [""] * len(stack.features)
    before = stack.before[:, : stack.values].astype(np.float64)
    after = stack.after[:, : stack.values].astype(np.float64)
    rows, others = before.sum(axis=1), after.sum(axis=1)
    known = (rows > 0) & (others > 0)
    rows, others = np.where(known, rows, 1.0), np.where(known, others, 1.0)
    # Rows gone up leave the distribution function lower than it was.
    fallen = np.cumsum(before, axis=1) / rows[:, None] - np.cumsum(after, axis=1) / others[:, None]
    ups, downs = fallen.max(axis=1), -fallen.min(axis=1)
    wider = fallen.argmin(axis=1) < fallen.argmax(axis=1)
    told = zip(known.tolist(), ups.tolist(), downs.tolist(), wider.tolist(), strict=True)
    return [_direction(up, down, wide) if has else "" for has, up, down, wide in told]


def _direction(up: float, down: float, wider: bool) -> Direction:
    if max(up, down) <= 0:
        return ""
    if min(up, down) >= CROSSING * max(up, down):
        return "wider" if wider else "narrower"
    return "up" if up > down else "down"


def constant_now(stack: Stack, reference: Profile, current: Profile) -> list[bool]:
    """Return which features that had several values have a single one in all current rows that have any."""
    if stack.kind == "opaque":
        return [False] * len(stack.features)
    at = stack.places
    before, after = stack.before[:, : stack.values], stack.after[:, : stack.values]
    varied, rows = np.count_nonzero(before, axis=1) > 1, after.sum(axis=1)
    if stack.kind == "numeric":
        varied |= reference.minimum[at] < reference.maximum[at]
        alone = (current.finite[at] == rows) & (rows > 0) & (current.minimum[at] == current.maximum[at])
    else:
        # What shares the cells of other and of unseen values may be many values.
        alone = (rows > 0) & (after[:, : stack.values - 2].max(axis=1, initial=0) == rows)
    found: list[bool] = (varied & alone).tolist()
    return found
