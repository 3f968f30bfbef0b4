"""Pushes over the wire: served by the next lookup, refused by row, and kept when the server is killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2, status_pb2

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.client.request import fill
from featurestore.errors import InvalidRequestError, ObjectNotFoundError
from featurestore.pushing import Pusher
from featurestore.serving.pushes import PushMethod
from featurestore.types import Array, Date, Decimal, Float32, Float64, Int64, String, Timestamp
from featurestore.v1 import serving_pb2 as pb
from tests import forking

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
VIEW = FeatureView(
    name="clicks", entities=[USER], schema=[Field(name="seen", dtype=Int64, ge=0), Field(name="plan", dtype=String)]
)
STRICT = FeatureView(
    name="strict", entities=[USER], schema=[Field(name="score", dtype=Float64, le=1)], on_bad_rows="reject"
)
MANY = FeatureView(
    name="many",
    entities=[USER],
    schema=[
        Field(name="price", dtype=Decimal(5, 2)),
        Field(name="day", dtype=Date),
        Field(name="since", dtype=Timestamp),
        Field(name="tags", dtype=Array(String)),
        Field(name="small", dtype=Float32),
    ],
)
ONCE = FeatureView(name="once", entities=[USER], schema=[Field(name="code", dtype=Int64, unique_within="table")])
NOW = datetime.now(UTC) - timedelta(minutes=1)
ROWS = pa.table({"user_id": [1], "event_timestamp": pa.array([NOW], pa.timestamp("us", "UTC"))})
COLUMNS = {"user_id": Int64, "seen": Int64, "plan": String, "event_timestamp": Timestamp}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    with FeatureStore.init(folder) as store:
        services = [FeatureService(name=f"get_{one.name}", features=[one]) for one in (VIEW, STRICT, MANY, ONCE)]
        store.apply(services)
    return folder


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder), *options]
    process = forking.Forked(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r" at (127\.0\.0\.1:\d+),", process.stdout.readline())
        assert found
        yield process, found[1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def server(repo: Path) -> Iterator[str]:
    with served(repo) as (_, address):
        yield address


def request(view: str, dtypes: dict[str, Any], rows: list[tuple[Any, ...]]) -> pb.PushFeaturesRequest:
    found = pb.PushFeaturesRequest(view=view)
    for place, (name, dtype) in enumerate(dtypes.items()):
        fill(found.columns.add(name=name), dtype, [one[place] for one in rows])
    return found


def test_no_rows_are_no_error_and_rows_without_a_value_are(server: str) -> None:
    with FeatureClient(server) as client:
        for rows in ([], iter([]), {}, {"user_id": [], "event_timestamp": []}, ROWS.slice(0, 0)):
            done = client.push("clicks", rows)
            assert (done.view, done.accepted, dict(done.rejected)) == ("clicks@1", 0, {})
        for nothing in ([{}, {}], iter([{}]), [{"user_id": None}], {"seen": [None]}):
            with pytest.raises(InvalidRequestError, match="have no value in any column"):
                client.push("clicks", nothing)
        with pytest.raises(ObjectNotFoundError):
            client.push("clik", [])
        with pytest.raises(InvalidRequestError, match='lacks "event_timestamp"'):
            client.push("clicks", [{"user_id": 1}])


def push(address: str, message: pb.PushFeaturesRequest) -> pb.PushFeaturesResponse:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/featurestore.v1.ServingService/PushFeatures")
        return pb.PushFeaturesResponse.FromString(call(message.SerializeToString(), timeout=30))


def refusal(address: str, message: pb.PushFeaturesRequest) -> tuple[grpc.StatusCode, str, list[str]]:
    """Return the status that a push ends with, its message, and the fields that it names."""
    with pytest.raises(grpc.RpcError) as caught:
        push(address, message)
    fields = []
    said = dict(caught.value.trailing_metadata()).get("grpc-status-details-bin", b"")
    for one in status_pb2.Status.FromString(said).details:
        about = error_details_pb2.BadRequest()
        if one.Unpack(about):
            fields += [violation.field for violation in about.field_violations]
    return caught.value.code(), caught.value.details(), fields


def look(address: str, service: str, *users: int) -> dict[str, list[Any]]:
    with FeatureClient(address) as client:
        found: dict[str, list[Any]] = client.get_online_features(service, [{"user_id": one} for one in users]).to_dict()
        return found


def test_a_push_is_served_by_the_next_lookup_and_bad_rows_are_told_by_place(server: str) -> None:
    ahead = NOW + timedelta(hours=2)
    rows = [(1, 5, "basic", NOW), (2, -1, "basic", NOW), (3, 7, None, ahead), (4, 8, None, NOW)]
    answer = push(server, request("clicks", COLUMNS, rows))
    assert (answer.view, answer.rows_accepted) == ("clicks@1", 2)
    assert [(one.row, one.reason) for one in answer.rejected] == [
        (1, "seen is under 0"),
        (2, "event_timestamp lies in the future"),
    ]
    assert look(server, "get_clicks", 1, 2, 3, 4) == {"seen": [5, None, None, 8], "plan": ["basic", None, None, None]}


def test_a_feature_that_is_left_out_is_null_and_the_created_column_may_be_sent(server: str) -> None:
    kept = {name: dtype for name, dtype in COLUMNS.items() if name != "plan"} | {"created_timestamp": Timestamp}
    assert push(server, request("clicks", kept, [(1, 5, NOW, NOW)])).rows_accepted == 1
    assert look(server, "get_clicks", 1) == {"seen": [5], "plan": [None]}


def test_values_of_all_kinds_come_through(server: str) -> None:
    from datetime import date
    from decimal import Decimal as Number

    dtypes = {"user_id": Int64, **{one.name: one.dtype for one in MANY.schema}, "event_timestamp": Timestamp}
    row = (1, Number("1.50"), date(2024, 2, 29), NOW, ["a", None], 0.5, NOW)
    assert push(server, request("many", dtypes, [row])).rows_accepted == 1
    found = look(server, "get_many", 1)
    assert [values[0] for values in found.values()] == list(row[1:-1])


def test_what_cannot_be_pushed_is_refused_with_the_field(server: str) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    score = {"user_id": Int64, "score": Float64, "event_timestamp": Timestamp}
    found = refusal(server, request("strict", score, [(1, 0.5, NOW), (2, 1.5, NOW)]))
    assert (found[0], found[2]) == (invalid, ["columns[score][1]"])
    assert "row 1, where score is over 1" in found[1]
    assert look(server, "get_strict", 1) == {"score": [None]}
    surplus = request("clicks", COLUMNS | {"sene": Int64}, [(1, 1, "a", NOW, 1)])
    assert refusal(server, surplus)[::2] == (invalid, ["columns[sene]"])
    lacking = request("clicks", {"user_id": Int64, "seen": Int64}, [(1, 1)])
    assert refusal(server, lacking)[::2] == (invalid, ["columns[event_timestamp]"])
    other = request("clicks", COLUMNS | {"seen": String}, [(1, "1", "a", NOW)])
    assert refusal(server, other)[::2] == (invalid, ["columns[seen]"])
    code = {"user_id": Int64, "code": Int64, "event_timestamp": Timestamp}
    assert refusal(server, request("once", code, [(1, 1, NOW)]))[::2] == (invalid, ["view"])
    assert refusal(server, request("other/clicks", COLUMNS, [(1, 1, "a", NOW)]))[::2] == (invalid, ["view"])
    assert refusal(server, request("clik", COLUMNS, []))[0] == grpc.StatusCode.NOT_FOUND
    assert push(server, pb.PushFeaturesRequest(view="clicks", columns=request("clicks", COLUMNS, []).columns))


def test_too_many_rows_are_refused_with_the_limit(repo: Path) -> None:
    settings = repo / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[serving]", "[serving]\nmax_rows = 2"))
    with served(repo) as (_, address):
        code, text, _ = refusal(address, request("clicks", COLUMNS, [(1, 1, "a", NOW)] * 3))
        assert (code, "at most 2" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)


def test_a_rehearsal_takes_no_push(repo: Path) -> None:
    with served(repo, "--replay", "july") as (_, address):
        assert refusal(address, request("clicks", COLUMNS, []))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_lookups_go_on_while_rows_are_pushed(server: str) -> None:
    done = threading.Event()
    looked: list[float] = []

    def watch() -> None:
        while not done.is_set():
            started = time.perf_counter()
            look(server, "get_clicks", 1)
            looked.append(time.perf_counter() - started)

    watcher = threading.Thread(target=watch)
    watcher.start()
    rows = [(user, user, "a", NOW) for user in range(5_000)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: push(server, request("clicks", COLUMNS, rows)), range(16)))
    done.set()
    watcher.join()
    assert [one.rows_accepted for one in answers] == [5_000] * 16
    assert len(looked) > 5


def test_a_server_that_ends_brings_its_pushes_into_the_offline_store(repo: Path) -> None:
    with served(repo) as (_, address):
        push(address, request("clicks", COLUMNS, [(1, 5, "a", NOW)]))
    with FeatureStore(repo) as store:
        assert store.status()["push"]["rows"] == 0
        assert [load.rows_written for load in store.loads("clicks")] == [1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_killed_server_has_acknowledged_is_served_by_the_next_and_trained_with(repo: Path, workers: str) -> None:
    with served(repo, "--workers", workers) as (process, address):
        for user in range(5):
            push(address, request("clicks", COLUMNS, [(user, user, "a", NOW)]))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    with served(repo) as (_, address):
        assert look(address, "get_clicks", *range(5))["seen"] == list(range(5))
    with FeatureStore(repo) as store:
        asked = [{"user_id": user, "event_timestamp": datetime.now(UTC)} for user in range(5)]
        joined = store.get_historical_features(asked, "get_clicks").to_polars()["seen"].to_list()
        assert joined == list(range(5))
        assert sum(load.rows_written for load in store.loads("clicks")) == 5


def test_a_version_that_becomes_current_while_a_push_is_read_costs_it_nothing(repo: Path) -> None:
    with FeatureStore(repo) as store:

        class Overtaken(Pusher):
            """Is told of another version between two looks."""

            def column_types(self, view: str) -> Any:
                found = super().column_types(view)
                wider = replace(VIEW, schema=[*VIEW.schema, Field(name="more", dtype=Int64)])
                store.apply([wider])
                return found

        pusher = Overtaken(store.config, store.registry, store.offline, store.online, store.who)
        method = PushMethod(pusher, max_rows=10)
        message = request("clicks", COLUMNS, [(1, 2, "basic", NOW)])
        answer = pb.PushFeaturesResponse.FromString(method.answers(message.SerializeToString()))
        assert (answer.view, answer.rows_accepted) == ("clicks@2", 1)
        method.close()
