"""A load without ties is known as such: never one that has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.tie_watch import TieWatch

INSTANT = pa.timestamp("us", "UTC")
ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["1", "23", "12", "3"]), st.integers(0, 3)), max_size=40)


def batch_of(rows: list[tuple[int, str, int]]) -> pa.RecordBatch:
    ones, twos, instants = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.RecordBatch.from_pydict(
        {
            "one": pa.array(ones, pa.int64()),
            "two": pa.array(twos, pa.string()),
            "event_timestamp": pa.array(instants, INSTANT),
        }
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, max_size=4))
def test_it_agrees_with_a_set(batches: list[list[tuple[int, str, int]]]) -> None:
    watch = TieWatch(["one", "two"])
    for rows in batches:
        watch.add(batch_of(rows))
    everything = [row for rows in batches for row in rows]
    assert watch.unique() is (len(set(everything)) == len(everything))


def test_more_rows_than_are_watched_are_not_judged() -> None:
    watch = TieWatch(["one", "two"], rows=3)
    watch.add(batch_of([(1, "1", 0)] * 2))
    watch.add(batch_of([(2, "1", 0)] * 2))
    assert watch.unique() is None


def test_the_file_of_a_load_without_ties_says_so(store: OfflineStore, view: Any, weather_rows: Any) -> None:
    store.ingest(view, weather_rows(range(10)), who="ada", load_id="apart")
    store.ingest(view, [*weather_rows([20]), *weather_rows([20])], who="ada", load_id="tied")
    marks = {one.rows: one.unique for one in store.table(view).snapshot().files}
    assert marks == {10: True, 2: False}


def test_a_large_load_is_judged_by_its_file(store: OfflineStore, view: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("featurestore.offline.intake.ingest.WATCHED_ROWS", 1_000)
    monkeypatch.setattr(TieWatch.__init__, "__kwdefaults__", {"rows": 1_000})
    count = 5_000
    rows = pa.table(
        {
            "origin": ["JFK"] * count,
            "temp": np.zeros(count),
            "wind": np.arange(count),
            "event_timestamp": pa.array(np.arange(count), INSTANT),
        }
    )
    store.ingest(view, rows, who="ada")
    assert [one.unique for one in store.table(view).snapshot().files] == [True]
