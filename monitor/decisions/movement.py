"""Where the rows of a feature have gone."""

from __future__ import annotations

import numpy as np

from featurestore.profiles import FeatureBins, Profile
from monitor.decisions.finding import Direction, Move

#: How many bins or categories a finding names.
MOVED = 3
#: Distribution functions cross, rather than lie on one side, when the smaller difference is so much of the larger.
CROSSING = 0.5


def moves_of(one: FeatureBins, reference: Profile, current: Profile) -> tuple[Move, ...]:
    """Return the bins or categories whose share of the rows changed most, the largest change first."""
    if not reference.rows or not current.rows:
        return ()
    before = one.readable(reference.cells(one.name)) / reference.rows
    after = one.readable(current.cells(one.name)) / current.rows
    order = np.argsort(-np.abs(after - before), kind="stable")[:MOVED]
    return tuple(
        Move(label=one.labels[cell], baseline=float(before[cell]), current=float(after[cell]))
        for cell in order
        if after[cell] != before[cell]
    )


def direction_of(one: FeatureBins, reference: Profile, current: Profile) -> Direction:
    """Return where the numbers of a feature have gone, from where the distribution functions differ most.

    Both ways means that the spread has changed: with more rows at either end it is wider.
    """
    before = reference.cells(one.name)[: one.values].astype(np.float64)
    after = current.cells(one.name)[: one.values].astype(np.float64)
    if one.kind != "numeric" or not before.sum() or not after.sum():
        return ""
    # Rows gone up leave the distribution function lower than it was.
    fallen = np.cumsum(before) / before.sum() - np.cumsum(after) / after.sum()
    up, down = float(fallen.max()), float(-fallen.min())
    if max(up, down) <= 0:
        return ""
    if min(up, down) >= CROSSING * max(up, down):
        return "wider" if int(fallen.argmin()) < int(fallen.argmax()) else "narrower"
    return "up" if up > down else "down"


def constant_now(one: FeatureBins, reference: Profile, current: Profile) -> bool:
    """Return whether a feature that had several values has a single one in all current rows that have any."""
    if one.kind == "opaque":
        return False
    before, after = reference.cells(one.name)[: one.values], current.cells(one.name)[: one.values]
    at = reference.bins.positions[one.name]
    if one.kind == "numeric":
        varied = np.count_nonzero(before) > 1 or reference.minimum[at] < reference.maximum[at]
        alone = current.finite[at] == after.sum() > 0 and current.minimum[at] == current.maximum[at]
        return bool(varied and alone)
    # What shares the cells of other and of unseen values may be many values.
    alone = after.sum() > 0 and after[: one.values - 2].max(initial=0) == after.sum()
    return bool(np.count_nonzero(before) > 1 and alone)
