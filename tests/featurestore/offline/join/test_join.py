"""The point-in-time join against an independent oracle: brute force over plain Python rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import SchemaError, TimestampError
from featurestore.offline.datasets.content import content_hash
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry, open_registry
from featurestore.settings.sections import OfflineConfig
from featurestore.types import BY_NAME, Float64, Int64, String

START = datetime(2013, 3, 10, 6, 59, 59, 999_998, tzinfo=UTC)  # a night of New York's change to summer time
TTL_US = 3
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3
Row = Mapping[str, Any]


def at(us: int | None) -> datetime | None:
    return None if us is None else START + timedelta(microseconds=us)


SEATS = FeatureView(
    name="seats",
    entities=[Entity(name="place", join_keys=["number", "code"], dtypes=[Int64, String])],
    ttl=timedelta(microseconds=TTL_US),
    schema=[Field(name="price", dtype=Int64), Field(name="label", dtype=String)],
)
FACTS = FeatureView(
    name="facts",
    entities=[Entity(name="place_by_code", join_keys=["code"])],
    schema=[Field(name="size", dtype=Float64)],
)
DERIVED = OnDemandFeatureView(
    name="derived",
    inputs=[SEATS, FACTS],
    request=[Field(name="bonus", dtype=Int64)],
    schema=[Field(name="total", dtype=Float64), Field(name="constant", dtype=Float64)],
    expressions={"total": "price + bonus + coalesce(size, 0.5)", "constant": "0.1"},
)
SERVICE = FeatureService(name="offer", features=[SEATS, FACTS, DERIVED])
NANO = FeatureView(name="nano_facts", entities=[Entity(name="thing")], schema=[Field(name="size", dtype=Float64)])


class Oracle:
    """What the store must answer, said in plain Python. Loads come in order, rows within a load too."""

    def __init__(self, keys: Sequence[str], ttl_us: int | None, loads: Sequence[Sequence[Row]]) -> None:
        self.keys = keys
        self.ttl_us = ttl_us
        self.rows = [
            (row, load_order, row_number)
            for load_order, load in enumerate(loads)
            for row_number, row in enumerate([row for row in load if all(row[key] is not None for key in keys)])
        ]

    @staticmethod
    def rank(entry: tuple[Row, int, int]) -> tuple[float, ...]:
        row, load_order, row_number = entry
        created = -float("inf") if row["created"] is None else row["created"]
        return (row["event"], created, load_order, row_number)

    def newest(self, wanted: Row, until: int) -> Row | None:
        found = [
            entry
            for entry in self.rows
            if all(wanted[key] is not None and entry[0][key] == wanted[key] for key in self.keys)
            and entry[0]["event"] <= until
        ]
        return max(found, key=self.rank)[0] if found else None

    def answer(self, wanted: Row) -> tuple[int, Row | None]:
        row = self.newest(wanted, wanted["event"])
        if row is None:
            return NOT_FOUND, None
        if self.ttl_us is not None and wanted["event"] - row["event"] > self.ttl_us:
            return OUTSIDE_MAX_AGE, row
        return PRESENT, row


# Few keys, few instants, so that everything collides; (1, "23") and (12, "3") would be one key if they were glued.
KEYS = st.sampled_from([(1, "23"), (1, "23"), (12, "3"), (12, "3"), (None, "3"), (1, None)])
EVENTS = st.integers(0, 3)
CREATED = st.none() | st.integers(0, 1)


def seat_rows(features: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    values = {"price": st.none() | st.integers(0, 10**6), "label": st.none() | st.text(max_size=3)} if features else {}
    return st.builds(
        lambda key, **rest: {"number": key[0], "code": key[1], **rest}, KEYS, event=EVENTS, **values
    ).flatmap(lambda row: CREATED.map(lambda created: row | {"created": created}))


FACT_ROWS = st.builds(
    dict,
    code=st.sampled_from(["23", "3", None]),
    event=EVENTS,
    created=CREATED,
    size=st.none() | st.floats(allow_nan=False),
)
ENTITY_ROWS = st.builds(
    lambda key, event, bonus, extra: {"number": key[0], "code": key[1], "event": event, "bonus": bonus, "late": extra},
    KEYS,
    st.integers(-1, 8),
    st.none() | st.integers(-5, 5),
    st.none() | st.floats(),
)


def table(rows: Sequence[Row], view: FeatureView) -> pa.Table:
    types = {name: dtype.to_arrow() for name, dtype in view.keys.items()}
    types |= {one.name: one.dtype.to_arrow() for one in view.schema}
    instant = pa.timestamp("us", tz="UTC")
    return pa.table(
        {name: pa.array([row[name] for row in rows], dtype) for name, dtype in types.items()}
        | {
            "event_timestamp": pa.array([at(row["event"]) for row in rows], instant),
            "created_timestamp": pa.array([at(row["created"]) for row in rows], instant),
        }
    )


def entity_table(rows: Sequence[Row]) -> pa.Table:
    columns = {"number": pa.int64(), "code": pa.string(), "bonus": pa.int64(), "late": pa.float64()}
    return pa.table(
        {name: pa.array([row[name] for row in rows], dtype) for name, dtype in columns.items()}
        | {"event_timestamp": pa.array([at(row["event"]) for row in rows], pa.timestamp("us", tz="UTC"))}
    )


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One registry for all examples: making one takes longer than the join."""
    folder = tmp_path_factory.mktemp("registry")
    with open_registry(f"sqlite:///{folder}/registry.db", "oracle") as registry:
        registry.apply([SERVICE, FeatureService(name="nano", features=[NANO])], who="tests")
        yield registry


def fresh_store(folder: str, registry: Registry) -> OfflineStore:
    # A project of its own, for loads are numbered within one.
    root = Path(folder)
    project = Registry(registry._database, root.name)
    return OfflineStore(Config(root=root, offline=OfflineConfig(threads=1, memory_limit="500MB")), project)


@settings(max_examples=40, deadline=None)
@given(
    # Often several full loads: small ones seldom tie with each other.
    seats=st.lists(st.lists(seat_rows(), max_size=6), max_size=1)
    | st.lists(st.lists(seat_rows(), min_size=5, max_size=12), min_size=2, max_size=3),
    facts=st.lists(st.lists(FACT_ROWS, min_size=1, max_size=6), max_size=2),
    entities=st.lists(ENTITY_ROWS, min_size=1, max_size=20),
)
def test_the_join_agrees_with_brute_force(
    shared_registry: Registry, seats: list[list[Row]], facts: list[list[Row]], entities: list[Row]
) -> None:
    """Ties, nulls, the TTL's edge, microsecond neighbours, glued keys, duplicated and unsorted entity rows."""
    service = shared_registry.service("offer")
    with tempfile.TemporaryDirectory() as folder:
        store = fresh_store(folder, shared_registry)
        for number, load in enumerate(seats):
            store.ingest(SEATS, table(load, SEATS), who="tests", load_id=f"load{number}")
        for number, load in enumerate(facts, start=-1):  # the same ids, in another order
            store.ingest(FACTS, table(load, FACTS), who="tests", load_id=f"load{abs(number)}")
        given_rows = entity_table(entities)
        joined = store.historical_features(service, given_rows, with_status=True).to_arrow()
        newest = store.newest_rows(SEATS, until=START + timedelta(microseconds=2)).read_all()
        history = store.rows_by_event_time(SEATS, after=at(1)).read_all()

    # Given columns come back all, once, in order, untouched.
    assert content_hash(joined.select(given_rows.column_names)) == content_hash(given_rows)
    seat_oracle = Oracle(["number", "code"], TTL_US, seats)
    fact_oracle = Oracle(["code"], None, facts)
    for got, row in zip(joined.to_pylist(), entities, strict=True):
        seat_status, seat = seat_oracle.answer(row)
        fact_status, fact = fact_oracle.answer(row)
        price, label = (seat["price"], seat["label"]) if seat and seat_status == PRESENT else (None, None)
        size = fact["size"] if fact else None
        known = price is not None and row["bonus"] is not None
        expected = {
            "price": price,
            "label": label,
            "size": size,
            "total": float(price + row["bonus"]) + (0.5 if size is None else size) if known else None,
            "constant": 0.1,
            "seats__status": seat_status,
            "seats__event_timestamp": at(seat["event"]) if seat else None,
            "facts__status": fact_status,
            "facts__event_timestamp": at(fact["event"]) if fact else None,
        }
        assert {name: got[name] for name in expected} == expected

    found = {(row["number"], row["code"]): row for row in newest.to_pylist()}
    keys = {(row["number"], row["code"]) for row, _, _ in seat_oracle.rows if row["event"] <= 2}
    assert len(found) == newest.num_rows
    assert found.keys() == keys
    for number, code in keys:
        expected_row = seat_oracle.newest({"number": number, "code": code}, 2)
        assert expected_row is not None
        got_row = found[number, code]
        assert (got_row["price"], got_row["label"]) == (expected_row["price"], expected_row["label"])
        assert got_row["event_timestamp"] == at(expected_row["event"])
        assert got_row["created_timestamp"] == at(expected_row["created"])

    ordered = sorted((entry for entry in seat_oracle.rows if entry[0]["event"] > 1), key=Oracle.rank)
    assert [
        (row["number"], row["code"], row["price"], row["label"], row["row_number"]) for row in history.to_pylist()
    ] == [(row["number"], row["code"], row["price"], row["label"], number) for row, _, number in ordered]


def test_a_value_counts_to_the_last_microsecond_of_its_ttl(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Any
) -> None:
    store.ingest(view, weather_rows([0]), who="tests")
    true_at = weather_rows([0])[0]["event_timestamp"]
    us = timedelta(microseconds=1)
    instants = [true_at - us, true_at, true_at + timedelta(hours=3), true_at + timedelta(hours=3) + us]
    rows = [{"origin": "JFK", "hour": 0, "event_timestamp": instant} for instant in instants]
    result = store.historical_features(service, rows, with_status=True).to_polars()
    assert result["weather__status"].to_list() == [NOT_FOUND, PRESENT, PRESENT, OUTSIDE_MAX_AGE]
    assert result["temp"].to_list() == [None, 40.0, 40.0, None]
    assert result["weather__event_timestamp"].to_list() == [None, true_at, true_at, true_at]


def test_a_view_that_was_never_ingested_gives_nulls_and_a_note(
    store: OfflineStore, service: Registered[FeatureService]
) -> None:
    result = store.historical_features(service, [{"origin": "JFK", "hour": 0, "event_timestamp": START}])
    assert result.table.select(["temp", "wind", "wind_chill"]).to_pylist() == [
        {"temp": None, "wind": None, "wind_chill": None}
    ]
    assert result.notes == ('feature view "weather" was never ingested: its features are null, or their defaults',)


def test_no_entity_rows_give_no_rows_of_the_same_columns(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Any
) -> None:
    one = pa.Table.from_pylist([{"origin": "JFK", "hour": 0, "event_timestamp": START}])
    for _ in range(2):
        full = store.historical_features(service, one, with_status=True).table
        none = store.historical_features(service, one.slice(0, 0), with_status=True).table
        assert none.num_rows == 0
        assert none.schema == full.schema
        store.ingest(view, weather_rows(), who="tests")


def test_features_have_their_declared_types_ingested_or_not(store: OfflineStore, registry: Registry) -> None:
    every = FeatureView(
        name="every",
        entities=[Entity(name="thing", dtypes=[Int64])],
        schema=[Field(name=f"f_{name.lower()}", dtype=dtype) for name, dtype in BY_NAME.items()],
    )
    registry.apply([FeatureService(name="all_types", features=[every])], who="tests")
    service = registry.service("all_types")
    entity = pa.table({"thing": [1], "event_timestamp": pa.array([START], pa.timestamp("us", tz="UTC"))})
    values = [True, 7, 2**60, 0.5, 0.1, "é", b"\x00\xff", START.date(), START]
    row = {one.name: pa.array([value], one.dtype.to_arrow()) for one, value in zip(every.schema, values, strict=True)}
    before = store.historical_features(service, entity).table
    store.ingest(every, pa.table({**{name: entity.column(name) for name in entity.column_names}, **row}), who="tests")
    after = store.historical_features(service, entity).table
    declared = pa.schema([(one.name, one.dtype.to_arrow()) for one in every.schema])
    assert before.select(declared.names).schema == declared
    assert after.select(declared.names).schema == declared
    assert list(after.select(declared.names).to_pylist()[0].values()) == values
    assert store.newest_rows(every, until=START).read_all().select(declared.names).to_pylist() == [
        dict(zip(declared.names, values, strict=True))
    ]


def test_the_instant_may_stand_in_another_column(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Any
) -> None:
    store.ingest(view, weather_rows([0]), who="tests")
    rows = [{"origin": "JFK", "hour": 0, "departed": weather_rows([1])[0]["event_timestamp"]}]
    assert store.historical_features(service, rows, timestamp_field="departed").table["temp"].to_pylist() == [40.0]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"origin": None}, None, ""),
        ({"origin": 3}, SchemaError, 'Column "origin" .* is int64; it is declared as String'),
        ({"hour": 0.5}, SchemaError, 'Column "hour" .* without loss'),
        ({"temp": 1.0}, SchemaError, 'a column "temp", which is also a feature of the service'),
        ({"weather__status": 1}, SchemaError, 'a column "weather__status", which is also added with_status'),
        ({"event_timestamp": None}, SchemaError, '1 of the entity rows .* have no "event_timestamp"'),
        ({"event_timestamp": START.replace(tzinfo=None)}, TimestampError, "name no time zone"),
        ({"event_timestamp": "2013-01-01T00:00:00Z"}, SchemaError, "is string, not a timestamp"),
    ],
)
def test_entity_rows_that_cannot_be_joined_say_why(
    store: OfflineStore,
    service: Registered[FeatureService],
    change: dict[str, Any],
    error: type[Exception] | None,
    says: str,
) -> None:
    rows = [{"origin": "JFK", "hour": 0, "event_timestamp": START} | change]
    if error is None:
        assert len(store.historical_features(service, rows, with_status=True)) == 1
        return
    with pytest.raises(error, match=says):
        store.historical_features(service, rows, with_status=True)


def test_a_missing_key_is_named_with_what_may_be_meant(
    store: OfflineStore, service: Registered[FeatureService]
) -> None:
    with pytest.raises(SchemaError, match='The entity rows for "flight_delay" have no column "origin"') as raised:
        store.historical_features(service, [{"orign": "JFK", "hour": 0, "event_timestamp": START}])
    assert raised.value.hint == 'Did you mean "orign"?'


def test_an_empty_list_gives_no_rows_of_the_right_columns(
    store: OfflineStore, service: Registered[FeatureService]
) -> None:
    table = store.historical_features(service, [], timestamp_field="departed").table
    assert table.num_rows == 0
    assert table.column_names == ["departed", "origin", "hour", "temp", "wind", "wind_chill"]


@pytest.mark.parametrize("name", [None, 5, ""])
def test_the_column_of_the_instants_has_a_name(
    store: OfflineStore, service: Registered[FeatureService], name: Any
) -> None:
    with pytest.raises(SchemaError, match="names no column of the entity rows"):
        store.historical_features(service, [{"origin": "JFK", "hour": 0}], timestamp_field=name)


@given(event=st.integers(-(10**7), 10**7), later=st.integers(-2000, 2000), as_text=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_row_true_a_nanosecond_after_an_instant_is_not_joined_to_it(
    shared_registry: Registry, event: int, later: int, as_text: bool
) -> None:
    """The oracle: what is joined was true at the instant, and what was true a whole microsecond before is joined."""
    instant = pa.timestamp("ns", tz="UTC")
    with tempfile.TemporaryDirectory() as folder:
        store = fresh_store(folder, shared_registry)
        fact = pa.table({"thing": ["a"], "size": [1.0], "event_timestamp": pa.array([event], instant)})
        if as_text:
            text = np.datetime_as_string(np.datetime64(event, "ns"), unit="ns")
            Path(folder, "fact.csv").write_text(f"thing,size,event_timestamp\na,1.0,{text}Z\n")
        store.ingest(NANO, Path(folder, "fact.csv") if as_text else fact, who="tests")
        entity = pa.table({"thing": ["a"], "event_timestamp": pa.array([event + later], instant)})
        joined = store.historical_features(shared_registry.service("nano"), entity).table["size"].to_pylist() == [1.0]
    if joined:
        assert later >= 0
    if later >= 2000:
        assert joined


def test_rows_can_be_written_and_read_back(
    store: OfflineStore, service: Registered[FeatureService], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    result = store.historical_features(service, [{"origin": "JFK", "hour": 0, "event_timestamp": START}])
    path = result.write(tmp_path / "new" / "rows.parquet")
    assert pq.read_table(path).equals(result.to_arrow())
    assert [file.name for file in path.parent.iterdir()] == ["rows.parquet"]
    assert result.to_pandas().shape == (1, 6)
    assert pa.Table.from_batches(result.to_batches()).equals(result.to_arrow())


def test_the_order_of_one_views_loads_is_not_that_of_anothers_with_the_same_ids(
    shared_registry: Registry, tmp_path: Path
) -> None:
    store = fresh_store(str(tmp_path), shared_registry)
    seat = {"number": 1, "code": "3", "event": 0, "created": None, "label": None}
    fact = {"code": "3", "event": 0, "created": None, "size": 1.0}
    store.ingest(SEATS, table([seat | {"price": 1}] * 2, SEATS), who="tests", load_id="x")
    store.ingest(SEATS, table([seat | {"price": 2}], SEATS), who="tests", load_id="y")
    for load_id in ("y", "x"):
        store.ingest(FACTS, table([fact], FACTS), who="tests", load_id=load_id)
    rows = entity_table([{"number": 1, "code": "3", "event": 0, "bonus": 0, "late": None}])
    assert store.historical_features(shared_registry.service("offer"), rows).table["price"].to_pylist() == [2]
