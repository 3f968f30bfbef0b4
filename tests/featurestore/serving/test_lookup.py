"""Lookups: which values, which statuses, and what is refused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.client import FeatureClient
from featurestore.definitions import FeatureView
from featurestore.errors import FeatureStoreError, InvalidRequestError, LimitExceededError, ObjectNotFoundError
from featurestore.online import MemoryStore
from featurestore.serving.lookup import Lookups
from featurestore.v1 import serving_pb2 as pb

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def client(lookups: Lookups) -> FeatureClient:
    return FeatureClient(transport=lookups.transport)


def request(service: str, **columns: list[Any]) -> pb.GetOnlineFeaturesRequest:
    made = pb.GetOnlineFeaturesRequest(service=service)
    for name, values in columns.items():
        column = made.columns.add(name=name)
        where = column.strings if values and isinstance(values[0], str) else column.int64s
        where.SetInParent()
        where.values.extend(values)
    return made


def test_values_come_in_the_order_of_the_rows_and_absent_ones_say_why(client: FeatureClient) -> None:
    rows = [{"origin": name, "tailnum": "N1"} for name in ("EWR", "JFK", "LGA", "XXX")]
    found = client.get_online_features("whole", rows)
    assert found.to_dict() == {
        "temp": [None, 10.0, None, None],
        "wind": [1.0, 4.0, None, None],
        "sky": [None, "clear", None, None],
        "seats": [180, 180, 180, 180],
    }
    assert found.statuses == {
        "weather": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
        "plane": ["PRESENT"] * 4,
    }


def test_the_ttl_is_inclusive_and_an_old_row_tells_its_age(client: FeatureClient) -> None:
    found = client.get_online_features("some", {"origin": ["JFK", "LGA", "XXX"]})
    assert found.statuses["weather"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    edge = NOW - timedelta(hours=3)
    assert found.event_timestamps["weather"] == [edge, edge - timedelta(seconds=1), None]


def test_a_choice_of_features_is_sent_in_its_own_order(client: FeatureClient) -> None:
    found = client.get_online_features("some", {"origin": ["JFK", "EWR"]})
    assert found.to_dict() == {"sky": ["clear", None], "temp": [10.0, None]}


def test_on_demand_features_use_stored_values_and_the_request(client: FeatureClient, lookups: Lookups) -> None:
    rows = [{"origin": name, "tailnum": "N1", "hour": 7} for name in ("JFK", "EWR", "LGA")]
    found = client.get_online_features("computed", rows)
    assert found.to_dict()["felt"] == [15.0, None, None], "a withheld input is a null"
    assert found.to_dict()["label"] == ["clear!", None, None]
    assert list(found.statuses) == ["plane", "chill"], "an input that is no output is not sent"
    assert found.statuses["chill"] == ["PRESENT"] * 3
    assert [view.name for view in lookups.plans["computed"].stored] == ["plane", "weather"]


def test_an_answer_says_what_answered_and_when(client: FeatureClient, lookups: Lookups) -> None:
    found = client.get_online_features("some", {"origin": ["JFK"]}, request_id="r-1")
    assert (found.service, found.request_id, found.served_at, found.replay) == ("some@1", "r-1", NOW, True)
    made = {client.get_online_features("some", {"origin": ["JFK"]}).request_id for _ in range(3)}
    assert len(made) == 3
    assert "" not in made
    assert lookups.get_online_features(request("some", origin=["JFK"]).SerializeToString()).entry.row_count == 1


def test_the_response_is_canonical_protobuf(lookups: Lookups) -> None:
    asked = request("whole", origin=["JFK", "EWR", "LGA", "XXX"], tailnum=["N1"] * 4)
    asked.request_id = "r"
    data = lookups.get_online_features(asked.SerializeToString()).response
    assert pb.GetOnlineFeaturesResponse.FromString(data).SerializeToString(deterministic=True) == data


def test_a_null_key_is_not_found(client: FeatureClient) -> None:
    found = client.get_online_features("whole", {"origin": [None, "JFK"], "tailnum": ["N1", None]})
    assert found.statuses == {"weather": ["NOT_FOUND", "PRESENT"], "plane": ["PRESENT", "NOT_FOUND"]}


def test_no_rows_are_answered_with_none(client: FeatureClient) -> None:
    for service in ("whole", "computed"):
        names = [*client.get_schema(service).join_keys, *client.get_schema(service).request_fields]
        found = client.get_online_features(service, {one.name: [] for one in names})
        assert len(found) == 0
        assert all(values == [] for values in found.to_dict().values())


def test_a_live_store_goes_by_the_clock_of_the_world_and_takes_the_near_future(
    lookups: Lookups, views: dict[str, FeatureView], fill: Callable[..., None]
) -> None:
    store = MemoryStore()
    now = datetime.now(UTC)
    for name, event in (("A", now + timedelta(seconds=50)), ("B", now - timedelta(hours=4))):
        fill(store, views["weather"], {"origin": name, "temp": 1.0, "event_timestamp": event})
    client = FeatureClient(transport=Lookups(store, lookups.plans, max_rows=5).transport)
    found = client.get_online_features("some", {"origin": ["A", "B"]})
    assert found.statuses["weather"] == ["PRESENT", "OUTSIDE_MAX_AGE"]
    assert abs(found.served_at.timestamp() - time.time()) < 60
    assert found.replay is False


def test_the_schema_names_versions_and_types(client: FeatureClient) -> None:
    schema = client.get_schema("computed")
    assert (schema.service, schema.content_hash, schema.replay) == ("computed@1", "abc", True)
    assert [(one.name, one.dtype) for one in schema.join_keys] == [("tailnum", "String"), ("origin", "String")]
    assert [(one.name, one.dtype) for one in schema.request_fields] == [("hour", "Int64")]
    assert [(one.name, one.version, one.on_demand) for one in schema.views] == [("plane", 2, False), ("chill", 1, True)]


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        (request("some"), 'lacks "origin" (String)', "origin (String)"),
        (request("some", origin=["JFK"], dest=["LAX"]), 'takes no "dest"', "origin"),
        (request("some", origin=[1]), 'Column "origin" of the request has int64s', "strings"),
        (request("whole", origin=["JFK"], tailnum=["N1", "N1"]), "has 2 rows", "one value"),
        (
            pb.GetOnlineFeaturesRequest(
                service="some",
                columns=[pb.Column(name="origin", strings=pb.StringValues(values=["JFK"]))] * 2,
            ),
            'column "origin" twice',
            "once",
        ),
        (
            pb.GetOnlineFeaturesRequest(service="some", columns=[pb.Column(name="origin")]),
            "has no values",
            "strings",
        ),
    ],
)
def test_a_wrong_request_is_refused_with_the_name_of_the_column(
    lookups: Lookups, asked: pb.GetOnlineFeaturesRequest, message: str, hint: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        lookups.get_online_features(asked.SerializeToString())
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_too_many_rows_are_refused_with_the_limit(lookups: Lookups) -> None:
    with pytest.raises(LimitExceededError, match="at most 5") as caught:
        lookups.get_online_features(request("some", origin=["JFK"] * 6).SerializeToString())
    assert caught.value.limit == "max_rows"
    assert "max_rows" in caught.value.hint


def test_an_unknown_service_is_named_with_the_known_ones(lookups: Lookups) -> None:
    with pytest.raises(ObjectNotFoundError, match='no feature service "wole"') as caught:
        lookups.get_online_features(request("wole").SerializeToString())
    assert "whole" in caught.value.hint


def test_the_clock_needs_a_server(client: FeatureClient) -> None:
    with pytest.raises(InvalidRequestError, match="needs a server"):
        client.advance_clock(NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    data=st.binary(max_size=200)
    | st.tuples(st.integers(0, 60), st.binary(max_size=4)).map(
        lambda cut: request("whole", origin=["JFK"], tailnum=["N1"]).SerializeToString()[: cut[0]] + cut[1]
    )
)
def test_whatever_bytes_come_they_are_answered_or_refused(lookups: Lookups, data: bytes) -> None:
    for method in ("GetOnlineFeatures", "GetServiceSchema"):
        with contextlib.suppress(FeatureStoreError):
            lookups.transport(method, data)
