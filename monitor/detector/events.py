"""The events that evidence is gathered on: ranges of a feature's cells, by the kind of change they speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import Bins, FeatureBins

Kind = Literal["drift", "nulls", "nan", "range", "unseen"]
Direction = Literal["up", "down", "wider", "narrower", "more", "fewer"]

#: Values that moved; nulls; NaN; numbers beyond the baseline's smallest and largest; categories it never had.
KINDS: tuple[Kind, ...] = ("drift", "nulls", "nan", "range", "unseen")


@dataclass(frozen=True)
class Event:
    """What a row may be in: cells of one feature, out of others.

    Values are counted out of the values, so that nulls move no value: a source that is null in half of all rows is a
    spike of nulls, and what the other half looks like is another question.

    Attributes:
        kind: what a change of it is evidence of.
        direction: ``up`` and ``down`` of numbers over or up to a cut, ``more`` or ``fewer`` of one cell; ``wider`` and
            ``narrower`` only of scores.
        start: its first cell.
        stop: its last cell and one.
        coarse: the same two, among the cells that :meth:`FeatureBins.readable` merges; None for an event that they
            cannot tell.
        out_of_rows: whether it is counted out of all rows; else out of those with a value.
        score: which score it is, if it is one: a row is then in it by a part.
    """

    kind: Kind
    direction: Direction
    start: int
    stop: int
    coarse: tuple[int, int] | None
    out_of_rows: bool = False
    score: int | None = None


def events_of(one: FeatureBins) -> list[Event]:
    """Return the events of one feature."""
    values, cells, coarse = one.values, one.cells, len(one.labels)
    absent = coarse - (cells - values)  # coarse cells that hold values
    found: list[Event] = []
    if one.kind == "numeric":
        for at, cut in enumerate(one.events):
            below = Event("drift", "down", 0, cut + 1, (0, at + 1))
            above = Event("drift", "up", cut + 1, values, (at + 1, absent))
            found += [below, above]
        if one.events:
            first, last = one.events[0], one.events[-1]
            # The outermost of the events' cuts leaves a twentieth beyond it, which hides what happens in a tail.
            if last - first > 2:
                found.append(Event("drift", "down", 0, first + 2, None))
                found.append(Event("drift", "up", last, values, None))
            found.append(Event("range", "down", 0, first + 1, (0, 1)))
            found.append(Event("range", "up", last + 1, values, (absent - 1, absent)))
        found.append(Event("nan", "more", values, values + 1, (absent, absent + 1), out_of_rows=True))
    elif one.kind == "categorical":
        for cell in range(values):
            found.append(Event("drift", "more", cell, cell + 1, (cell, cell + 1)))
            found.append(Event("drift", "fewer", cell, cell + 1, (cell, cell + 1)))
        found.append(Event("unseen", "more", values - 1, values, (values - 1, values)))
    found.append(Event("nulls", "more", cells - 1, cells, (coarse - 1, coarse), out_of_rows=True))
    found.append(Event("nulls", "fewer", cells - 1, cells, (coarse - 1, coarse), out_of_rows=True))
    return found


@dataclass(frozen=True, eq=False)
class Flat:
    """The events of all features, end to end, as arrays: those of a feature together, and of a kind within it.

    Attributes:
        features: the position of each event's feature in the bins, shape (events,).
        kinds: the position of its kind in :data:`KINDS`.
        start: its first cell in :attr:`Profile.counts`.
        stop: its last cell and one.
        base_start: the first cell of what it is counted out of.
        base_stop: the last and one.
        fewer: whether it is all but its cells.
        score: whether it is a score, whose rows are not counted here.
        weights: of each event among those of its feature and kind; they add up to 1. Where a number has scores, half
            is theirs.
        groups: where each run of one feature and kind begins, ascending.
    """

    features: NDArray[np.int64]
    kinds: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    base_start: NDArray[np.int64]
    base_stop: NDArray[np.int64]
    fewer: NDArray[np.bool_]
    score: NDArray[np.bool_]
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]

    def counted(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the rows in each event, and those it is counted out of, each of shape (events,)."""
        upto = np.concatenate([[0], np.cumsum(counts)])
        inside = upto[self.stop] - upto[self.start]
        rows = upto[self.base_stop] - upto[self.base_start]
        return np.where(self.fewer, rows - inside, inside).astype(np.float64), rows.astype(np.float64)


def flatten(bins: Bins, chosen: list[list[Event]]) -> Flat:
    """Return the events chosen of each feature as arrays; they are sorted by kind already."""
    rows = []
    for position, (one, events) in enumerate(zip(bins.features, chosen, strict=True)):
        first = bins.slices[one.name].start
        for event in events:
            base = first + (one.cells if event.out_of_rows else one.values)
            ends = (first + event.start, first + event.stop, first, base)
            flags = (event.direction == "fewer", event.score is not None)
            rows.append((position, KINDS.index(event.kind), *ends, *flags))
    table = np.array(rows, np.int64).reshape(-1, 8)
    names = table[:, 0] * len(KINDS) + table[:, 1]
    groups = np.flatnonzero(np.diff(names, prepend=-1))
    score = table[:, 7].astype(bool)
    group = np.cumsum(np.diff(names, prepend=-1) != 0) - 1
    alike = group * 2 + score
    parts = np.bincount(alike, minlength=2 * len(groups))
    both = parts[::2] * parts[1::2] > 0
    weights = 1 / parts[alike] / np.where(both[group], 2, 1)
    return Flat(
        features=table[:, 0],
        kinds=table[:, 1],
        start=table[:, 2],
        stop=table[:, 3],
        base_start=table[:, 4],
        base_stop=table[:, 5],
        fewer=table[:, 6].astype(bool),
        score=score,
        weights=weights,
        groups=groups,
    )
