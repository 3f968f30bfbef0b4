"""Which requests a canary answers: by hash of the routing key, the same everywhere."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from featurestore.client import FeatureClient
from featurestore.definitions import Entity, FeatureService, FeatureView, Field
from featurestore.errors import InvalidRequestError
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.serving.routing import Canary, canaries, entity_key, place
from featurestore.types import Float64, Int64, String
from featurestore.v1 import serving_pb2 as pb

TRIP = Entity(name="trip", join_keys=["origin", "flight"], dtypes=[String, Int64])
OLD = FeatureView(name="delays", entities=[TRIP], schema=[Field(name="mean", dtype=Float64)])
NEW = replace(OLD, schema=[Field(name="mean", dtype=Float64), Field(name="worst", dtype=Int64)])

#: Places that a release must never move: a user's requests would go elsewhere in the middle of a rollout.
PLACES = {"ada": 2017891231320339907, "bob": 3359998790982946942, "": 5287258676470980350}


def registered(version: int, view: FeatureView, name: str = "flight_delay") -> Registered[FeatureService]:
    return Registered(
        project="test",
        kind="feature_service",
        name=name,
        version=version,
        content_hash=str(version),
        decode=lambda: FeatureService(name=name, features=[view]),
        pins={"delays": version},
        applied_at=datetime(2013, 1, 1, tzinfo=UTC),
        applied_by="tester",
    )


def lookups(share: float, canary: FeatureView = NEW) -> Lookups:
    """Return lookups where flight_delay means version 1 and version 2 is a canary."""
    one, two = registered(1, OLD), registered(2, canary)
    services = {"flight_delay": one, one.id: one, two.id: two}
    plans = {name: compile_plan(service) for name, service in services.items()}
    beside = canaries(services, plans, {"flight_delay": (2, share)})
    return Lookups(MemoryStore(), plans, max_rows=100, canaries=beside)


def answered(client: FeatureClient, rows: Any = None, **options: Any) -> str:
    rows = [{"origin": "JFK", "flight": 7}] if rows is None else rows
    return client.get_online_features("flight_delay", rows, **options).service


def request(**columns: Any) -> pb.GetOnlineFeaturesRequest:
    made = pb.GetOnlineFeaturesRequest(service="flight_delay")
    for name, value in columns.items():
        column = made.columns.add(name=name, nulls=b"\x01" if value is None else b"")
        kind = {int: "int64s", float: "doubles", bytes: "blobs", bool: "bools"}.get(type(value), "strings")
        getattr(column, kind).values.append("" if value is None else value)
    return made


@pytest.mark.parametrize(("key", "where"), PLACES.items())
def test_a_keys_place_is_what_it_was_in_the_first_release(key: str, where: int) -> None:
    assert place("flight_delay", key.encode()) == where


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_finds_the_same_places(seed: str) -> None:
    code = (
        "from featurestore.serving.routing import place\n"
        "print([place('flight_delay', str(key).encode()) for key in range(20)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([place("flight_delay", str(key).encode()) for key in range(20)])


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_key_that_a_canary_has_it_keeps_as_the_share_grows(key: str, one: float, other: float) -> None:
    plan = compile_plan(registered(2, NEW))
    asked = pb.GetOnlineFeaturesRequest(service="flight_delay", routing_key=key)
    less, more = sorted((one, other))
    assert Canary(plan, more, ()).takes(asked) >= Canary(plan, less, ()).takes(asked)


def test_no_share_takes_no_key_and_a_whole_one_takes_all() -> None:
    plan = compile_plan(registered(2, NEW))
    for number in range(2_000):
        asked = pb.GetOnlineFeaturesRequest(service="flight_delay", routing_key=str(number))
        assert not Canary(plan, 0.0, ()).takes(asked)
        assert Canary(plan, 1.0, ()).takes(asked)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("form", ["{}", "user-{:08}", "{:032x}"], ids=["numbers", "padded", "hex"])
def test_a_canary_gets_its_share_of_the_keys(share: float, form: str) -> None:
    """Within five standard deviations of a fair draw: the keys are fixed, so this cannot fail by chance."""
    keys = 20_000
    limit = int(share * 2**64)
    taken = sum(place("flight_delay", form.format(number).encode()) < limit for number in range(keys))
    assert abs(taken - share * keys) < 5 * math.sqrt(keys * share * (1 - share))


def test_another_service_draws_other_keys() -> None:
    """Else the same users would get the canary of everything."""
    keys, limit = [str(number).encode() for number in range(10_000)], int(0.1 * 2**64)
    both = sum(place("one", key) < limit and place("two", key) < limit for key in keys)
    assert 50 < both < 150


def test_the_join_keys_of_the_first_row_decide_where_there_is_no_routing_key() -> None:
    keys = ("flight", "origin")
    first = entity_key(request(origin="JFK", flight=7), keys)
    assert entity_key(request(flight=7, origin="JFK"), keys) == first
    assert entity_key(request(flight=7, origin="JFK", hour=9), keys) == first
    assert entity_key(request(origin="JFK", flight=8), keys) != first
    assert entity_key(pb.GetOnlineFeaturesRequest(), keys) == b"\0\0"


#: Few enough that two rows often look alike when their parts are run together.
_PARTS = st.one_of(st.none(), st.text("ab1:", max_size=3), st.integers(0, 111), st.binary(max_size=1))


@given(st.tuples(_PARTS, _PARTS), st.tuples(_PARTS, _PARTS))
@example(("a", "bc"), ("ab", "c"))
@example((1, 23), (12, 3))
def test_equal_rows_have_one_key_and_parts_do_not_run_together(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    mine, theirs = (entity_key(request(a=row[0], b=row[1]), ("a", "b")) for row in (one, other))
    assert (mine == theirs) is (_texts(one) == _texts(other))


def _texts(row: tuple[Any, Any]) -> list[bytes | None]:
    return [value if value is None or isinstance(value, bytes) else str(value).encode() for value in row]


def test_minus_zero_is_zero() -> None:
    assert entity_key(request(a=-0.0), ("a",)) == entity_key(request(a=0.0), ("a",))


def test_requests_for_the_bare_name_are_shared_and_the_answer_says_which_version_it_is() -> None:
    client = FeatureClient(transport=lookups(0.5).transport)
    by_key = {str(number): answered(client, routing_key=str(number)) for number in range(100)}
    assert set(by_key.values()) == {"flight_delay@1", "flight_delay@2"}
    assert {key: answered(client, routing_key=key) for key in by_key} == by_key
    rows = [[{"origin": "JFK", "flight": number}] for number in range(100)]
    by_row = [answered(client, row) for row in rows]
    assert set(by_row) == {"flight_delay@1", "flight_delay@2"}
    assert [answered(client, [*row, {"origin": "LGA", "flight": 1}]) for row in rows] == by_row


def test_a_version_that_is_named_is_never_rerouted() -> None:
    client = FeatureClient(transport=lookups(1.0).transport)
    assert answered(client) == "flight_delay@2"
    named = client.get_online_features("flight_delay@1", [{"origin": "JFK", "flight": 7}])
    assert named.service == "flight_delay@1"
    assert client.get_schema("flight_delay").service == "flight_delay@1"


def test_an_answer_is_read_by_the_schema_of_the_version_that_gave_it_and_each_is_asked_for_once() -> None:
    served = lookups(0.5)
    calls: list[str] = []

    def transport(method: str, data: bytes) -> bytes:
        calls.append(method)
        return served.transport(method, data)

    client = FeatureClient(transport=transport)
    for number in range(50):
        found = client.get_online_features("flight_delay", [{"origin": "JFK", "flight": number}])
        assert found.names == (("mean",) if found.service == "flight_delay@1" else ("mean", "worst"))
    assert calls.count("GetServiceSchema") == 2


@pytest.mark.parametrize(
    "canary",
    [
        replace(NEW, entities=[Entity(name="trip", join_keys=["origin"])]),
        replace(NEW, entities=[replace(TRIP, dtypes=[String, String])]),
        replace(NEW, entities=[TRIP, Entity(name="hour", dtypes=[Int64])]),
    ],
    ids=["takes fewer keys", "takes a key as another type", "needs one more key"],
)
def test_a_canary_that_cannot_answer_what_is_asked_takes_nothing_and_the_log_says_so(canary: FeatureView) -> None:
    with capture_logs() as said:
        client = FeatureClient(transport=lookups(1.0, canary).transport)
    assert answered(client) == "flight_delay@1"
    assert [(line["canary"], line["beside"]) for line in said] == [("flight_delay@2", "flight_delay@1")]


def test_a_canary_that_is_what_the_name_means_or_that_has_no_share_is_none() -> None:
    one, two = registered(1, OLD), registered(2, NEW)
    services: Mapping[str, Registered[FeatureService]] = {"flight_delay": one, one.id: one, two.id: two}
    plans = {name: compile_plan(service) for name, service in services.items()}
    for shares in ({"flight_delay": (1, 0.5)}, {"flight_delay": (2, 0.0)}, {"flight_delay": (9, 0.5)}, {"x": (1, 0.5)}):
        assert canaries(services, plans, shares) == {}


def test_a_wrong_request_is_refused_as_ever() -> None:
    client = FeatureClient(transport=lookups(0.5).transport)
    with pytest.raises(InvalidRequestError, match='lacks "flight"'):
        client.get_online_features("flight_delay", [{"origin": "JFK"}])
