"""Defaults are the same wherever a feature is read: in the join, a lookup, the serving log, and what is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.config import Config
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import InvalidRequestError, SchemaError
from featurestore.materialize import materialize
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.store import OfflineStore
from featurestore.online import MemoryStore
from featurestore.registry import Registered, open_registry
from featurestore.serving.log import log_table
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Bool, Bytes, Date, Float32, Float64, Int32, Int64, String, Timestamp
from monitor.parity import same_values

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
KEYS = ("k0", "k1", "k2", "k3", "k4")


@dataclass(frozen=True)
class Kitchen:
    """A store with one service, offline and online, whose clock stands at :data:`NOW`."""

    offline: OfflineStore
    service: Registered[FeatureService]
    lookups: Lookups

    def online(self, rows: Any) -> tuple[OnlineFeatures, pa.Table]:
        """Return a lookup's answer, and what the serving log has of it."""
        entries = []

        def transport(method: str, request: bytes) -> bytes:
            if method != "GetOnlineFeatures":
                return self.lookups.transport(method, request)
            answer = self.lookups.get_online_features(request)
            entries.append(answer.entry)
            return answer.response

        found = FeatureClient(transport=transport).get_online_features(self.service.name, rows)
        return found, log_table(self.lookups.plans[self.service.name], entries, replay=True)

    def joined(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Return the point-in-time join of the same rows at the same instant."""
        at = [row | {"event_timestamp": NOW} for row in rows]
        return self.offline.historical_features(self.service, at, with_status=True).to_arrow()


def cook(folder: Path, service: FeatureService, rows: dict[str, pa.Table | list[dict[str, Any]]]) -> Iterator[Kitchen]:
    config = Config(root=folder, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        registry.apply([service], who="tests")
        offline, online = OfflineStore(config, registry), MemoryStore()
        online.advance(None, types.microseconds(NOW), {})
        for view in service.views:
            if view.name in rows:
                offline.ingest(view, rows[view.name], who="tests")
            # Kept whatever their age, so that rows grow old online too.
            materialize(replace(view, ttl=None), offline, online, now=NOW)
        registered = registry.service(service.name)
        yield Kitchen(
            offline, registered, Lookups(online, {service.name: compile_plan(registered)}, max_rows=99, replay=True)
        )


# Any type, any state


def plain(value: float) -> float:
    """Return the number without the sign of a zero, which DuckDB drops in some joins."""
    return value + 0.0


SMALL = {
    Bool: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32).map(plain),
    Float64: st.floats().map(plain),
    String: st.text(st.characters(codec="utf-8"), max_size=5),
    Bytes: st.binary(max_size=5),
    Date: st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    Timestamp: st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    types.Decimal(38, 2): st.decimals("-1e30", "1e30", places=2),
}
TYPES: dict[types.DType, st.SearchStrategy[Any]] = SMALL | {
    types.Array(Int64): st.lists(st.none() | SMALL[Int64], max_size=3),
    types.Embedding(2): st.lists(SMALL[Float32], min_size=2, max_size=2),
    types.Struct({"a": String, "b": types.Array(Date)}): st.fixed_dictionaries(
        {"a": st.none() | SMALL[String], "b": st.none() | st.lists(st.none() | SMALL[Date], max_size=2)}
    ),
}


@st.composite
def kitchens(draw: st.DrawFn) -> tuple[FeatureService, list[dict[str, Any]], list[int]]:
    """Draw a service, the rows of its view, and which of its features are sent."""
    chosen = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=12))
    schema = []
    for place, dtype in enumerate(chosen):
        default = draw(st.none() | TYPES[dtype])
        schema.append(Field(name=f"f{place}", dtype=dtype, default=default))
    view = FeatureView(name="v", entities=[Entity(name="k")], ttl=timedelta(hours=1), schema=schema)
    computed = OnDemandFeatureView(
        name="o",
        inputs=[view],
        request=[Field(name="r", dtype=Int64, default=draw(st.none() | st.integers(0, 9)))],
        schema=[Field(name=f"n{place}", dtype=Bool) for place in range(len(chosen))]
        + [Field(name="twice", dtype=Int64, default=draw(st.none() | st.integers(-9, 0)))],
        expressions={f"n{place}": f"f{place} IS NULL" for place in range(len(chosen))} | {"twice": "r * 2"},
    )
    rows = []
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        values = {one.name: draw(st.none() | TYPES[one.dtype]) for one in schema}
        age = draw(st.sampled_from([timedelta(hours=1), timedelta(hours=1, microseconds=1)]))
        rows.append({"k": key, "event_timestamp": NOW - age} | values)
    some = draw(st.lists(st.sampled_from(schema), min_size=1, unique_by=lambda one: one.name))
    sent = view if draw(st.booleans()) else view[[one.name for one in some]]
    service = FeatureService(name="s", features=[sent, computed] if draw(st.booleans()) else [sent])
    return service, rows, draw(st.lists(st.none() | st.integers(0, 99), min_size=len(KEYS), max_size=len(KEYS)))


def shown(table: pa.Table, name: str) -> list[str]:
    """Return values as texts, in which NaN is NaN and -0.0 is not 0.0."""
    return [repr(value) for value in table.column(name).to_pylist()]


# Each example is a store on disk, so a failure is shown as it was found: making it smaller takes minutes.
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(made=kitchens())
def test_the_join_the_lookup_and_the_serving_log_agree_whatever_is_missing(made: Any) -> None:
    service, rows, requested = made
    view = service.views[0]
    columns = {"k": pa.string(), "event_timestamp": pa.timestamp("us", tz="UTC")}
    columns |= {one.name: one.dtype.to_arrow() for one in view.schema}
    table = pa.Table.from_pylist(rows, schema=pa.schema(columns))
    asked = [{"k": key} | ({"r": r} if service.request else {}) for key, r in zip(KEYS, requested, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        for kitchen in cook(Path(folder), service, {"v": table} if rows else {}):
            found, logged = kitchen.online(asked)
            joined, answered = kitchen.joined(asked), found.to_arrow()
    for fields in service.outputs.values():
        for one in fields:
            assert shown(answered, one.name) == shown(joined, one.name) == shown(logged, one.name), one
            assert same_values(logged.column(one.name), joined.column(one.name)).all(), "so the monitor says"
            assert one.default is None or joined.column(one.name).null_count == 0
    numbers = {"PRESENT": 1, "NOT_FOUND": 2, "OUTSIDE_MAX_AGE": 3}
    assert [numbers[one] for one in found.statuses["v"]] == joined.column("v__status").to_pylist()
    assert found.event_timestamps["v"] == joined.column("v__event_timestamp").to_pylist()


# In particular

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="temp", dtype=Float64, default=-99.5),
        Field(name="wind", dtype=Float64),
        Field(name="sky", dtype=String, default="unknown"),
        Field(name="price", dtype=types.Decimal(6, 2), default=Decimal("1.50")),
    ],
)
FELT = OnDemandFeatureView(
    name="felt_view",
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=Int64, default=7), Field(name="day", dtype=Date, default=date(2013, 1, 1))],
    schema=[Field(name="felt", dtype=Float64), Field(name="windy", dtype=Bool, default=False)],
    expressions={"felt": "temp + hour", "windy": "wind > 10 AND day IS NOT NULL"},
)
ROWS = [
    {"origin": "JFK", "temp": 1.0, "wind": 20.0, "sky": "clear", "price": Decimal("2.00"), "event_timestamp": NOW},
    {"origin": "EWR", "temp": None, "wind": None, "sky": None, "price": None, "event_timestamp": NOW},
    {
        "origin": "LGA",
        "temp": 3.0,
        "wind": 3.0,
        "sky": "grey",
        "price": Decimal("3.00"),
        "event_timestamp": NOW - timedelta(hours=4),
    },
]
ASKED = [{"origin": name} for name in ("JFK", "EWR", "LGA", "XXX")]


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Callable[..., Kitchen]]:
    opened: list[Iterator[Kitchen]] = []

    def make(*features: Any) -> Kitchen:
        opened.append(cook(tmp_path, FeatureService(name="s", features=list(features)), {"weather": ROWS}))
        return next(opened[-1])

    yield make
    for one in opened:
        assert next(one, None) is None


def test_a_default_stands_for_nulls_and_for_rows_that_are_not_there_or_too_old(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(WEATHER)
    found, _ = made.online(ASKED)
    assert found.to_dict() == {
        "temp": [1.0, -99.5, -99.5, -99.5],
        "wind": [20.0, None, None, None],
        "sky": ["clear", "unknown", "unknown", "unknown"],
        "price": [Decimal("2.00"), Decimal("1.50"), Decimal("1.50"), Decimal("1.50")],
    }
    assert found.statuses["weather"] == ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"], "the status tells"
    assert found.event_timestamps["weather"] == [NOW, NOW, NOW - timedelta(hours=4), None]
    assert {name: made.joined(ASKED).column(name).to_pylist() for name in found.names} == found.to_dict()


def test_a_choice_of_features_has_their_defaults(kitchen: Callable[..., Kitchen]) -> None:
    found, logged = kitchen(WEATHER[["sky", "wind"]]).online(ASKED)
    assert found.to_dict() == {"sky": ["clear", *["unknown"] * 3], "wind": [20.0, None, None, None]}
    assert logged.column("sky").to_pylist() == found.to_dict()["sky"]


def test_a_choice_without_defaults_is_as_it_was(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(WEATHER[["wind"]])
    assert made.lookups.plans["s"].stored[0].defaults is None
    assert made.online(ASKED)[0].to_dict() == {"wind": [20.0, None, None, None]}


def test_defaults_come_before_what_is_computed_and_again_after_it(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(FELT)
    rows = [one | {"hour": 1} for one in ASKED]
    found, _ = made.online(rows)
    assert found.to_dict() == {"felt": [2.0, -98.5, -98.5, -98.5], "windy": [True, False, False, False]}
    joined = made.joined(rows)
    assert {name: joined.column(name).to_pylist() for name in found.names} == found.to_dict()


def test_a_request_field_with_a_default_may_be_left_out_or_null(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(FELT)
    for rows in (ASKED, [one | {"hour": None} for one in ASKED], [one | {"hour": 7} for one in ASKED]):
        found, logged = made.online(rows)
        assert found.to_dict()["felt"] == [8.0, -92.5, -92.5, -92.5]
        assert made.joined(rows).column("felt").to_pylist() == found.to_dict()["felt"]
        assert logged.column("hour").to_pylist() == [7, 7, 7, 7], "what was computed with is what is logged"
        assert logged.column("day").to_pylist() == [date(2013, 1, 1)] * 4


def test_a_join_key_may_not_be_left_out(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(FELT)
    with pytest.raises(InvalidRequestError, match='lacks "origin"'):
        made.online({"hour": [1]})
    with pytest.raises(SchemaError, match='no column "origin"'):
        made.joined([{"hour": 1}])


def test_a_training_set_has_the_defaults(kitchen: Callable[..., Kitchen]) -> None:
    made = kitchen(WEATHER, FELT)
    rows = [one | {"event_timestamp": NOW, "late": True} for one in ASKED]
    dataset = made.offline.create_dataset("train", made.service, rows, Recipe(label="late"), who="tests")
    assert dataset.to_arrow().column("temp").to_pylist() == [1.0, -99.5, -99.5, -99.5]


def test_a_view_that_was_never_ingested_gives_its_defaults(tmp_path: Path) -> None:
    for made in cook(tmp_path, FeatureService(name="s", features=[WEATHER]), {}):
        found, _ = made.online(ASKED)
        assert found.to_dict()["temp"] == [-99.5] * 4
        assert made.joined(ASKED).column("temp").to_pylist() == [-99.5] * 4
        notes = made.offline.historical_features(made.service, [ASKED[0] | {"event_timestamp": NOW}]).notes
        assert notes == ('feature view "weather" was never ingested: its features are null, or their defaults',)
