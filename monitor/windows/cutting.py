"""How counted rows are cut into windows: pure, so that the same rows give the same windows in any number of runs.

Instants are microseconds since 1970. A place is (instant, offset), as in :class:`~monitor.windows.base.Position`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """A window as numbers: where it begins, where it stops, its rows, and whether these are enough."""

    begin: Place
    stop: Place
    rows: int
    enough: bool


def by_time(
    numbers: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    size: int,
    minimum: int,
    age: int,
    since: Place | None,
    until: int,
) -> tuple[list[Piece], Place | None]:
    """Return the windows of a grid of time that have closed, and where the next run goes on.

    Args:
        numbers: of the cells of the grid that have rows, ascending.
        counts: their rows; of the cell that ``since`` lies in, those from there on.
        size: the length of a cell.
        minimum: a window with fewer rows takes in the cells that follow.
        age: the cells after which it stops waiting.
        since: where the last run left off.
        until: the first instant that is not closed, a multiple of ``size``.
    """
    pieces: list[Piece] = []
    first: int | None = None
    rows = 0

    def close(stop: int, *, enough: bool) -> None:
        nonlocal first, rows
        assert first is not None  # noqa: S101 - a window is open
        pieces.append(Piece(_at(first * size, since), (stop * size, 0), rows, enough))
        first, rows = None, 0

    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        if first is not None and number >= first + age:
            close(first + age, enough=False)
        first = number if first is None else first
        rows += count
        if rows >= minimum:
            close(number + 1, enough=True)
    if first is not None and (first + age) * size <= until:
        close(first + age, enough=False)
    if first is not None:
        return pieces, _at(first * size, since)
    return pieces, _at(until, since)


def _at(instant: int, since: Place | None) -> Place:
    return (instant, 0) if since is None else max((instant, 0), since)


def by_count(
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
    *,
    size: int,
    age: int | None,
    since: Place | None,
    until: int,
) -> tuple[list[Piece], Place | None]:
    """Return the windows of so many rows that have closed, and where the next run goes on.

    Args:
        batches: instants that have rows, ascending over all batches, and their rows; all of the instant of ``since``.
        size: rows of a window.
        age: microseconds after its first row at which a window stops waiting; None for never.
        since: where the last run left off.
        until: the first instant that is not closed.
    """
    pieces: list[Piece] = []
    begin: Place | None = None
    rows = 0
    reached = since

    def close(stop: Place, count: int, *, enough: bool) -> None:
        nonlocal begin, rows, reached
        assert begin is not None  # noqa: S101 - a window is open
        pieces.append(Piece(begin, stop, count, enough))
        begin, rows, reached = None, 0, stop

    for instants, counts in batches:
        before = np.concatenate([[0], np.cumsum(counts)])
        total = int(before[-1])
        taken = since[1] if since is not None and len(instants) and int(instants[0]) == since[0] else 0
        while taken < total:
            if begin is None:
                at = int(np.searchsorted(before, taken, side="right")) - 1
                begin = (int(instants[at]), taken - int(before[at]))
            old = len(instants) if age is None else int(np.searchsorted(instants, begin[0] + age))
            wanted = taken + size - rows
            if wanted <= before[old]:
                at = int(np.searchsorted(before, wanted)) - 1
                inside = wanted - int(before[at])
                whole = inside == counts[at]
                close((int(instants[at]) + 1, 0) if whole else (int(instants[at]), inside), size, enough=True)
                taken = wanted
            elif old < len(instants):
                assert age is not None  # noqa: S101 - else nothing is old
                left = int(before[old])
                close((begin[0] + age, 0), rows + left - taken, enough=False)
                taken = left
            else:
                rows += total - taken
                taken = total
    if begin is not None and age is not None and begin[0] + age <= until:
        close((begin[0] + age, 0), rows, enough=False)
    return pieces, begin if begin is not None else reached
