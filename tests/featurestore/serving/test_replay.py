"""A rehearsal's store never holds a row from its own future."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Entity, FeatureView, Field, storage_id
from featurestore.errors import InvalidRequestError, OnlineStoreError
from featurestore.online import MemoryStore, OnlineStore, open_online_store
from featurestore.online.base import event_time
from featurestore.online.keys import KeyLayout
from featurestore.serving.replay import ReplayFeed, instant
from featurestore.types import Int64

START = datetime(2013, 1, 1, tzinfo=UTC)
START_US = types.microseconds(START)
ENTITY = Entity(name="user", dtypes=[Int64])
VIEWS = [FeatureView(name=name, entities=[ENTITY], schema=[Field(name="x", dtype=Int64)]) for name in ("fast", "slow")]


class Offline:
    """Rows of both views: (user, offset of the event time from START in microseconds)."""

    def __init__(self, rows: Sequence[tuple[int, int]], batch_rows: int = 3) -> None:
        self._rows = sorted(rows, key=lambda row: row[1])
        self._batch_rows = batch_rows

    def _reader(self, rows: Sequence[tuple[int, int]]) -> pa.RecordBatchReader:
        events = pa.array([START_US + offset for _, offset in rows], pa.int64())
        table = pa.table(
            {
                "user": pa.array([user for user, _ in rows], pa.int64()),
                "x": pa.array([offset for _, offset in rows], pa.int64()),
                "event_timestamp": events.cast(pa.timestamp("us", tz="UTC")),
                "created_timestamp": pa.nulls(len(rows), pa.timestamp("us", tz="UTC")),
                "row_number": pa.array(range(len(rows)), pa.int64()),
                "load_order": pa.array([1] * len(rows), pa.int64()),
            }
        )
        return table.to_reader(max_chunksize=self._batch_rows)

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:  # noqa: ARG002
        newest = {user: (user, at) for user, at in self._rows if START_US + at <= types.microseconds(until)}
        return self._reader(list(newest.values()))

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:  # noqa: ARG002
        assert after is not None
        return self._reader([row for row in self._rows if START_US + row[1] > types.microseconds(after)])


def newest(store: OnlineStore, users: Sequence[int]) -> tuple[int, list[list[int | None]]]:
    """Return the clock, and for each view the offset of each user's row."""
    keys = KeyLayout(VIEWS[0].keys).encode([list(users)])
    found = store.read([(storage_id(view), keys) for view in VIEWS])
    assert found.clock is not None
    offsets = [[None if one is None else event_time(one) - START_US for one in values] for values in found.values]
    return found.clock - START_US, offsets


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 20)), unique=True, max_size=30),
    steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), max_size=10),
)
def test_after_each_advance_the_store_holds_exactly_the_newest_rows_up_to_its_clock(
    rows: list[tuple[int, int]], steps: list[tuple[int, int]]
) -> None:
    """Two workers move one clock in any turn; the oracle is a look at all rows."""
    store = MemoryStore()
    workers = [ReplayFeed(Offline(rows), store) for _ in range(2)]
    workers[0].start(START)
    for feed in workers:
        feed.follow(VIEWS)
    clock = 0
    for worker, step in [(0, 0), *steps]:
        clock += step
        workers[worker].advance(START_US + clock)
        expected = [max((at for user, at in rows if user == one and at <= clock), default=None) for one in range(4)]
        assert newest(store, range(4)) == (clock, [expected, expected])


def test_an_advance_counts_the_rows_that_entered() -> None:
    feed = ReplayFeed(Offline([(1, -1), (1, 1), (1, 2), (2, 2), (2, 9)]), MemoryStore())
    feed.start(START)
    feed.follow(VIEWS[:1])
    assert [feed.advance(START_US + at) for at in (0, 1, 2, 8, 9, 9)] == [0, 1, 2, 0, 1, 0]


def test_the_clock_cannot_go_back_nor_beyond_the_calendar() -> None:
    store = MemoryStore()
    feed = ReplayFeed(Offline([]), store)
    feed.start(START)
    feed.advance(START_US + 10)
    feed.advance(START_US + 10)
    for now in (START_US + 9, -(2**63), 2**63 - 1):
        with pytest.raises(InvalidRequestError, match="clock"):
            feed.advance(now)
    assert store.clock() == START_US + 10


def test_a_store_without_a_clock_is_not_a_rehearsals() -> None:
    feed = ReplayFeed(Offline([]), MemoryStore())
    with pytest.raises(OnlineStoreError, match="no clock"):
        feed.advance(START_US)


def test_a_start_empties_the_store() -> None:
    store = MemoryStore()
    for _ in range(2):
        feed = ReplayFeed(Offline([(1, 5)]), store)
        feed.start(START)
        feed.follow(VIEWS)
        assert newest(store, [1]) == (0, [[None], [None]])
        feed.advance(START_US + 5)


def test_a_view_that_joins_later_has_its_rows_up_to_the_clock_and_follows_from_there() -> None:
    store = MemoryStore()
    feed = ReplayFeed(Offline([(1, 2), (1, 7)]), store)
    feed.start(START)
    feed.follow(VIEWS[:1])
    feed.advance(START_US + 5)
    assert newest(store, [1]) == (5, [[2], [None]])
    feed.follow(VIEWS)
    assert newest(store, [1]) == (5, [[2], [2]])
    feed.advance(START_US + 7)
    assert newest(store, [1]) == (7, [[7], [7]])
    feed.close()


def test_a_reader_never_sees_a_row_newer_than_the_clock_while_it_moves(tmp_path: Path) -> None:
    store = open_online_store("lmdb://online", tmp_path, durable=False)
    feed = ReplayFeed(Offline([(user, at) for at in range(60) for user in (1, 2)], batch_rows=16), store)
    feed.start(START)
    feed.follow(VIEWS)
    wrong: list[object] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            clock, offsets = newest(store, [1, 2])
            if offsets != [[clock, clock]] * 2:
                wrong.append((clock, offsets))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for at in range(60):
        feed.advance(START_US + at)
    done.set()
    watcher.join()
    feed.close()
    store.close()
    assert wrong == []


def test_instants_are_exact() -> None:
    assert instant(START_US + 1) == START + timedelta(microseconds=1)
