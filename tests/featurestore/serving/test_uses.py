"""Lookups of a service that uses one view several times: request columns, statuses, records and the log of each use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import InvalidRequestError
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.log import log_table
from featurestore.serving.lookup import Answer, Lookups
from featurestore.serving.plan import compile_plan
from featurestore.types import Float64, String
from featurestore.v1 import serving_pb2 as pb

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    ttl=3 * HOUR,
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="sky", dtype=String, default="unknown"),
        Field(name="wind", dtype=Float64),
    ],
)
DEST = WEATHER.with_join_key_map({"origin": "dest"}, name="dest_weather")
WARMER = OnDemandFeatureView(
    name="warmer",
    inputs=[DEST, WEATHER],
    schema=[Field(name="difference", dtype=Float64), Field(name="skies", dtype=String)],
    expressions={"difference": "dest_weather__temp - temp", "skies": "sky || dest_weather__sky"},
)
SERVICES = {
    "both": FeatureService(name="both", features=[WEATHER, DEST]),
    "some": FeatureService(name="some", features=[DEST[["wind", "sky"]], WEATHER[["temp"]]]),
    "computed": FeatureService(name="computed", features=[WARMER, DEST[["temp"]]]),
    "mapped": FeatureService(name="mapped", features=[WEATHER.with_join_key_map({"origin": "dest"})[["temp"]]]),
}


@pytest.fixture
def lookups(fill: Callable[..., None]) -> Lookups:
    store = MemoryStore()
    store.advance(None, (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), {})
    fill(
        store,
        WEATHER,
        {"origin": "JFK", "temp": 10.0, "wind": 4.0, "sky": "clear", "event_timestamp": NOW - HOUR},
        {"origin": "LGA", "temp": 11.0, "wind": 2.0, "sky": "grey", "event_timestamp": NOW - 4 * HOUR},
        {"origin": "EWR", "temp": None, "wind": 1.0, "sky": None, "event_timestamp": NOW - 2 * HOUR},
    )
    plans = {
        name: compile_plan(
            Registered(
                project="test",
                kind="feature_service",
                name=name,
                version=1,
                content_hash="abc",
                decode=lambda service=service: service,
                pins={"weather": 4, "warmer": 2},
                applied_at=NOW,
                applied_by="tester",
            )
        )
        for name, service in SERVICES.items()
    }
    return Lookups(store, plans | {f"{name}@1": plan for name, plan in plans.items()}, max_rows=5, replay=True)


PAIRS: dict[str, list[str | None]] = {"origin": ["JFK", "EWR", "LGA", None], "dest": ["EWR", "JFK", "XXX", "JFK"]}


def asked(lookups: Lookups, service: str, rows: Mapping[str, Any] = PAIRS) -> OnlineFeatures:
    return FeatureClient(transport=lookups.transport).get_online_features(service, rows)


def test_each_use_is_looked_up_by_its_own_column_and_has_statuses_of_its_own(lookups: Lookups) -> None:
    found = asked(lookups, "both")
    assert found.to_dict() == {
        "temp": [10.0, None, None, None],
        "sky": ["clear", "unknown", "unknown", "unknown"],
        "wind": [4.0, 1.0, None, None],
        "dest_weather__temp": [None, 10.0, None, 10.0],
        "dest_weather__sky": ["unknown", "clear", "unknown", "clear"],
        "dest_weather__wind": [1.0, 4.0, None, 4.0],
    }
    assert found.statuses == {
        "weather": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
        "dest_weather": ["PRESENT", "PRESENT", "NOT_FOUND", "PRESENT"],
    }
    assert found.event_timestamps["dest_weather"] == [NOW - 2 * HOUR, NOW - HOUR, None, NOW - HOUR]


def test_a_use_of_some_features_gives_them_in_its_order_under_their_full_names(lookups: Lookups) -> None:
    assert asked(lookups, "some").to_dict() == {
        "dest_weather__wind": [1.0, 4.0, None, 4.0],
        "dest_weather__sky": ["unknown", "clear", "unknown", "clear"],
        "temp": [10.0, None, None, None],
    }


def test_on_demand_features_are_computed_from_both_uses(lookups: Lookups) -> None:
    found = asked(lookups, "computed", {"origin": ["JFK", "JFK"], "dest": ["JFK", "EWR"]})
    assert found.to_dict() == {
        "difference": [0.0, None],
        "skies": ["clearclear", "clearunknown"],
        "dest_weather__temp": [10.0, None],
    }


def test_a_use_without_a_name_takes_the_mapped_column_only(lookups: Lookups) -> None:
    assert asked(lookups, "mapped", {"dest": ["JFK"]}).to_dict() == {"temp": [10.0]}
    with pytest.raises(InvalidRequestError, match='takes no "origin"'):
        asked(lookups, "mapped", PAIRS)


def test_the_schema_names_the_columns_to_send_the_uses_and_the_version_of_their_view(lookups: Lookups) -> None:
    request = pb.GetServiceSchemaRequest(service="some").SerializeToString()
    schema = pb.GetServiceSchemaResponse.FromString(lookups.get_service_schema(request))
    assert [one.name for one in schema.join_keys] == ["dest", "origin"]
    assert [(one.name, one.version, [field.name for field in one.features]) for one in schema.views] == [
        ("dest_weather", 4, ["dest_weather__wind", "dest_weather__sky"]),
        ("weather", 4, ["temp"]),
    ]


def test_the_log_has_the_columns_of_each_use(lookups: Lookups) -> None:
    answers: list[Answer] = []

    def transport(method: str, data: bytes) -> bytes:
        if method != "GetOnlineFeatures":
            return lookups.transport(method, data)
        answers.append(lookups.get_online_features(data))
        return answers[-1].response

    FeatureClient(transport=transport).get_online_features("some", PAIRS)
    entry = answers[0].entry
    logged = log_table(entry.plan, [entry], replay=True)
    assert logged.column_names[4:] == [
        "dest",
        "origin",
        "dest_weather__wind",
        "dest_weather__sky",
        "dest_weather__status",
        "dest_weather__event_timestamp",
        "temp",
        "weather__status",
        "weather__event_timestamp",
        "replay",
        "_snapshot",
        "_complete_to",
    ]
    rows = logged.to_pydict()
    assert rows["dest_weather__wind"] == [1.0, 4.0, None, 4.0]
    assert (rows["weather__status"], rows["dest_weather__status"]) == ([1, 1, 3, 2], [1, 1, 2, 1])
