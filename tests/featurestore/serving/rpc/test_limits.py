"""Limits on a real server: each says what it is, none of them leaks, and who breaks one harms nobody else."""

from __future__ import annotations

import asyncio
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from featurestore.errors import InvalidRequestError
from featurestore.serving.rpc.server import Limits, Methods
from featurestore.v1 import serving_pb2 as pb

SERVICE = "/featurestore.v1.ServingService/"
LOOKUP = f"{SERVICE}GetOnlineFeatures"
STREAM = f"{SERVICE}StreamOnlineFeatures"

Serving = Callable[..., Any]


def lookup(rows: int = 1, request_id: str = "") -> pb.GetOnlineFeaturesRequest:
    request = pb.GetOnlineFeaturesRequest(service="some", request_id=request_id)
    request.columns.add(name="origin").strings.values.extend(["JFK"] * rows)
    return request


def connect(address: str) -> grpc.Channel:
    """Return a channel with a connection of its own."""
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def answered(address: str) -> bool:
    """Return whether a new client gets its answer within two seconds."""
    with connect(address) as channel:
        return bool(channel.unary_unary(LOOKUP)(lookup().SerializeToString(), timeout=2))


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class OpenStream:
    """A stream that sends when it is told to."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._waiting: queue.Queue[bytes] = queue.Queue()
        self.call = channel.stream_stream(STREAM)(iter(self._waiting.get, b""))

    def ask(self) -> bool:
        self._waiting.put(pb.StreamOnlineFeaturesRequest(correlation_id=1, request=lookup()).SerializeToString())
        return bool(next(self.call))

    def close(self) -> None:
        self._waiting.put(b"")
        self.call.cancel()


@pytest.fixture
def streams() -> Iterator[Callable[[grpc.Channel], OpenStream]]:
    opened: list[OpenStream] = []

    def begin(channel: grpc.Channel) -> OpenStream:
        opened.append(OpenStream(channel))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("about", "request_bytes", "text", "subject"),
    [
        ({}, lookup(6).SerializeToString(), "at most 5", "max_rows"),
        ({"message_bytes": 4096}, lookup(1, "x" * 5000).SerializeToString(), "4096", None),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(
    serving: Serving, about: dict[str, int], request_bytes: bytes, text: str, subject: str | None
) -> None:
    served = serving(limits=Limits(**about))
    with connect(served.address) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(LOOKUP)(request_bytes)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text in refused.value.details()
        if subject:
            failure = error_details_pb2.QuotaFailure()
            status = rpc_status.from_call(refused.value)
            assert any(one.Unpack(failure) for one in status.details)
            assert failure.violations[0].subject == subject
    assert answered(served.address)
    assert served.settle() == 0


def test_calls_over_the_limit_are_refused_at_once_and_taken_again_when_others_end(
    serving: Serving, streams: Callable[[grpc.Channel], OpenStream]
) -> None:
    served = serving(limits=Limits(calls=3))
    with connect(served.address) as channel, connect(served.address) as other:
        held = [streams(channel) for _ in range(3)]
        assert all(one.ask() for one in held)
        with pytest.raises(grpc.RpcError) as refused:
            other.unary_unary(LOOKUP)(b"x" * 1_000_000, timeout=5)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "answers 3 calls at once" in refused.value.details()
        status = rpc_status.from_call(refused.value)
        failure = error_details_pb2.QuotaFailure()
        assert any(one.Unpack(failure) for one in status.details)
        assert failure.violations[0].subject == "max_calls"
        # A server that is busy is not one that is ill.
        assert health_pb2_grpc.HealthStub(other).Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
        assert all(one.ask() for one in held)
        held[0].close()
        wait_until(lambda: served.server.gate.under_way == 2)
        assert answered(served.address)
    assert ("GetOnlineFeatures", "RESOURCE_EXHAUSTED") in served.watcher.codes


def test_calls_over_the_limit_of_a_connection_wait_in_their_client(
    serving: Serving, streams: Callable[[grpc.Channel], OpenStream]
) -> None:
    served = serving(limits=Limits(streams=2))
    with connect(served.address) as channel:
        held = [streams(channel) for _ in range(2)]
        assert all(one.ask() for one in held)
        third = channel.unary_unary(LOOKUP).future(lookup().SerializeToString(), timeout=10)
        with pytest.raises(grpc.FutureTimeoutError):
            third.result(timeout=0.3)
        assert answered(served.address)
        wait_until(lambda: served.server.gate.under_way == 2)
        held[0].close()
        assert third.result(timeout=10)


def test_watching_health_is_bounded_too(serving: Serving) -> None:
    served = serving(limits=Limits(calls=3))
    with connect(served.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        watching = [watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        assert [next(one).status for one in watching] == [1, 1, 1]
        with pytest.raises(grpc.RpcError) as refused:
            next(watch(health_pb2.HealthCheckRequest()))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for one in watching:
            one.cancel()

        def watched() -> bool:
            again = watch(health_pb2.HealthCheckRequest())
            try:
                return bool(next(again).status == 1)
            except grpc.RpcError:
                return False
            finally:
                again.cancel()

        wait_until(watched)


def test_calls_that_are_cancelled_or_fail_leave_nothing_behind(serving: Serving) -> None:
    async def slow(request: bytes) -> bytes:
        await asyncio.sleep(random.random() / 100)
        if request:
            raise InvalidRequestError("No.")
        return b""

    served = serving(methods=Methods(others={"PushFeatures": slow}), limits=Limits(calls=100_000, streams=100_000))
    good, bad = lookup().SerializeToString(), b"\xff"
    asked = pb.StreamOnlineFeaturesRequest(request=lookup()).SerializeToString()

    async def flood() -> None:
        async with grpc.aio.insecure_channel(served.address) as channel:
            push, look = channel.unary_unary(f"{SERVICE}PushFeatures"), channel.unary_unary(LOOKUP)
            stream = channel.stream_stream(STREAM)

            async def one(number: int) -> None:
                chosen = random.Random(number)
                kind = number % 5
                if kind == 4:
                    call: Any = stream()
                    await call.write(asked)
                    if chosen.random() < 0.5:
                        await call.read()
                else:
                    call = push(b"" if kind else b"x") if kind < 2 else look(good if kind == 2 else bad)
                await asyncio.sleep(chosen.random() / 100)
                call.cancel()

            for start in range(0, 5_000, 500):
                await asyncio.gather(*(one(number) for number in range(start, start + 500)), return_exceptions=True)

    asyncio.run(flood())
    assert served.settle() == 0
    assert answered(served.address)


def test_clients_that_go_without_a_word_leave_nothing_behind(serving: Serving) -> None:
    served = serving()
    for _ in range(50):
        with connect(served.address) as channel:
            stream = OpenStream(channel)
            assert stream.ask()
            channel.unary_unary(LOOKUP).future(lookup().SerializeToString())
    assert served.settle() == 0


def test_a_stream_that_is_not_read_waits_with_little_in_memory_and_holds_up_nobody(serving: Serving) -> None:
    served = serving()
    sent = threading.Semaphore(20_000)
    asked = pb.StreamOnlineFeaturesRequest(request=lookup(5, "x" * 1000)).SerializeToString()
    stop = threading.Event()

    def requests() -> Iterator[bytes]:
        while not stop.is_set() and sent.acquire(blocking=False):
            yield asked

    with connect(served.address) as channel:
        call = channel.stream_stream(STREAM)(requests())
        wait_until(lambda: served.watcher.answers > 0)
        standing = 0
        while standing < 3:
            before = served.watcher.answers
            time.sleep(0.2)
            standing = standing + 1 if served.watcher.answers == before else 0
            # 20,000 are to come. What is computed, at more than a kilobyte each, is what the windows of HTTP/2 hold.
            assert before < 5_000
        assert answered(served.address)
        stop.set()
        read = sum(1 for _ in call)
        assert read >= before
    assert served.settle() == 0


def test_connections_that_say_nothing_or_nonsense_harm_nobody(serving: Serving) -> None:
    served = serving()
    host, port = served.address.split(":")
    with ExitStack() as held:
        for number in range(300):
            one = held.enter_context(socket.create_connection((host, int(port)), timeout=10))
            if number % 3 == 1:
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if number % 3 == 2:
                one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x12\x04")  # half of a frame
        for _ in range(20):
            assert answered(served.address)
    assert answered(served.address)
    assert served.settle() == 0


def test_a_connection_that_gets_old_is_replaced_and_no_call_is_lost(
    serving: Serving, streams: Callable[[grpc.Channel], OpenStream]
) -> None:
    served = serving(limits=Limits(connection_age_seconds=0.3))
    peers = set()
    with connect(served.address) as channel:
        stream = streams(channel)
        look = channel.unary_unary(LOOKUP)
        began = time.monotonic()
        while time.monotonic() < began + 2:
            assert look(lookup().SerializeToString(), timeout=5)
            assert stream.ask()  # a call under way goes on beyond the age
            peers |= {one.raddr for one in _connections(int(served.address.split(":")[1]))}
    assert len(peers) > 2


def test_a_client_that_calls_nothing_is_let_go_and_comes_again(serving: Serving) -> None:
    served = serving(limits=Limits(connection_idle_seconds=0.3))
    port = int(served.address.split(":")[1])
    with connect(served.address) as channel:
        look = channel.unary_unary(LOOKUP)
        assert look(lookup().SerializeToString())
        assert _connections(port)
        wait_until(lambda: not _connections(port))
        assert look(lookup().SerializeToString())


def _connections(port: int) -> list[Any]:
    return [
        one
        for one in psutil.Process().net_connections("tcp")
        if one.laddr.port == port and one.raddr and one.status == psutil.CONN_ESTABLISHED
    ]


def test_what_a_server_asks_of_connections_is_told_to_grpc_in_its_words() -> None:
    told = dict(Limits(message_bytes=7, streams=3, keepalive_seconds=1.5, min_ping_seconds=0.0001).options())
    assert told == {
        "grpc.max_receive_message_length": 7,
        "grpc.max_send_message_length": -1,
        "grpc.max_concurrent_streams": 3,
        "grpc.keepalive_time_ms": 1500,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_ping_interval_without_data_ms": 1,
        "grpc.server_handshake_timeout_ms": 10_000,
    }
    aged = dict(Limits(connection_age_seconds=60, connection_idle_seconds=30).options())
    assert (aged["grpc.max_connection_age_ms"], aged["grpc.max_connection_idle_ms"]) == (60_000, 30_000)
