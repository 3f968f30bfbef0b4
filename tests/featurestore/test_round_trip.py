"""Values of every type, from a table to a model and back, are the values that went in."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.definitions import storage_id
from featurestore.errors import InvalidRequestError
from featurestore.materialize import RowEncoder
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")
Same = Callable[[Any, Any], bool]


def lookups(view: FeatureView) -> tuple[MemoryStore, FeatureClient]:
    """Return an empty store and a client in this process of a service of that view."""
    store = MemoryStore()
    service = Registered(
        project="test",
        kind="feature_service",
        name="svc",
        version=1,
        content_hash="abc",
        decode=lambda: FeatureService(name="svc", features=[view]),
        pins={view.name: 1},
        applied_at=NOW,
        applied_by="tester",
    )
    return store, FeatureClient(transport=Lookups(store, {"svc": compile_plan(service)}, max_rows=100).transport)


def through_the_wire(column: pa.Array, dtype: DType) -> pa.Array:
    """Encode a column, store it, look it up as a client, and return what the client makes of it."""
    view = FeatureView(
        name="view",
        entities=[Entity(name="row", join_keys=["number"], dtypes=[Int64])],
        schema=[Field(name="x", dtype=Int32), Field(name="c", dtype=dtype), Field(name="y", dtype=Float32)],
    )
    rows = len(column)
    batch = pa.record_batch(
        {
            "number": pa.array(range(rows), pa.int64()),
            "x": pa.array([7] * rows, pa.int32()),
            "c": column,
            "y": pa.array([0.5] * rows, pa.float32()),
            "event_timestamp": pa.array([NOW] * rows, INSTANT),
            "created_timestamp": pa.nulls(rows, INSTANT),
            "row_number": pa.array(range(rows), pa.int64()),
            "load_order": pa.array([1] * rows, pa.int64()),
        }
    )
    store, client = lookups(view)
    store.put_newest(storage_id(view), [row for row in RowEncoder(view)(batch).rows if row is not None])
    found = client.get_online_features("svc", {"number": list(range(rows))}).to_arrow()
    assert found["x"].to_pylist() == [7] * rows, "a neighbour keeps its place"
    assert found["y"].to_pylist() == [0.5] * rows
    return found["c"].combine_chunks()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_type_passes_through_arrow_duckdb_polars_and_the_wire_unchanged(
    data: st.DataObject, any_type: st.SearchStrategy[DType], values_of: Any, same: Same
) -> None:
    dtype = data.draw(any_type)
    values = data.draw(st.lists(st.none() | values_of(dtype), min_size=1, max_size=4))
    column = pa.array(values, dtype.to_arrow())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", pa.table({"c": column}))
        back = connection.sql(f"SELECT CAST(c AS {dtype.duckdb}) AS c FROM t").to_arrow_table()
        assert connection.sql(f"SELECT typeof(c) = typeof(NULL::{dtype.duckdb}) FROM t").fetchall()[0] == (True,)
    frame = pl.from_arrow(back.cast(pa.schema({"c": dtype.to_arrow()})))
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema["c"] == dtype.to_polars()
    arrow = frame.to_arrow().cast(pa.schema({"c": dtype.to_arrow()}))["c"].combine_chunks()
    found = through_the_wire(arrow, dtype)
    assert found.type == dtype.to_arrow()
    assert same(found.to_pylist(), values)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (Float64, 1.111),
        (Decimal(4, 3), Number("1.111")),
        (Decimal(38, 38), Number("0." + "0" * 37 + "1")),
        (Decimal(38, 0), Number("-" + "9" * 38)),
        (Float64, math.nan),
        (Int64, 2**63 - 1),
        (Array(Int64), [2**63 - 1, None, -(2**63)]),
        (Array(Float64), []),
        (Array(Float64), [math.nan, None, -0.0]),
        (Array(Array(String)), [[], None, ["", None]]),
        (Embedding(2), [math.nan, -0.0]),
        (Struct({"a": Int64, "b": Array(Decimal(4, 3))}), {"a": None, "b": [Number("1.111"), None]}),
        (Struct({"a": Embedding(2)}), {"a": None}),
        (Timestamp, datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)),
    ],
    ids=repr,
)
def test_what_libraries_like_to_change_stays_as_it_is_and_is_not_null(dtype: DType, value: Any, same: Same) -> None:
    found = through_the_wire(pa.array([value, None], dtype.to_arrow()), dtype)
    assert same(found.to_pylist(), [value, None])


EVERY = {
    "truth": Bool,
    "small": Int32,
    "large": Int64,
    "single": Float32,
    "double": Float64,
    "money": Decimal(10, 2),
    "text": String,
    "blob": Bytes,
    "day": Date,
    "instant": Timestamp,
    "list": Array(Float64),
    "lists": Array(Array(String)),
    "vector": Embedding(3),
    "vectors": Array(Embedding(2)),
    "record": Struct({"n": Int64, "prices": Array(Decimal(5, 1)), "at": Timestamp, "where": Embedding(2)}),
}
FULL: dict[str, Any] = {
    "truth": True,
    "small": -5,
    "large": 2**63 - 1,
    "single": 0.5,
    "double": 1.111,
    "money": Number("1.11"),
    "text": "é",
    "blob": b"\x00",
    "day": date(1969, 12, 31),
    "instant": NOW,
    "list": [1.111, None, math.nan],
    "lists": [["a", None], None, []],
    "vector": [1.0, 2.0, 3.0],
    "vectors": [[1.0, 2.0], None],
    "record": {"n": 1, "prices": [Number("1.1"), None], "at": NOW, "where": None},
}
EMPTY = FULL | {"list": [], "lists": [], "vectors": [], "record": dict.fromkeys(FULL["record"])}


def test_a_view_of_all_types_gives_the_same_offline_and_online(tmp_path: Path, same: Same) -> None:
    entity = Entity(name="thing", join_keys=["id", "price"], dtypes=[Float64, Decimal(6, 3)])
    view = FeatureView(
        name="all_types", entities=[entity], schema=[Field(name=name, dtype=dtype) for name, dtype in EVERY.items()]
    )
    rows = [FULL, EMPTY, dict.fromkeys(FULL)]
    keys = [{"id": float(number), "price": Number("1.5")} for number in range(3)]
    with FeatureStore.init(tmp_path, project="tests") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        loaded = store.ingest(
            "all_types", [key | row | {"event_timestamp": NOW} for key, row in zip(keys, rows, strict=True)]
        )
        assert (loaded.written, loaded.quarantined) == (3, 0)
        store.materialize("all_types")
        asked = [*keys[1:], {"id": -0.0, "price": Number("1.500")}, {"id": 9.0, "price": Number(1)}]
        answer = store.get_online_features(features="svc", entity_rows=asked)
        history = store.get_historical_features(
            entity_df=[key | {"event_timestamp": NOW} for key in asked], features="svc"
        ).to_arrow()
    expected = [EMPTY, rows[2], FULL, rows[2]]
    for name, dtype in EVERY.items():
        for table in (answer.to_arrow(), history):
            assert table.schema.field(name).type == dtype.to_arrow()
            assert same(table[name].to_pylist(), [row[name] for row in expected]), name
        assert same(answer.to_dict()[name], [row[name] for row in expected]), name


KEYS: dict[str, st.SearchStrategy[Any]] = {
    "Float32": st.sampled_from([0.0, -0.0, 0.1, 1.0, math.inf, -math.inf, 1e-45]),
    "Float64": st.sampled_from([0.0, -0.0, 0.1, 1.0, math.inf, -math.inf, 5e-324]),
    "Decimal(4, 2)": st.sampled_from([Number(text) for text in ("0", "-0.00", "1.5", "1.50", "-1.5", "99.99")]),
    "Bool": st.booleans(),
    "Date": st.sampled_from([date(1969, 12, 31), date(1970, 1, 1)]),
    "Timestamp": st.sampled_from([NOW, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)]),
    "Bytes": st.sampled_from([b"", b"\x00", b"\x00\x00"]),
    "String": st.sampled_from(["", "a", "A", "é"]),
    "Int32": st.sampled_from([0, -1, 1]),
    "Int64": st.sampled_from([0, -1, 2**63 - 1]),
}


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_join_and_the_lookup_agree_on_which_keys_are_equal(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from featurestore.types import by_name

    names = data.draw(st.lists(st.sampled_from(list(KEYS)), min_size=1, max_size=2))
    key = st.fixed_dictionaries({f"k{place}": KEYS[name] for place, name in enumerate(names)})
    stored, asked = (data.draw(st.lists(key, min_size=1, max_size=8)) for _ in range(2))
    entity = Entity(name="thing", join_keys=[f"k{at}" for at in range(len(names))], dtypes=[*map(by_name, names)])
    view = FeatureView(name="view", entities=[entity], schema=[Field(name="number", dtype=Int64)])
    with FeatureStore.init(tmp_path_factory.mktemp("store"), project="tests") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        rows = [one | {"number": place, "event_timestamp": NOW} for place, one in enumerate(stored)]
        assert store.ingest("view", rows).written == len(rows)
        store.materialize("view")
        online = store.get_online_features(features="svc", entity_rows=asked).to_dict()["number"]
        frame = [one | {"event_timestamp": NOW} for one in asked]
        offline = store.get_historical_features(entity_df=frame, features="svc").to_arrow()["number"].to_pylist()
    assert online == offline
    # Python's equality is the oracle: the last row of an equal key wins.
    assert online == [max((at for at, one in enumerate(stored) if one == wanted), default=None) for wanted in asked]


@pytest.mark.parametrize("dtype", [Float32, Float64], ids=repr)
def test_minus_zero_and_zero_are_one_key(tmp_path: Path, dtype: DType) -> None:
    entity = Entity(name="thing", join_keys=["id"], dtypes=[dtype])
    view = FeatureView(name="view", entities=[entity], schema=[Field(name="number", dtype=Int64)])
    with FeatureStore.init(tmp_path, project="tests") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        for number, value in enumerate([0.0, -0.0, 0.0, -0.0]):
            store.ingest("view", [{"id": value, "number": number, "event_timestamp": NOW}])
        rows = store.offline.newest_rows(view, until=NOW).read_all()
        assert [(repr(row["id"]), row["number"]) for row in rows.to_pylist()] == [("0.0", 3)]
        store.materialize("view")
        asked = [{"id": value} for value in (0.0, -0.0)]
        assert store.get_online_features(features="svc", entity_rows=asked).to_dict()["number"] == [3, 3]
        frame = [one | {"event_timestamp": NOW} for one in asked]
        assert store.get_historical_features(entity_df=frame, features="svc").to_arrow()["number"].to_pylist() == [3, 3]


def test_nan_is_no_key_offline_or_online(tmp_path: Path) -> None:
    entity = Entity(name="thing", join_keys=["id"], dtypes=[Float64])
    view = FeatureView(name="view", entities=[entity], schema=[Field(name="number", dtype=Int64)])
    with FeatureStore.init(tmp_path, project="tests") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        rows = [{"id": value, "number": 1, "event_timestamp": NOW} for value in (math.nan, 1.0)]
        assert store.ingest("view", rows).reasons == {"id is NaN, which equals nothing": 1}
        asked = {"id": math.nan, "event_timestamp": NOW}
        assert store.get_historical_features(entity_df=[asked], features="svc").to_arrow()["number"].to_pylist() == [
            None
        ]
        with pytest.raises(InvalidRequestError, match='"id" of the request has NaN in entity row 1') as caught:
            store.get_online_features(features="svc", entity_rows=[{"id": 1.0}, {"id": math.nan}])
        assert "null" in caught.value.hint
