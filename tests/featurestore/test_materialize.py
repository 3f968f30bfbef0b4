"""Materialization copies the newest rows, and its counts add up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from featurestore.definitions import Entity, FeatureView, Field, storage_id
from featurestore.materialize import materialize
from featurestore.online import MemoryStore
from featurestore.online.base import ORDER_BYTES
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec
from featurestore.types import Float64, Int64, String

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
VIEW = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin", "gate"], dtypes=[String, Int64])],
    ttl=timedelta(hours=3),
    schema=[Field(name="temp", dtype=Float64)],
)


class Offline:
    """Gives the rows that it was made with."""

    def __init__(self, rows: Sequence[dict[str, Any]], batches: int = 1) -> None:
        instant = pa.timestamp("us", tz="UTC")
        schema = pa.schema(
            {
                "origin": pa.string(),
                "gate": pa.int64(),
                "temp": pa.float64(),
                "event_timestamp": instant,
                "created_timestamp": instant,
                "row_number": pa.int64(),
                "load_order": pa.int64(),
            }
        )
        defaults = {"gate": 1, "created_timestamp": None, "row_number": 0, "load_order": 1}
        self.rows = pa.RecordBatch.from_pylist([defaults | row for row in rows], schema=schema)
        self.batches = batches
        self.until: datetime | None = None

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        assert view is VIEW
        self.until = until
        return pa.RecordBatchReader.from_batches(self.rows.schema, [self.rows] * self.batches)

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:  # noqa: ARG002
        raise AssertionError("materialization reads the newest rows only")


def temperature(store: MemoryStore, origin: str) -> float | None:
    keys = KeyLayout(VIEW.keys).encode([[origin], [1]])
    (stored,) = store.read([(storage_id(VIEW), keys)]).values[0]
    if stored is None:
        return None
    found: float = RowCodec(VIEW.schema).decode([stored[ORDER_BYTES:]])["temp"].to_pylist()[0]
    return found


def test_counts_add_up_and_rows_are_there() -> None:
    hour = timedelta(hours=1)
    offline = Offline(
        [
            {"origin": "JFK", "temp": 1.5, "event_timestamp": NOW},
            {"origin": "LGA", "temp": 2.5, "event_timestamp": NOW - 3 * hour},
            {"origin": "EWR", "temp": 3.5, "event_timestamp": NOW - 3 * hour - timedelta(microseconds=1)},
            {"origin": None, "temp": 4.5, "event_timestamp": NOW},
            {"origin": None, "temp": 4.5, "event_timestamp": NOW - 9 * hour},
        ]
    )
    store = MemoryStore()
    seen: list[int] = []
    report = materialize(VIEW, offline, store, now=NOW, progress=seen.append)
    assert offline.until == NOW
    assert (report.read, report.written, report.older, report.expired, report.rejected) == (5, 2, 0, 1, 2)
    assert report.view == "weather"
    assert seen == [5]
    assert [temperature(store, origin) for origin in ("JFK", "LGA", "EWR")] == [1.5, 2.5, None]


def test_a_second_run_writes_nothing_and_an_older_row_never_overwrites() -> None:
    store = MemoryStore()
    newer = Offline([{"origin": "JFK", "temp": 2.0, "event_timestamp": NOW}])
    older = Offline([{"origin": "JFK", "temp": 1.0, "event_timestamp": NOW - timedelta(microseconds=1)}])
    materialize(VIEW, newer, store, now=NOW)
    for offline in (newer, older):
        report = materialize(VIEW, offline, store, now=NOW)
        assert (report.read, report.written, report.older) == (1, 0, 1)
    assert temperature(store, "JFK") == 2.0


def test_ties_go_to_the_newest_created_then_load_then_row() -> None:
    store = MemoryStore()
    tie: list[dict[str, Any]] = [
        {"temp": 1.0, "load_order": 9, "row_number": 9},
        {"temp": 2.0, "load_order": 1, "created_timestamp": NOW},
        {"temp": 3.0, "load_order": 2, "created_timestamp": NOW},
        {"temp": 4.0, "load_order": 2, "created_timestamp": NOW, "row_number": 1},
    ]
    for row in tie:
        materialize(VIEW, Offline([{"origin": "JFK", "event_timestamp": NOW} | row]), store, now=NOW)
        assert temperature(store, "JFK") == row["temp"]
    for row in tie:
        materialize(VIEW, Offline([{"origin": "JFK", "event_timestamp": NOW} | row]), store, now=NOW)
    assert temperature(store, "JFK") == 4.0


def test_a_view_that_was_never_ingested_gives_zeros() -> None:
    report = materialize(VIEW, Offline([], batches=0), MemoryStore(), now=NOW)
    assert (report.read, report.written, report.expired) == (0, 0, 0)
