"""The gRPC server on loopback, asked with plain gRPC and with the client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from featurestore.client import FeatureClient
from featurestore.errors import (
    InvalidRequestError,
    LimitExceededError,
    ObjectNotFoundError,
    OnlineStoreError,
    ServerUnavailableError,
)
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.replay import ReplayFeed
from featurestore.serving.rpc.server import FeatureServer, Methods
from featurestore.v1 import serving_pb2 as pb

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
LOOKUP = "/featurestore.v1.ServingService/GetOnlineFeatures"


class NothingOffline:
    """An offline store without rows, for a clock that only moves."""

    def newest_rows(self, view: Any, *, until: Any) -> Any:
        raise AssertionError((view, until))

    def rows_by_event_time(self, view: Any, *, after: Any) -> Any:
        raise AssertionError((view, after))


class Running:
    """A server in its own thread and event loop."""

    def __init__(self, lookups: Lookups, log: ServingLog, feed: ReplayFeed | None) -> None:
        self.log = log
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def start() -> tuple[FeatureServer, int]:
            server = FeatureServer(lookups, log, Methods(advance=None if feed is None else feed.advance))
            return server, await server.start("127.0.0.1:0")

        self._server, port = self._run(start())
        self.address = f"127.0.0.1:{port}"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._run(self._server.stop(1))
        self.log.close(0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def start(lookups: Lookups, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*, replay: bool = True) -> Running:
        log = ServingLog(tmp_path, now=lookups.now(), replay=replay)
        feed = ReplayFeed(NothingOffline(), lookups.store) if replay else None
        server = Running(lookups, log, feed)
        running.append(server)
        return server

    yield begin
    for server in running:
        server.stop()


def body(**columns: str) -> bytes:
    request = pb.GetOnlineFeaturesRequest(service="some")
    for name, value in columns.items():
        request.columns.add(name=name).strings.values.append(value)
    return request.SerializeToString()


def test_values_come_over_the_wire_as_in_process(start: Callable[..., Running], lookups: Lookups) -> None:
    rows = [{"origin": "JFK", "tailnum": "N1", "hour": 7}, {"origin": "XXX", "tailnum": None, "hour": None}]
    with FeatureClient(start().address) as client:
        over = client.get_online_features("computed", rows)
    inside = FeatureClient(transport=lookups.transport).get_online_features("computed", rows)
    assert over.to_dict() == inside.to_dict() == {"seats": [180, None], "felt": [15.0, None], "label": ["clear!", None]}
    assert over.statuses == inside.statuses
    assert over.event_timestamps == inside.event_timestamps


def test_a_rehearsal_says_so_in_health_metadata_response_and_schema(start: Callable[..., Running]) -> None:
    with grpc.insecure_channel(start().address) as channel:
        response, call = channel.unary_unary(LOOKUP).with_call(body(origin="JFK"))
        assert ("x-featurestore-replay", NOW.isoformat()) in [tuple(one) for one in call.initial_metadata()]
        found = pb.GetOnlineFeaturesResponse.FromString(response)
        assert found.replay is True
        assert found.served_at == (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "featurestore.v1.ServingService", "featurestore.v1.ReplayService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_client_moves_the_clock_forward_only(start: Callable[..., Running]) -> None:
    with FeatureClient(start().address) as client:
        assert client.advance_clock(NOW + timedelta(hours=1)) == 0
        found = client.get_online_features("some", {"origin": ["JFK"]})
        assert found.served_at == NOW + timedelta(hours=1)
        assert found.statuses == {"weather": ["OUTSIDE_MAX_AGE"]}
        with pytest.raises(InvalidRequestError, match="cannot go back"):
            client.advance_clock(NOW)


def test_no_request_can_touch_the_clock_of_a_live_server(start: Callable[..., Running]) -> None:
    server = start(replay=False)
    with FeatureClient(server.address) as client, pytest.raises(InvalidRequestError) as caught:
        client.advance_clock(NOW)
    assert "--replay" in caught.value.hint
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as unknown:
            health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="featurestore.v1.ReplayService")
            )
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(start: Callable[..., Running]) -> None:
    with grpc.insecure_channel(start().address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {one.name for one in answer.list_services_response.service}
    assert {"featurestore.v1.ServingService", "featurestore.v1.ReplayService", "grpc.health.v1.Health"} <= names


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (pb.GetOnlineFeaturesRequest(service="sme").SerializeToString(), grpc.StatusCode.NOT_FOUND, '"some"'),
        (body(), grpc.StatusCode.INVALID_ARGUMENT, 'lacks "origin"'),
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "not a GetOnlineFeaturesRequest"),
    ],
)
def test_each_error_has_its_status_and_says_what_to_do(
    start: Callable[..., Running], request_bytes: bytes, code: grpc.StatusCode, text: str
) -> None:
    with grpc.insecure_channel(start().address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(LOOKUP)(request_bytes)
    assert caught.value.code() is code
    assert text in caught.value.details()


def test_the_client_raises_the_errors_that_the_server_meant(start: Callable[..., Running], lookups: Lookups) -> None:
    server = start()
    with FeatureClient(server.address) as client:
        with pytest.raises(ObjectNotFoundError, match='no feature service "sme"') as unknown:
            client.get_online_features("sme", {"origin": ["JFK"]})
        assert "some" in unknown.value.hint
        with pytest.raises(InvalidRequestError, match='lacks "tailnum"'):
            client.get_online_features("whole", {"origin": ["JFK"]})

        for hint in ("Mend it.", ""):

            def broken(_: Any, hint: str = hint) -> Any:
                raise OnlineStoreError("The online store broke.", hint=hint)

            lookups.store.read = broken  # type: ignore[method-assign]
            with pytest.raises(ServerUnavailableError, match="The online store broke") as caught:
                client.get_online_features("some", {"origin": ["JFK"]})
            assert caught.value.hint.startswith(hint or "The log of the server")


def test_what_is_unforeseen_reaches_the_log_and_no_client(start: Callable[..., Running], lookups: Lookups) -> None:
    server = start()

    def broken(_: Any) -> Any:
        raise ZeroDivisionError("a secret")

    lookups.store.read = broken  # type: ignore[method-assign]
    with (
        capture_logs() as said,
        grpc.insecure_channel(server.address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(LOOKUP)(body(origin="JFK"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()
    assert [(line["event"], str(line["exc_info"])) for line in said] == [("request failed", "a secret")]


def test_served_rows_are_in_the_log_and_refused_ones_are_not(start: Callable[..., Running], tmp_path: Path) -> None:
    server = start()
    with FeatureClient(server.address) as client:
        client.get_online_features("some", {"origin": ["JFK", "EWR"]}, request_id="r-1")
        with pytest.raises(LimitExceededError, match="at most 5"):
            client.get_online_features("some", {"origin": ["JFK"] * 6})
        client.advance_clock(NOW + timedelta(hours=1))
    server.stop()
    rows = [row for file in (tmp_path / "some").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert [(row["request_id"], row["origin"], row["served_at"]) for row in rows] == [
        ("r-1", "JFK", NOW),
        ("r-1", "EWR", NOW),
    ]
