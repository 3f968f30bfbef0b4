"""Decimals, lists, embeddings and structs on their way into a table and out of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureService, FeatureView, Field
from featurestore.errors import SchemaError, TimestampError
from featurestore.offline.intake.conform import broken_embeddings, conform, conform_stored, stored_type
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import (
    Array,
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
RECORD = Struct({"n": Int64, "prices": Array(Decimal(5, 1)), "where": Embedding(2)})
SCHEMA: dict[str, DType] = {
    "money": Decimal(10, 2),
    "days": Array(Date),
    "lists": Array(Array(String)),
    "vector": Embedding(2),
    "record": RECORD,
}
ROWS: list[dict[str, Any]] = [
    {
        "money": Number("1.10"),
        "days": [date(2024, 1, 1), None],
        "lists": [["a", None], None, []],
        "vector": [0.5, math.inf],
        "record": {"n": 2**63 - 1, "prices": [Number("1.5"), None], "where": None},
    },
    {
        "money": Number("-1.00"),
        "days": [],
        "lists": [],
        "vector": [1.0, 2.0],
        "record": {"n": None, "prices": [], "where": [1.0, 2.0]},
    },
    dict.fromkeys(SCHEMA),
]


@pytest.fixture
def view(registry: Registry) -> FeatureView:
    made = FeatureView(
        name="view",
        entities=[Entity(name="thing", join_keys=["id"], dtypes=[Int64])],
        schema=[Field(name=name, dtype=dtype) for name, dtype in SCHEMA.items()],
    )
    registry.apply([FeatureService(name="svc", features=[made])], who="tests")
    return made


def keyed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": number, "event_timestamp": NOW} | row for number, row in enumerate(rows)]


def joined(store: OfflineStore, registry: Registry, count: int) -> list[dict[str, Any]]:
    asked = [{"id": number, "event_timestamp": NOW} for number in range(count)]
    table = store.historical_features(registry.service("svc"), asked).table
    for name, dtype in SCHEMA.items():
        assert table.schema.field(name).type == dtype.to_arrow()
    found: list[dict[str, Any]] = table.select(list(SCHEMA)).to_pylist()
    return found


def arrow(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {"id": pa.int64(), "event_timestamp": pa.timestamp("us", "UTC")}
    return pa.Table.from_pylist(rows, pa.schema(columns | {name: dtype.to_arrow() for name, dtype in SCHEMA.items()}))


FORMS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "dicts": list,
    "Arrow": arrow,
    "Arrow with large lists": lambda rows: arrow(rows).cast(
        pa.schema(
            [
                (one.name, pa.large_list(one.type.value_type)) if pa.types.is_list(one.type) else (one.name, one.type)
                for one in arrow(rows).schema
            ]
        )
    ),
    "Polars": lambda rows: pl.from_arrow(arrow(rows)),
    "pandas": lambda rows: pd.DataFrame({name: [row[name] for row in rows] for name in rows[0]}, dtype=object).astype(
        {"id": "int64", "event_timestamp": "datetime64[us, UTC]"}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_any_form_come_back_as_they_were(
    store: OfflineStore, registry: Registry, view: FeatureView, form: str
) -> None:
    report = store.ingest(view, FORMS[form](keyed(ROWS)), who="tests")
    assert (report.written, report.quarantined) == (3, 0)
    assert joined(store, registry, 3) == ROWS


@pytest.mark.parametrize("asked", [1, 100])
def test_minus_zero_within_a_list_stays_minus_zero(
    store: OfflineStore, registry: Registry, view: FeatureView, asked: int
) -> None:
    """DuckDB joins few entity rows in another way than many."""
    values = {"lists": None, "vector": [0.0, -0.0], "record": {"n": 0, "prices": [], "where": [-0.0, 0.0]}}
    store.ingest(view, keyed([ROWS[2] | values, ROWS[0]]), who="tests")
    rows = [{"id": 0, "event_timestamp": NOW}] * asked
    found = store.historical_features(registry.service("svc"), rows).table
    assert {repr(one) for one in found["vector"].to_pylist()} == {"[0.0, -0.0]"}
    assert {repr(one["where"]) for one in found["record"].to_pylist()} == {"[-0.0, 0.0]"}


def test_a_file_of_parquet_brings_every_type(
    store: OfflineStore, registry: Registry, view: FeatureView, tmp_path: Path
) -> None:
    pq.write_table(arrow(keyed(ROWS)), tmp_path / "rows.parquet")
    assert store.ingest(view, tmp_path / "rows.parquet", who="tests").written == 3
    assert joined(store, registry, 3) == ROWS


def test_rows_are_read_for_materialization_in_the_declared_types(store: OfflineStore, view: FeatureView) -> None:
    store.ingest(view, keyed(ROWS), who="tests")
    for reader in (store.newest_rows(view, until=NOW), store.rows_by_event_time(view, after=None)):
        table = reader.read_all().sort_by("id")
        assert table.schema.field("vector").type == Embedding(2).to_arrow()
        assert table.select(list(SCHEMA)).to_pylist() == ROWS


def test_a_row_with_a_broken_embedding_is_kept_aside_as_it_came(
    store: OfflineStore, registry: Registry, view: FeatureView
) -> None:
    bad = [
        ROWS[0] | {"vector": [1.0]},
        ROWS[0] | {"vector": [1.0, None]},
        ROWS[0] | {"record": {"n": 1, "prices": None, "where": [1.0, 2.0, 3.0]}},
    ]
    report = store.ingest(view, keyed([*ROWS, *bad]), who="tests")
    assert (report.written, report.quarantined) == (3, 3)
    assert report.reasons == {
        "vector has an embedding of another length, or with a null in it": 2,
        "record has an embedding of another length, or with a null in it": 1,
    }
    aside = store.quarantine(view)
    assert aside is not None
    assert aside["vector"].to_pylist()[:2] == [[1.0], [1.0, None]]
    assert joined(store, registry, 3) == ROWS


def test_a_cell_of_a_csv_file_is_a_decimal_or_says_that_it_is_none(
    store: OfflineStore, registry: Registry, tmp_path: Path
) -> None:
    view = FeatureView(
        name="prices",
        entities=[Entity(name="thing", join_keys=["id"], dtypes=[Int64])],
        schema=[Field(name="money", dtype=Decimal(6, 2))],
    )
    registry.apply([view], who="tests")
    cells = ["1.1", "-1.500", "", "+.5", "1.005", "1e2", "12345.00", "1,5"]
    lines = [f'{number},2024-01-01T00:00:00Z,"{cell}"' for number, cell in enumerate(cells)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,event_timestamp,money", *lines]))
    report = store.ingest(view, tmp_path / "rows.csv", who="tests")
    assert report.reasons == {"money is not Decimal(6, 2)": 4}
    rows = store.rows_by_event_time(view, after=None).read_all().sort_by("id")
    assert rows["money"].to_pylist() == [Number("1.10"), Number("-1.50"), None, Number("0.50")]


def test_a_csv_file_has_no_lists(store: OfflineStore, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,event_timestamp,tags\n1,2024-01-01,[a]\n")
    view = FeatureView(
        name="view",
        entities=[Entity(name="thing", join_keys=["id"], dtypes=[Int64])],
        schema=[Field(name="tags", dtype=Array(String))],
    )
    registry.apply([view], who="tests")
    with pytest.raises(SchemaError, match=r'column "tags" is declared as Array\(String\).*CSV') as caught:
        store.ingest(view, tmp_path / "rows.csv", who="tests")
    assert "Parquet" in caught.value.hint


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_column_of_the_declared_type_is_taken_as_it_is(
    data: st.DataObject, any_type: st.SearchStrategy[DType], values_of: Any, same: Callable[[Any, Any], bool]
) -> None:
    dtype = data.draw(any_type)
    values = data.draw(st.lists(st.none() | values_of(dtype), max_size=4))
    column = pa.array(values, dtype.to_arrow())
    start = data.draw(st.integers(0, len(values)))
    for given_column in (column, pa.chunked_array([column.slice(0, start), column.slice(start)])):
        taken, note = conform(given_column, dtype, "c", "rows")
        assert taken.type == dtype.to_arrow()
        assert same(taken.to_pylist(), values)
        assert note == ""
    large, _ = conform(pl.Series("c", column, dtype.to_polars()).to_arrow().slice(start), dtype, "c", "rows")
    assert same(large.to_pylist(), values[start:])


VECTORS = Struct({"a": Array(Embedding(2)), "b": Embedding(1)})


@given(
    st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "a": st.none() | st.lists(st.none() | st.lists(st.none() | st.just(1.0), max_size=3), max_size=3),
                "b": st.none() | st.lists(st.none() | st.just(1.0), max_size=2),
            }
        ),
        max_size=5,
    )
)
def test_a_broken_embedding_is_found_however_deep_it_lies(values: list[Any]) -> None:
    stored, _ = conform_stored(pa.array(values, stored_type(VECTORS)), VECTORS, "c", "rows")
    assert stored.to_pylist() == values

    def broken(vector: list[Any] | None, size: int) -> bool:
        return vector is not None and (len(vector) != size or None in vector)

    expected = [
        value is not None and (broken(value["b"], 1) or any(broken(one, 2) for one in value["a"] or ()))
        for value in values
    ]
    assert broken_embeddings(stored, VECTORS).to_pylist() == expected
    if any(expected):
        with pytest.raises(SchemaError, match=f"in {sum(expected)} rows"):
            conform(stored, VECTORS, "c", "rows")
    else:
        assert conform(stored, VECTORS, "c", "rows")[0].to_pylist() == values


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "note"),
    [
        ([1, None], Decimal(10, 2), [Number("1.00"), None], 'column "c" cast from int64 to decimal128(10, 2)'),
        ([Number("1.5")], Decimal(38, 20), [Number("1.50000000000000000000")], ""),
        ([[1, None], []], Array(Float64), [[1.0, None], []], 'column "c[]" cast from int64 to double'),
        ([{"b": 1, "a": 2}], Struct({"a": Int64}), [{"a": 2}], 'ignored field "c.b", which Struct(a Int64) has not'),
        ([[]], Array(Array(Int32)), [[]], ""),
        ([[1.5]], Array(Float32), [[1.5]], 'column "c[]" cast from double to float'),
        ([(1.0, 2.0)], Embedding(2), [[1.0, 2.0]], 'column "c[]" cast from double to float'),
    ],
    ids=repr,
)
def test_casts_that_keep_every_value_are_made_within_lists_and_structs_too(
    values: list[Any], dtype: DType, expected: list[Any], note: str
) -> None:
    taken, said = conform(pa.array(values), dtype, "c", "rows")
    assert taken.type == dtype.to_arrow()
    assert taken.to_pylist() == expected
    assert said == note


@pytest.mark.parametrize(
    ("values", "dtype", "says"),
    [
        ([1.5], Decimal(10, 2), r'"c" of rows is double; it is declared as Decimal\(10, 2\)'),
        (["1.5"], Decimal(10, 2), '"c" of rows is string'),
        ([Number("1.555")], Decimal(10, 2), "without loss"),
        ([Number("123.00")], Decimal(4, 2), "without loss"),
        ([1000], Decimal(4, 2), "without loss"),
        ([[1.5]], Array(Int64), r'"c\[\]" of rows is double and cannot be Int64 without loss'),
        ([["1"]], Array(Int64), r'"c\[\]" of rows is string'),
        ([{"a": "x"}], Struct({"a": Int64}), r'"c\.a" of rows is string'),
        ([{"b": 1}], Struct({"a": Int64}), 'structs without a field "a"'),
        ([1], Array(Int64), '"c" of rows is int64; it is declared as Array'),
        ([[1]], Struct({"a": Int64}), "is list"),
        ([[1]], Int64, "is list"),
        (["ab"], Embedding(2), "is string"),
    ],
    ids=repr,
)
def test_a_column_of_another_type_is_refused_with_its_place(values: list[Any], dtype: DType, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        conform(pa.array(values), dtype, "c", "rows")


def test_instants_within_a_list_name_their_zone_too(store: OfflineStore, registry: Registry) -> None:
    view = FeatureView(
        name="view",
        entities=[Entity(name="thing", join_keys=["id"], dtypes=[Int64])],
        schema=[Field(name="times", dtype=Array(Timestamp))],
    )
    registry.apply([view], who="tests")
    naive = datetime(2024, 1, 1)  # noqa: DTZ001 - that is the point
    for times in ([naive], [naive, NOW]):
        with pytest.raises(TimestampError):
            store.ingest(view, keyed([{"times": times}]), who="tests")
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert store.ingest(view, keyed([{"times": [elsewhere, None]}]), who="tests").written == 1
    assert store.rows_by_event_time(view, after=None).read_all()["times"].to_pylist() == [[NOW, None]]


def test_a_part_of_a_struct_that_is_called_as_a_column_of_ours_says_nothing_of_its_load(
    store: OfflineStore, registry: Registry
) -> None:
    view = FeatureView(
        name="traced",
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
        schema=[Field(name="trace", dtype=Struct({"load_id": String}))],
    )
    registry.apply([FeatureService(name="tracing", features=[view])], who="tests")
    asked = [{"user_id": 1, "event_timestamp": NOW}]
    store.ingest(view, [asked[0] | {"trace": {"load_id": "x"}}], who="tests", load_id="first")
    (first,) = store.loads(view)
    store.ingest(view, [asked[0] | {"trace": {"load_id": "first"}}], who="tests", load_id="second")
    then = store.historical_features(registry.service("tracing"), asked, as_of=first.published_at)
    assert then.to_arrow()["trace"].to_pylist() == [{"load_id": "x"}]
