"""A load without ties is known as such: never one that has them."""

from __future__ import annotations

import itertools
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import OfflineStoreError
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
@given(st.lists(ROWS, max_size=4), st.integers(0, 50))
def test_it_agrees_with_a_set(batches: list[list[tuple[int, str, int]]], held: int) -> None:
    with tempfile.TemporaryDirectory() as folder, TieWatch(["one", "two"], Path(folder), rows=held) as watch:
        for rows in batches:
            watch.add(batch_of(rows))
        everything = [row for rows in batches for row in rows]
        assert watch.unique() is (len(set(everything)) == len(everything))
        assert not list(Path(folder).iterdir())


# In memory; in a few runs; in more runs than a run has parts.
@pytest.mark.parametrize(("held", "every"), [(1 << 20, 500), (1_000, 150), (10, 3_000)])
def test_one_pair_among_many_rows_is_found_wherever_it_stands(tmp_path: Path, held: int, every: int) -> None:
    rows = [(number, "x", number % 7) for number in range(6_000)]
    batches = [batch_of(rows[start : start + 20]) for start in range(0, len(rows), 20)]
    for pair in (None, *range(0, len(rows), every)):
        with TieWatch(["one", "two"], tmp_path, rows=held) as watch:
            for batch in (*batches, *([] if pair is None else [batch_of([rows[pair]])])):
                watch.add(batch)
            assert watch.unique() is (pair is None)


KEYS = {
    "integers": (pa.int64(), [1, 2, 3]),
    "short integers": (pa.int32(), [1, 2, 3]),
    "floats": (pa.float64(), [0.0, 1.5, -1.5]),
    "texts": (pa.string(), ["", "a", "b"]),
    "bytes": (pa.binary(), [b"", b"a", b"b"]),
    "booleans": (pa.bool_(), [True, False]),
    "days": (pa.date32(), [date(1970, 1, 1), date(1970, 1, 2)]),
    "instants": (INSTANT, [0, 1]),
    "decimals": (pa.decimal128(38, 2), [Decimal("0.10"), Decimal("0.11")]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_are_told_apart(tmp_path: Path, kind: str) -> None:
    dtype, values = KEYS[kind]

    def batch(one: list[Any], other: list[Any]) -> pa.RecordBatch:
        instants = pa.array(np.zeros(len(one), int), INSTANT)
        return pa.RecordBatch.from_pydict(
            {"one": pa.array(one, dtype), "other": pa.array(other, dtype), "event_timestamp": instants}
        )

    pairs = list(itertools.product(values, values))  # each also with its columns swapped
    with TieWatch(["one", "other"], tmp_path) as watch:
        watch.add(batch(*map(list, zip(*pairs, strict=True))))
        assert watch.unique()
        watch.add(batch([values[0]], [values[1]]))
        assert not watch.unique()


def test_the_file_of_a_load_without_ties_says_so(store: OfflineStore, view: Any, weather_rows: Any) -> None:
    store.ingest(view, weather_rows(range(10)), who="ada", load_id="apart")
    store.ingest(view, [*weather_rows([20]), *weather_rows([20])], who="ada", load_id="tied")
    marks = {one.rows: one.unique for one in store.table(view).snapshot().files}
    assert marks == {10: True, 2: False}


def test_a_large_load_is_judged_too(store: OfflineStore, view: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(TieWatch.__init__, "__kwdefaults__", {"rows": 1_000})
    count = 400_000
    rows = pa.table(
        {
            "origin": ["JFK"] * count,
            "temp": np.zeros(count),
            "wind": np.arange(count),
            "event_timestamp": pa.array(np.arange(count), INSTANT),
        }
    )
    store.ingest(view, rows, who="ada", load_id="apart")
    store.ingest(view, pa.concat_tables([rows, rows.slice(5, 1)]), who="ada", load_id="tied")
    marks = {one.rows: one.unique for one in store.table(view).snapshot().files}
    assert marks == {count: True, count + 1: False}


@pytest.mark.parametrize("step", ["add", "unique"])
def test_a_disk_that_refuses_the_hashes_leaves_nothing(
    store: OfflineStore, view: Any, weather_rows: Any, monkeypatch: Any, step: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(TieWatch, step, refuse)
    with pytest.raises(OfflineStoreError, match="No space left on device"):
        store.ingest(view, weather_rows(range(10)), who="ada")
    assert not list(store.table(view).path.glob("*.parquet"))
    assert not store.loads(view)
