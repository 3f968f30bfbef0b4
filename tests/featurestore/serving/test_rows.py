"""Rows that are kept between lookups: never stale, never of two snapshots, and bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, storage_id
from featurestore.online import LmdbStore, OnlineStore, open_online_store
from featurestore.online.base import Row, order_prefix
from featurestore.online.lmdb_files import LastTransaction
from featurestore.online.rowcodec import NOT_FOUND, RowCodec
from featurestore.serving.plan import StoredView, compile_plan
from featurestore.serving.rows import RowReader
from featurestore.types import Float64, Int64
from tests import backends, forking
from tests.services import registered

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
PAIR = Entity(name="pair", join_keys=["left", "right"], dtypes=[Int64, Int64])
ONE = FeatureView(name="one", entities=[USER], schema=[Field(name="a", dtype=Float64), Field(name="b", dtype=Float64)])
TWO = FeatureView(name="two", entities=[PAIR], schema=[Field(name="c", dtype=Float64, default=7.0)])


VIEWS = compile_plan(registered(FeatureService(name="svc", features=[ONE, TWO]))).stored
SOME = compile_plan(registered(FeatureService(name="some", features=[ONE[["b"]]]))).stored


def row(view: StoredView, key: tuple[int, ...], event: int, value: float | None) -> Row:
    fields = view.codec.fields
    columns = {one.name: pa.array([value], one.dtype.to_arrow()) for one in fields}
    columns["event_timestamp"] = pa.array([event], pa.timestamp("us", "UTC"))
    number = np.array([event])
    prefix = order_prefix(number, number, number == number, number, number)
    (encoded,) = view.keys.encode([[part] for part in key])
    assert encoded is not None
    return encoded, RowCodec(fields).encode(pa.table(columns), prefix=prefix)[0]


@pytest.fixture(params=backends.params("online", "memory", "lmdb"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    opened = open_online_store("memory://" if request.param == "memory" else "lmdb://online", tmp_path, durable=False)
    yield opened
    opened.close()


KEYS = st.integers(0, 5)
ACTS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 1), KEYS, st.integers(0, 9)),
    st.tuples(st.just("replace"), st.integers(0, 1), KEYS, st.integers(0, 9)),
    st.tuples(st.just("delete"), st.integers(0, 1), KEYS, st.just(0)),
    st.tuples(st.sampled_from(["forget", "clear", "advance"]), st.integers(0, 1), KEYS, st.integers(0, 9)),
    st.tuples(st.just("read"), st.sampled_from([(0,), (1,), (0, 1)]), st.lists(KEYS | st.none(), max_size=5)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(acts=st.lists(ACTS, max_size=30), limit=st.sampled_from([0, 1, 3_000, 1 << 20]))
def test_what_is_kept_is_what_the_store_has(store: OnlineStore, acts: list[Any], limit: int) -> None:
    store.clear()
    reader, bare = RowReader(store, limit=limit), RowReader(store, limit=0)
    clock: int | None = None

    def key(place: int, number: int) -> tuple[int, ...]:
        return (number,) if place == 0 else (number, number + 1)

    for act in acts:
        if act[0] == "read":
            _, places, numbers = act
            views = [VIEWS[place] for place in places]
            columns = {
                "user_id": numbers,
                "left": numbers,
                "right": [None if number is None else number + 1 for number in numbers],
            }
            assert reader.read(views, columns) == bare.read(views, columns)
            continue
        what, place, number, event = act
        table, rows = VIEWS[place].storage_id, [row(VIEWS[place], key(place, number), event, float(event) or None)]
        if what == "put":
            store.put_newest(table, rows)
        elif what == "replace":
            store.replace(table, rows)
        elif what == "delete":
            store.delete(table, [rows[0][0]])
        elif what == "forget":
            store.forget()
        elif what == "clear":
            store.clear()
            clock = None
        else:
            assert store.advance(clock, event, {table: rows}) is not None
            clock = event


def test_a_row_that_is_known_is_not_read_again_and_one_that_is_not_alone(
    store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_newest(ONE_ID, [row(VIEWS[0], (number,), 1, 1.0) for number in range(4)])
    reader = RowReader(store, limit=1 << 20)
    asked: list[list[int]] = []
    read = store.read

    def counted(requests: Any) -> Any:
        asked.append([len(keys) for _, keys in requests])
        return read(requests)

    monkeypatch.setattr(store, "read", counted)
    first = reader.read(VIEWS[:1], {"user_id": [0, 1, 9]})
    assert first.rows[0][2].sent == NOT_FOUND
    assert reader.read(VIEWS[:1], {"user_id": [0, 1, 9]}) == first
    reader.read(VIEWS[:1], {"user_id": [0, 2]})
    assert asked == [[3], [1]]
    store.put_newest(storage_id(TWO), [row(VIEWS[1], (1, 2), 1, 1.0)])
    reader.read(VIEWS[:1], {"user_id": [0, 2]})
    assert asked[-1] == [0], "another table was written: this one's rows only have to be told so"


ONE_ID = storage_id(ONE)


def test_uses_that_send_the_same_records_share_them_and_others_do_not() -> None:
    again = compile_plan(registered(FeatureService(name="other", features=[ONE]))).stored
    assert again[0].kept_as == VIEWS[0].kept_as
    assert SOME[0].kept_as != VIEWS[0].kept_as


def test_kept_rows_take_no_more_than_their_limit(store: OnlineStore) -> None:
    store.put_newest(ONE_ID, [row(VIEWS[0], (number,), 1, 1.0) for number in range(5_000)])
    limit = 300_000
    reader = RowReader(store, limit=limit)
    for first in range(0, 5_000, 50):
        reader.read(VIEWS[:1], {"user_id": [*range(first, first + 50), 0, 1, 2]})
    (kept,) = reader._kept.values()
    assert len(kept.rows) + len(kept.older) < limit / 400
    assert 0 in kept.rows, "what is asked for again and again stays"
    reader.read(VIEWS[:1], {"user_id": list(range(100_000, 110_000))})
    reader.read(VIEWS[:1], {"user_id": list(range(200_000, 210_000))})
    reader.read(VIEWS[:1], {"user_id": [1]})
    assert sum(len(one.rows) + len(one.older) for one in reader._kept.values()) < 20_100


WRITER = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("t", sys.argv[2])
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
store = t.LmdbStore(Path(sys.argv[1]), durable=False)
one, two = t.VIEWS
for number in range(1, 400):
    rows = {view.storage_id: [t.row(view, key, number, float(number))] for view, key in ((one, (1,)), (two, (1, 2)))}
    assert store.advance(number - 1, number, rows) is not None
    print(number, flush=True)
    if number % 100 == 0:
        store.forget()
"""


def test_while_another_process_writes_each_read_is_one_snapshot_and_none_is_behind(tmp_path: Path) -> None:
    """The writer moves two tables and the clock together, and says so: from then on nobody may see less."""
    store = LmdbStore(tmp_path, durable=False)
    store.advance(None, 0, {})
    reader = RowReader(store, limit=1 << 20)
    columns = {"user_id": [1], "left": [1], "right": [2]}
    reads = 0
    command = [sys.executable, "-c", WRITER, str(tmp_path), __file__]
    with forking.Forked(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            for _ in range(5):
                found = reader.read(VIEWS, columns)
                events = {int.from_bytes(rows[0].order[:8], "big") - (1 << 63) for rows in found.rows}
                assert events == {found.clock}
                assert found.clock is not None
                assert found.clock >= int(line)
                reads += 1
    assert writer.returncode == 0
    assert reads == 5 * 399
    store.close()


def test_a_file_whose_pages_are_laid_out_otherwise_tells_no_number(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.put_newest(ONE_ID, [row(VIEWS[0], (1,), 1, 1.0)])
    last = LastTransaction(store._shared.folder, store._shared.env)
    with store._shared.env.begin() as transaction:
        number = transaction.id()
    assert last.snapshot() is None, "no read transaction has said yet from where the numbers are counted"
    assert last.confirm(number, 7) == number + 7
    assert last.snapshot() == number + 7
    last.confirm(number + 1, 7)
    assert last.snapshot() is None, "a read transaction saw a later state than the number tells"
    store._shared.snapshot = last.snapshot
    assert store.snapshot() is None
    reader = RowReader(store, limit=1 << 20)
    columns = {"user_id": [1]}
    assert reader.read(VIEWS[:1], columns) == reader.read(VIEWS[:1], columns)
    store.close()
