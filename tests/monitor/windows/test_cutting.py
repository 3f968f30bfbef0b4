"""Where windows begin hangs on the rows alone: whatever the runs, each row is in one window, waits, or is late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.windows.cutting import Piece, Place, by_count, by_time

_instants = st.lists(st.integers(-60, 200), max_size=60)


def _time(rows: Sequence[int], since: Place | None, until: int, **how: int) -> tuple[list[Piece], Place | None]:
    seen = [row for row in rows if row < until and (since is None or row >= since[0])]
    cells = sorted(Counter(row // how["size"] for row in seen).items())
    numbers = np.array([number for number, _ in cells], np.int64)
    counts = np.array([count for _, count in cells], np.int64)
    return by_time(numbers, counts, since=since, until=until, **how)


def _count(
    rows: Sequence[int], since: Place | None, until: int, *, size: int, age: int | None, batch: int
) -> tuple[list[Piece], Place | None]:
    found = sorted(Counter(row for row in rows if row < until and (since is None or row >= since[0])).items())
    instants = np.array([instant for instant, _ in found], np.int64)
    counts = np.array([count for _, count in found], np.int64)
    batches = [(instants[at : at + batch], counts[at : at + batch]) for at in range(0, len(found), batch)]
    return by_count(batches, size=size, age=age, since=since, until=until)


def _rows_between(rows: Sequence[int], begin: Place, stop: Place) -> int:
    ranks: Counter[int] = Counter()
    inside = 0
    for row in sorted(rows):
        inside += begin <= (row, ranks[row]) < stop
        ranks[row] += 1
    return inside


@given(_instants, st.integers(1, 30), st.integers(0, 8), st.integers(1, 6), st.lists(st.integers(-10, 25), max_size=6))
def test_windows_by_time_are_the_same_in_any_number_of_runs(
    rows: list[int], size: int, minimum: int, age: int, stops: list[int]
) -> None:
    how = {"size": size, "minimum": minimum, "age": age}
    end = 30 * size
    whole, reached = _time(rows, None, end, **how)
    pieces: list[Piece] = []
    since = None
    for until in [*sorted(stop * size for stop in stops), end]:
        if since is not None and since[0] >= until:
            continue
        found, since = _time(rows, since, until, **how)
        pieces += found
    assert pieces == whole
    assert since == reached
    _check(rows, whole, reached, end)
    for one in whole:
        assert one.enough == (one.rows >= minimum)
        assert one.begin[0] % size == one.stop[0] % size == 0
        assert one.stop[0] - one.begin[0] <= age * size


@given(
    _instants,
    st.integers(1, 9),
    st.one_of(st.none(), st.integers(1, 80)),
    st.lists(st.integers(-70, 220), max_size=6),
    st.integers(1, 5),
)
def test_windows_by_count_are_the_same_in_any_number_of_runs(
    rows: list[int], size: int, age: int | None, stops: list[int], batch: int
) -> None:
    how: dict[str, Any] = {"size": size, "age": age, "batch": batch}
    whole, reached = _count(rows, None, 250, size=size, age=age, batch=1000)
    pieces: list[Piece] = []
    since = None
    for until in [*sorted(stops), 250]:
        if since is not None and since[0] >= until:
            continue
        found, since = _count(rows, since, until, **how)
        pieces += found
    assert pieces == whole
    assert since == reached
    _check(rows, whole, reached, 250)
    for one in whole:
        assert one.rows == size if one.enough else (one.rows < size and age is not None)


def _check(rows: Sequence[int], pieces: Sequence[Piece], reached: Place | None, end: int) -> None:
    """Every row is in one window, or waits behind the position."""
    assert all(before.stop <= after.begin for before, after in pairwise(pieces))
    assert [one.rows for one in pieces] == [_rows_between(rows, one.begin, one.stop) for one in pieces]
    waiting = 0 if reached is None else _rows_between(rows, reached, (end, 0))
    assert sum(one.rows for one in pieces) + waiting == sum(row < end for row in rows)
